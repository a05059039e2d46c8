#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <type_traits>

#include "mpimerge/base/index.hpp"
#include "mpimerge/base/unique_handle.hpp"

namespace mpimerge::base {

struct FileDescriptorTraits {
  using Handle = int;
  static constexpr int null() noexcept { return -1; }
  static void close(int descriptor) noexcept;
};
using FileDescriptor = UniqueHandle<FileDescriptorTraits>;
static_assert(std::is_nothrow_move_constructible_v<FileDescriptor> &&
              !std::is_copy_constructible_v<FileDescriptor>);

/// Local. Opens a regular file for reading. A directory, a FIFO, a socket or a device is refused at
/// once, never waited for.
/// Errors: Error{input} that names the path and the system's reason.
FileDescriptor open_for_reading(const std::filesystem::path& path);

/// Local. The size of an open file.
Bytes file_size(const FileDescriptor& file, const std::filesystem::path& path);

/// Local. Fills `to` from the bytes at `from`, in as many reads as the system takes.
/// Errors: Error{input} if the file ends before, or cannot be read.
void read_exactly(const FileDescriptor& file, const std::filesystem::path& path, Bytes from,
                  std::span<std::byte> to);

}  // namespace mpimerge::base
