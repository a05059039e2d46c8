#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mpimerge/checkpoint/catalog.hpp"

namespace mpimerge::plan {

/// Layers of one checkpoint that become layers of the output.
struct LayerRange {
  const checkpoint::Catalog* catalog = nullptr;  ///< null: none has them, the layers only count
  std::uint64_t first = 0;
  std::uint64_t last = 0;  ///< the first that is not taken
};

/// Local. A checkpoint that consists of layers of others, as it would be if it lay in files: layers
/// are numbered anew, in order; embeddings are those of the first range's checkpoint, norms, heads
/// and the like those of the last one's.
/// @param path    for messages
/// @param ranges  not empty; the same checkpoint may occur many times
/// Errors: Error{input} that names the checkpoint: none of its tensors belongs to a layer, or to
/// layers of several kinds; a layer that it does not have; layers called differently in another.
/// Cost: O(t log t) for t tensors of the output and of the checkpoints.
checkpoint::Catalog stack_layers(const std::string& path, const std::vector<LayerRange>& ranges);

}  // namespace mpimerge::plan
