#pragma once

#include <cstdint>
#include <vector>

#include "mpimerge/base/index.hpp"
#include "mpimerge/plan/plan.hpp"
#include "mpimerge/plan/shard_map.hpp"

namespace mpimerge::plan {

/// What is left to do of a group after an earlier run, by whatever number of ranks, dealt anew over
/// the ranks of this one: as even as blocks allow, each rank's part in chunks. With nothing finished
/// these are the shards and chunks of the plan.
///
/// Example: of 12 elements, [0,2) and [6,9) are finished; in blocks of 1 and chunks of 3, two ranks
/// share the 7 others. Rank 0 gets four of them, [2,5) [5,6), rank 1 three, [9,12): two rounds.
class Unfinished {
 public:
  /// Local. Keeps a reference to the plan.
  /// @param finished  of the group; in any order, may overlap
  Unfinished(const Plan& plan, std::size_t group, std::vector<base::ElementRange> finished);

  /// Local. All that is left.
  [[nodiscard]] base::Elements elements() const noexcept { return left_; }
  /// Local. What `rank` has to do, in order; each range at most a chunk, none empty.
  [[nodiscard]] std::vector<base::ElementRange> chunks(std::uint64_t rank) const;
  /// Local. Rounds that every rank makes: as many as the rank with most chunks has.
  /// Cost: O(ranks + finished ranges).
  [[nodiscard]] std::uint64_t rounds() const;

 private:
  // A stretch that is left, and how much is left before it.
  struct Gap {
    base::ElementRange range;
    base::Elements before;
  };

  template <class Visit>
  void each_part(std::uint64_t rank, Visit visit) const;

  base::Elements chunk_;
  std::uint64_t ranks_;
  std::vector<Gap> gaps_;
  base::Elements left_;
  ShardMap shards_;  ///< of what is left, as if it lay together
};

}  // namespace mpimerge::plan
