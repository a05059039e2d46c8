#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "mpimerge/base/index.hpp"

namespace mpimerge::checkpoint {

/// The bytes of a file that is too large to be read as a whole; in a test they lie in memory.
struct ByteSource {
  std::filesystem::path file;  ///< named in messages
  base::Bytes size;
  /// The `bytes` bytes at `from`; the caller has made sure that they lie inside, and are not many.
  std::function<std::string(base::Bytes from, std::uint64_t bytes)> read;
};

}  // namespace mpimerge::checkpoint
