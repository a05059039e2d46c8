#include "mpimerge/plan/shard_map.hpp"

#include <algorithm>

namespace mpimerge::plan {

ShardMap::ShardMap(base::Elements elements, base::Elements block, std::uint64_t ranks)
    : elements_(elements.value()), block_(block.value()) {
  const std::uint64_t blocks = elements_ / block_ + (elements_ % block_ != 0 ? 1 : 0);
  blocks_per_rank_ = blocks / ranks;
  longer_ranks_ = blocks % ranks;
}

std::uint64_t ShardMap::first_block(std::uint64_t rank) const {
  return rank * blocks_per_rank_ + std::min(rank, longer_ranks_);
}

base::ElementRange ShardMap::shard(std::uint64_t rank) const {
  // Only the last block may be short, so only an end needs the limit; an empty shard may lie at it.
  const auto begin_of = [this](std::uint64_t block) {
    return base::Elements{std::min(block * block_, elements_)};
  };
  return {begin_of(first_block(rank)), begin_of(first_block(rank + 1))};
}

std::uint64_t ShardMap::owner(base::Elements element) const {
  const std::uint64_t block = element.value() / block_;
  const std::uint64_t in_longer = longer_ranks_ * (blocks_per_rank_ + 1);
  if (block < in_longer) return block / (blocks_per_rank_ + 1);
  return longer_ranks_ + (block - in_longer) / blocks_per_rank_;
}

}  // namespace mpimerge::plan
