#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/base/index.hpp"
#include "mpimerge/hdf5/handle.hpp"
#include "mpimerge/output/hdf5_layout.hpp"

namespace mpimerge::output {

// Names that the writer and the reader share (README.md).
inline constexpr const char* kFormat = "mpimerge";
inline constexpr std::int64_t kFormatVersion = 1;

/// Local. "/parameters/BF16".
std::string dataset_path(base::Dtype dtype);

/// Local. "/tensors/NAME".
std::string tensor_path(const std::string& name);

/// Local. The product of `shape`; 1 for a 0-d tensor.
base::Elements elements_of(const std::vector<std::uint64_t>& shape);

/// Local. Proves that an HDF5 file can hold the layout.
/// Errors: Error{input} for a tensor name that HDF5 cannot hold; {bug} for a tensor outside its
/// dataset.
void check_layout(const Hdf5Layout& layout);

/// Local. Fills an empty file with everything but the values: groups, datasets, attributes,
/// `complete` = 0.
/// @return where each of `layout.datasets` begins in the file
std::vector<base::Bytes> make_skeleton(const hdf5::File& file, const Hdf5Layout& layout);

}  // namespace mpimerge::output
