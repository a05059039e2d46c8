#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <sys/types.h>

#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/index.hpp"

namespace mpimerge::output {

// What making files and directories under a partial name has in common. All local.

/// Local. Throws Error{output}: the file, then what is wrong.
[[noreturn]] void fail(const std::filesystem::path& file, const std::string& what);

/// Local. The same with the system's reason; Error{resources} where the disk is full.
[[noreturn]] void fail_with_errno(const std::filesystem::path& file, std::string_view doing);

/// Local. Where `name` lies.
std::filesystem::path directory_of(const std::filesystem::path& name);

/// Local. What the name itself stands for, a symbolic link too; nothing if it is free.
/// Errors: Error{output}.
std::optional<mode_t> kind_of(const std::filesystem::path& name);

/// Local. Proves that something can be made in a directory.
/// Errors: Error{output}.
void check_directory(const std::filesystem::path& directory);

/// Local. Renames, but onto nothing; errno says why not. File systems without that (EINVAL) get the
/// check that is almost as good.
[[nodiscard]] bool rename_to_free_name(const std::filesystem::path& from,
                                       const std::filesystem::path& to);

/// Local. Writes all of `bytes` at `begin` of an open file.
/// Errors: Error{resources} if the disk is full; Error{output}.
void write_exactly(const base::FileDescriptor& descriptor, const std::filesystem::path& file,
                   base::Bytes begin, std::span<const std::byte> bytes);

/// Local. Waits until the names in a directory are on the disk.
/// Errors: Error{output}.
void sync_directory(const std::filesystem::path& directory);

/// The end of every message about an output that exists and may not be replaced.
inline constexpr const char* kExists =
    "exists; use --overwrite to replace it, or choose another output";

}  // namespace mpimerge::output
