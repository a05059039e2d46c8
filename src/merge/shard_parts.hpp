#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "mpimerge/plan/coverage.hpp"
#include "mpimerge/plan/plan.hpp"
#include "mpimerge/plan/read_plan.hpp"

namespace mpimerge::merge {

/// Blocks that are asked for ahead of the one in hand: 16 to 32 MiB on their way.
inline constexpr std::size_t kReadAhead = 4;

/// What a look at this rank's shard reads: the blocks of all groups that are merged, in parts of some
/// tens of milliseconds. There are as many parts on every rank, so that all can agree after each.
struct ShardParts {
  std::vector<plan::Block> blocks;
  std::vector<std::size_t> ends;  ///< of the parts, in `blocks`; some parts may be empty

  /// Local.
  /// @param seen  blocks that lie in it are left out
  ShardParts(const plan::Plan& plan, const plan::ReadPlan& reads, std::uint64_t rank,
             const plan::Coverage& seen);
  /// Local. How many parts every rank has.
  [[nodiscard]] static std::uint64_t count(const plan::Plan& plan);
};

}  // namespace mpimerge::merge
