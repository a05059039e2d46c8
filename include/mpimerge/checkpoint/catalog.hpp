#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
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

/// Where a factor of an adapter lies.
struct Factor {
  std::uint32_t file = 0;  ///< index into Catalog::files
  base::Dtype dtype = base::Dtype::f32;
  base::Bytes offset;
};

/// A matrix to which an adapter adds scaling · B · A.
struct LowRank {
  Factor a;  ///< [rank, in]
  Factor b;  ///< [out, rank]
  std::uint64_t rank = 0;
  bool is_transposed = false;  ///< the matrix is [in, out], not [out, in]
  float scaling = 0;
};

/// A matrix or bias that an adapter multiplies by a vector, (IA)^3's: each row by a number, or each
/// column.
struct Scaling {
  Factor vector;
  bool by_column = false;
};

/// A tensor that consists of others: below each other, or matrices side by side.
struct Mosaic {
  struct Part {
    Factor factor;
    std::uint64_t length = 0;  ///< rows, or columns where they stand side by side
    float scale = 1;           ///< that all of it is multiplied by
  };
  std::vector<Part> parts;
  bool is_side_by_side = false;
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
  std::map<std::string, LowRank> low_rank = {};  ///< by name of the tensor, which is the base's
  std::map<std::string, Scaling> scaling = {};   ///< likewise
  std::map<std::string, Mosaic> mosaics = {};    ///< by name of the tensor
  /// Tensors that are another one again, by name, and that other: they share its bytes, or are heads
  /// that config.json ties to the embeddings, whatever the file holds in their place.
  std::map<std::string, std::string> tied = {};
  std::optional<bool> ties_embeddings = {};  ///< `tie_word_embeddings` of config.json
};

}  // namespace mpimerge::checkpoint
