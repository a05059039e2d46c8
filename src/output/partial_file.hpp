#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "mpimerge/base/index.hpp"

namespace mpimerge::output {

// A file that is written under NAME.partial and gets its name at the end, in one step. All local:
// one rank does this for all.

/// Local. NAME.partial, in the same directory.
std::filesystem::path partial_name(const std::filesystem::path& name);

/// Local. Proves that a file can come to be under `name`, and removes the partial file of an
/// earlier run.
/// Errors: Error{output}: the directory is missing or cannot be written, `name` exists and not
/// `overwrite`, `name` is no regular file, NAME.partial is no regular file.
void make_way(const std::filesystem::path& name, bool overwrite);

/// Local. As `make_way`, for going on with the partial file of an earlier run, which has to be there.
/// Errors: Error{output}.
void check_way(const std::filesystem::path& name, bool overwrite);

/// Local. Makes the file system set the space of an existing file aside, holes included, where it
/// can.
/// Errors: Error{resources} with the bytes that are needed and free; Error{output}.
void reserve_space(const std::filesystem::path& file);

/// Local. Waits until a file's content, written here by whomever, is on the disk.
/// Errors: Error{resources} if the disk turned out to be full; Error{output}.
void sync_file(const std::filesystem::path& file);

/// Local. Writes `bytes` at the end of a file of size `end`.
/// Errors: Error{resources} if the disk is full; Error{output}.
void append_to_file(const std::filesystem::path& file, base::Bytes end,
                    std::span<const std::byte> bytes);

/// Local. Puts `bytes` where a file may stand already: that one or this one is there at every
/// moment, and this one when the call returns, whatever happens to the machine then.
/// Errors: Error{resources} if the disk is full; Error{output}.
void replace_file(const std::filesystem::path& file, std::span<const std::byte> bytes);

/// Local. Gives NAME.partial, already synced, its name, and syncs the directory.
/// Errors: Error{output}; also if `name` has come to exist meanwhile and not `overwrite`.
void rename_partial(const std::filesystem::path& name, bool overwrite);

}  // namespace mpimerge::output
