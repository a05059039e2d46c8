#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/base/index.hpp"

namespace mpimerge::checkpoint {

/// A tensor as the pickle of a torch file describes it.
struct TorchTensor {
  std::string name;
  base::Dtype dtype = base::Dtype::f32;
  std::vector<std::uint64_t> shape;
  base::Elements elements;
  std::string storage;        ///< whose bytes are the zip file's entry ROOT/data/STORAGE
  base::Bytes storage_bytes;  ///< that the entry must have at least
  base::Bytes offset;         ///< of the first byte in the storage
  base::Bytes bytes;          ///< offset + bytes ≤ storage_bytes
};

/// Local. Reads the data.pkl of a torch file: a dictionary from names to dense, contiguous tensors
/// of the types in base/dtype.hpp. Executes nothing; PickleMachine tells how.
///
/// Accepted: dictionaries, ordered ones too, with any attributes; tensors and parameters; several
/// names for one storage, parts of one.
/// @return in the order of the dictionary, a name that was set twice twice; names are UTF-8
/// Errors: Error{input}, one line that names the tensor, or the byte of `pickle`: what
/// PickleMachine refuses; classes and functions other than torch's for such tensors; a dictionary
/// that holds anything else; strides with gaps or in another order; conjugated or negated views;
/// tensors outside their storage, sizes that overflow.
/// Cost: O(n log n) in the length of the pickle; memory at most in proportion to kMaxPickleSteps.
std::vector<TorchTensor> parse_torch_pickle(std::string_view pickle,
                                            const std::filesystem::path& file);

}  // namespace mpimerge::checkpoint
