#pragma once

#include <vector>

#include "mpimerge/checkpoint/catalog.hpp"

#include "checkpoint/byte_source.hpp"

namespace mpimerge::checkpoint {

/// Local. The tensors of a file of torch.save: its zip directory and its data.pkl put together.
/// Reads no tensor data.
/// @return in storage order; `file` is 0
/// Errors: Error{input}, one line: not a zip file (a Git LFS pointer and the format before torch 1.6
/// are named), one of another program, of a format version above 10 or big-endian, a storage that is
/// missing or too short; what parse_zip_directory and parse_torch_pickle refuse.
/// Cost: that of those two; three reads more.
std::vector<TensorInfo> parse_torch_file(const ByteSource& source);

}  // namespace mpimerge::checkpoint
