#pragma once

#include <filesystem>
#include <string_view>

namespace mpimerge::app {

// A file for JSON, such as that of `--summary`. Both local: rank 0 does this for all.

/// Local. Proves, before the work, that the file can be written: nobody wants to learn after hours
/// that the account of them has no place.
/// @param option  that names the file, for messages
/// Errors: Error{output}: no such directory, not writable; the name is taken by something else than
/// a regular file, a symbolic link included.
void check_summary_file(const std::filesystem::path& file, std::string_view option = "--summary");

/// Local. Puts a file with `text` there. What had the name is replaced, never written into: it
/// could have become a link to anywhere.
/// Errors: Error{output}; {resources} if the disk is full. What was there stays then.
void write_summary_file(const std::filesystem::path& file, std::string_view text,
                        std::string_view option = "--summary");

}  // namespace mpimerge::app
