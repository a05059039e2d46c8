#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/checkpoint/catalog.hpp"

#include "fuzz/target.hpp"

namespace mpimerge::fuzz {

/// Local. The claims about every tensor of a checkpoint that was accepted: it lies within the data
/// bytes [begin, end) of its file, shares none of them, and has as many as its shape and type take.
inline void require_sound(const std::vector<checkpoint::TensorInfo>& tensors, base::Bytes begin,
                          base::Bytes end) {
  base::Bytes position = begin;  // where the tensors so far end
  std::vector<std::string> names;
  for (const checkpoint::TensorInfo& tensor : tensors) {
    std::uint64_t elements = 1;
    for (const std::uint64_t length : tensor.shape) elements *= length;
    const bool empty = std::ranges::find(tensor.shape, 0U) != tensor.shape.end();
    require(tensor.elements.value() == (empty ? 0 : elements), "the shape tells the elements");
    require(tensor.shape.size() <= 32, "a tensor has at most 32 dimensions");
    const auto size = base::element_bytes(tensor.dtype).value();
    require(
        tensor.bytes.value() / size == tensor.elements.value() && tensor.bytes.value() % size == 0,
        "elements and type tell the bytes");
    require(!tensor.name.empty(), "a tensor has a name");
    names.push_back(tensor.name);
    if (empty) continue;
    require(tensor.offset >= position, "a tensor begins where the one before ends, or later");
    require(tensor.offset <= end && tensor.bytes <= end - tensor.offset,
            "a tensor lies within its file");
    position = tensor.offset + tensor.bytes;
  }
  std::ranges::sort(names);
  require(std::ranges::adjacent_find(names) == names.end(), "no two tensors have the same name");
}

}  // namespace mpimerge::fuzz
