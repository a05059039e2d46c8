#pragma once

#include <cstdint>
#include <vector>

#include "mpimerge/plan/coverage.hpp"

namespace mpimerge::plan {

/// How far a merge has come that is still looking at its inputs: what all ranks know of it. What each
/// rank alone knows (counts, sums) goes beside it. Pure data.
struct PassState {
  std::uint64_t step = 0;              ///< of merge::Merge::steps; those before it are done
  std::vector<std::uint64_t> numbers;  ///< of the merge; their meaning is private to it
  Coverage looked_at;                  ///< in this step

  bool operator==(const PassState&) const = default;
};

}  // namespace mpimerge::plan
