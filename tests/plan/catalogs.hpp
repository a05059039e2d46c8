#pragma once

#include <cstdint>
#include <functional>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/base/index.hpp"
#include "mpimerge/checkpoint/catalog.hpp"

namespace mpimerge::test {

using Shape = std::vector<std::uint64_t>;

/// Local. A tensor without a place yet.
inline checkpoint::TensorInfo tensor(std::string name, base::Dtype dtype, Shape shape) {
  checkpoint::TensorInfo info;
  info.name = std::move(name);
  info.dtype = dtype;
  info.elements = base::Elements{std::accumulate(shape.begin(), shape.end(), std::uint64_t{1},
                                                 std::multiplies<std::uint64_t>())};
  info.shape = std::move(shape);
  info.bytes = base::Bytes{info.elements.value() * base::element_bytes(dtype).value()};
  return info;
}

/// Local. A catalog of one file that holds the tensors back to back behind a header of 100 bytes.
inline checkpoint::Catalog catalog(std::string path, std::vector<checkpoint::TensorInfo> tensors) {
  checkpoint::Catalog made;
  made.path = path;
  made.files = {path + "/model.safetensors"};
  base::Bytes offset{100};
  for (checkpoint::TensorInfo& info : tensors) {
    info.offset = offset;
    offset += info.bytes;
  }
  made.tensors = std::move(tensors);
  return made;
}

}  // namespace mpimerge::test
