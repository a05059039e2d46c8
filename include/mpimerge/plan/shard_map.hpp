#pragma once

#include <cstdint>

#include "mpimerge/base/index.hpp"

namespace mpimerge::plan {

/// A row of elements cut into contiguous, block-aligned shards, one per rank, as even as blocks
/// allow.
///
/// Example: 10 elements in blocks of 2 over 3 ranks are 5 blocks; ranks 0 and 1 get two blocks and
/// rank 2 gets one: [0,4) [4,8) [8,10). The same row over 7 ranks: five ranks with one block each,
/// two with nothing. Every element has one owner; shards are in rank order.
class ShardMap {
 public:
  /// Local. `block` ≥ 1, `ranks` ≥ 1.
  ShardMap(base::Elements elements, base::Elements block, std::uint64_t ranks);

  /// Local. What `rank` owns; may be empty.
  /// Cost: a few integer operations, no table.
  [[nodiscard]] base::ElementRange shard(std::uint64_t rank) const;

  /// Local. The rank that owns `element`: the inverse of `shard`.
  [[nodiscard]] std::uint64_t owner(base::Elements element) const;

  /// Local. The longest shard: that of rank 0.
  [[nodiscard]] base::Elements longest() const { return shard(0).count(); }

 private:
  [[nodiscard]] std::uint64_t first_block(std::uint64_t rank) const;

  std::uint64_t elements_;
  std::uint64_t block_;
  std::uint64_t blocks_per_rank_;  ///< every rank has at least these
  std::uint64_t longer_ranks_;     ///< and so many of the first ranks one more
};

}  // namespace mpimerge::plan
