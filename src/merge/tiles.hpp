#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mpimerge/job/job.hpp"
#include "mpimerge/merge/block_store.hpp"
#include "mpimerge/method/method.hpp"
#include "mpimerge/method/tile.hpp"
#include "mpimerge/plan/coverage.hpp"
#include "mpimerge/plan/plan.hpp"

#include "merge/sources.hpp"

namespace mpimerge::merge {

/// A stretch of one tensor that is worked on at once.
struct Stretch {
  std::size_t tensor = 0;   ///< in Plan::tensors
  std::size_t segment = 0;  ///< of its block
  base::ElementRange own;   ///< of the tensor: in the block, this rank's
  base::ElementRange all;   ///< of the tensor: with the rest of the rows, where rows are asked for
};

/// Local. Elements of a row: the last dimension. Tensors of one dimension or none are one row.
[[nodiscard]] std::uint64_t row_elements(const plan::Tensor& tensor);

/// Cuts blocks into stretches, and makes tiles of them: the values of all models, widened. All local.
class Tiles {
 public:
  /// Keeps references to all but the method.
  /// @param rows  reads what a row has outside of a block
  Tiles(const plan::Plan& plan, const job::Job& job, const Sources& sources, method::Grain grain,
        BlockStore& rows);

  /// The stretches of a block that are to be merged, in order. Those of single elements begin at
  /// multiples of their length in the group, so that they lie in the cache's lines as units do.
  /// Errors: Error{resources}: a row that is too long to be held in memory.
  [[nodiscard]] std::vector<Stretch> stretches(const BlockData& block) const;

  /// Those of them, or the parts of those, that were not seen.
  [[nodiscard]] std::vector<Stretch> stretches(const BlockData& block,
                                               const plan::Coverage& seen) const;

  /// A stretch as a tile; valid until the next call.
  /// @param models  those that have the tensor
  /// Errors: Error{input}: a file that cannot be read; NaN or infinity where that is not allowed.
  const method::Tile& tile(const BlockData& block, const Stretch& stretch,
                           std::span<const std::size_t> models);

  /// The raw bytes of a stretch's own elements.
  [[nodiscard]] std::span<const std::byte> raw(const BlockData& block, const Stretch& stretch,
                                               std::size_t source) const;
  [[nodiscard]] base::Dtype dtype(const Stretch& stretch, std::size_t source) const {
    return plan_.sources[source].extents[stretch.tensor].dtype;
  }

  /// Throws for the first value that is not finite.
  /// Errors: Error{input} that names model, tensor and element.
  [[noreturn]] void refuse_non_finite(std::size_t source, std::size_t tensor, std::uint64_t element,
                                      float value) const;

 private:
  const float* widen(const BlockData& block, const Stretch& stretch, std::size_t source,
                     std::size_t row);

  const plan::Plan& plan_;
  const Sources& sources_;
  method::Grain grain_;
  bool refuses_;  // values that are not finite
  BlockStore& rows_store_;
  std::vector<float> memory_;  // [sources × the longest tile so far]
  std::size_t longest_ = 0;
  std::vector<const float*> models_;
  std::vector<const float*> files_;
  method::Tile tile_;
};

/// Local. Copies what a block has of tensors that are not merged: the first source's bytes, which are
/// in the output's type.
/// @param out  from the block's first element on, as the output has it
void copy_unmerged(const plan::Plan& plan, const BlockData& block, std::span<std::byte> out);

/// Local. What a message says of a value that may not be.
[[noreturn]] void refuse_value(const plan::Plan& plan, std::size_t source, std::size_t tensor,
                               std::uint64_t element, const char* what);

}  // namespace mpimerge::merge
