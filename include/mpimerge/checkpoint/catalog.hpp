#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/base/index.hpp"

namespace mpimerge::checkpoint {

/// Where one tensor of a checkpoint lies and what it is.
struct TensorInfo {
  std::string name;
  base::Dtype dtype = base::Dtype::f32;
  std::vector<std::uint64_t> shape;  ///< empty for a 0-d tensor
  base::Elements elements;           ///< product of `shape`; 1 for a 0-d tensor
  std::uint32_t file = 0;            ///< index into Catalog::files
  base::Bytes offset;                ///< of the first byte, from the start of the file
  base::Bytes bytes;                 ///< elements × size of one
};

/// What the floating tensors of a checkpoint are.
enum class Content : std::uint8_t {
  files,  ///< what its files hold
  zeros,  ///< 0 everywhere, whatever the files hold: a base of factors, which begin as nothing
  ones,   ///< 1 everywhere: a base of factors that scale, as those of (IA)^3
};

/// What the headers of one checkpoint say: every tensor, and the byte range that holds it. No
/// format-specific step is left between a Catalog and a tensor's little-endian, row-major values.
struct Catalog {
  std::string path;                          ///< as the user gave it, for messages
  std::vector<std::filesystem::path> files;  ///< each opened by the ranks that need a range of it
  std::vector<TensorInfo> tensors;           ///< in storage order: by file, offset, size, name
  std::map<std::string, std::string> metadata;  ///< `__metadata__` of safetensors
  Content content = Content::files;
};

}  // namespace mpimerge::checkpoint
