#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace mpimerge::output {

// A directory that is written under NAME.partial and gets its name at the end, in one step. All
// local: one rank does this for all. `name` is that of `directory_name`.

/// Tells by a file's name whether mpimerge writes it into a directory of this kind. What it does not
/// write is never removed.
using IsOurs = std::function<bool(const std::string& name)>;

/// Local. The name of an output directory without slashes at its end.
/// Errors: Error{output} for a name such as "." or "/", under which nothing can be made.
std::filesystem::path directory_name(const std::filesystem::path& name);

/// Local. Proves that a directory can come to be under `name`, and removes the partial directory of
/// an earlier run.
/// @param marker  a file without which a directory is not taken for one of ours
/// Errors: Error{output}: the directory above is missing or cannot be written, `name` exists and not
/// `overwrite`, `name` is not a directory, `name` or NAME.partial holds what is not ours.
void make_way_for_directory(const std::filesystem::path& name, bool overwrite,
                            const std::string& marker, const IsOurs& is_ours);

/// Local. As `make_way_for_directory`, for going on with the partial directory of an earlier run,
/// which has to be there.
/// Errors: Error{output}.
void check_way_for_directory(const std::filesystem::path& name, bool overwrite,
                             const std::string& marker, const IsOurs& is_ours);

/// Local. Removes what is ours of a directory, and the directory if nothing else is in it.
/// @return whether nothing is left
bool remove_directory(const std::filesystem::path& directory, const IsOurs& is_ours) noexcept;

/// Local. Makes a new text file and waits until it is on the disk.
/// Errors: Error{resources} if the disk is full; Error{output}.
void write_text_file(const std::filesystem::path& file, const std::string& text);

/// Local. Gives NAME.partial, already synced, its name, and syncs the directory above. With
/// `overwrite` the two change places in one step, where the file system can do that; then the old
/// one is removed, with a warning if that fails.
/// Errors: Error{output}; also if `name` has come to exist meanwhile and not `overwrite`.
void rename_partial_directory(const std::filesystem::path& name, bool overwrite,
                              const IsOurs& is_ours);

}  // namespace mpimerge::output
