#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/base/index.hpp"

namespace mpimerge::output {

/// One dataset /parameters/<DTYPE>: all tensors of an element type back to back.
struct Hdf5Dataset {
  base::Dtype dtype = base::Dtype::f32;
  base::Elements elements;
};

/// One tensor: a slice of the dataset of its type.
struct Hdf5Tensor {
  std::string name;
  base::Dtype dtype = base::Dtype::f32;
  std::vector<std::uint64_t> shape;
  base::Elements offset;  ///< of its first element in /parameters/<DTYPE>
};

/// Everything that the skeleton of an output file is made from; equal on all ranks.
struct Hdf5Layout {
  std::vector<Hdf5Dataset> datasets;
  std::vector<Hdf5Tensor> tensors;
  std::map<std::string, std::string> metadata;  ///< written as the JSON attribute `__metadata__`
  std::string job;                              ///< YAML, written as the attribute `job`
  base::Bytes alignment{std::uint64_t{1} << 20};
  std::map<std::string, std::string> mpi_io_hints;
};

}  // namespace mpimerge::output
