#pragma once

#include <filesystem>
#include <string_view>

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mpimerge/base/file_descriptor.hpp"

#include "fuzz/target.hpp"

namespace mpimerge::fuzz {

/// A file without a place in the file system, for code that opens files by their names.
class MemoryFile {
 public:
  MemoryFile() : file_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    require(static_cast<bool>(file_), "the system gives a file in memory");
  }

  /// Local. A name that opens it, while this object lives.
  [[nodiscard]] std::filesystem::path name() const {
    return fmt::format("/proc/self/fd/{}", file_.get());
  }

  /// Local. Makes `content` all that the file holds.
  void assign(std::string_view content) const {
    require(::ftruncate(file_.get(), 0) == 0 &&
                ::pwrite(file_.get(), content.data(), content.size(), 0) ==
                    static_cast<ssize_t>(content.size()),
            "the file in memory takes the input");
  }

 private:
  base::FileDescriptor file_;
};

}  // namespace mpimerge::fuzz
