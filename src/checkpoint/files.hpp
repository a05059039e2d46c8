#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/index.hpp"
#include "mpimerge/checkpoint/catalog.hpp"

namespace mpimerge::checkpoint {

/// Local. Whether there is something of that name in the directory. A link without its target
/// counts: opening it then says what is missing.
bool has(const std::filesystem::path& directory, const char* name);

/// Local. Whether `path` is a directory, or a link to one.
bool names_directory(const std::filesystem::path& path);

/// Local. `bytes` bytes at `from`, which lie in the file.
std::string read_text(const base::FileDescriptor& descriptor, const std::filesystem::path& file,
                      base::Bytes from, std::uint64_t bytes);

/// Local. Errors: Error{input} if the first bytes of the file are those of a Git LFS pointer.
void check_no_git_lfs_pointer(std::string_view first_bytes, const std::filesystem::path& file);

/// Local. Adds a file and its tensors, in storage order.
void append_file(Catalog& catalog, const std::filesystem::path& file,
                 std::vector<TensorInfo> tensors);

}  // namespace mpimerge::checkpoint
