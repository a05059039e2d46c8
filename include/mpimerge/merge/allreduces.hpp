#pragma once

#include <cstdint>
#include <vector>

#include "mpimerge/base/index.hpp"
#include "mpimerge/job/job.hpp"
#include "mpimerge/plan/plan.hpp"

namespace mpimerge::merge {

/// What the ranks reduce among each other: as much on each of them.
struct Allreduces {
  std::uint64_t calls = 0;
  base::Bytes bytes;  ///< of one rank

  /// Local. Adds calls that take so many bytes together.
  void add(std::uint64_t more, std::uint64_t in_all) {
    calls += more;
    bytes += base::Bytes{in_all};
  }
};

/// Local. What an agreement of all ranks takes.
inline constexpr std::uint64_t kAgreementBytes = 8;

/// Local. The Allreduces of all that comes before the first chunk: samples, histograms, sums, signs,
/// agreements. As a rule: a bracket that misses or is wide takes some more, and so do values of which
/// the sample cannot tell the majority sign.
/// Cost: O(tensors × sources).
Allreduces predict_allreduces(const plan::Plan& plan, const job::Job& job);

/// Local. The Allreduces of the statistics that the job's `report` asks for, after the last chunk.
Allreduces predict_statistics(const plan::Plan& plan, const job::Job& job);

/// Local. Bytes that each rank reads to sample single tensors, beside those that plan::Traffic has:
/// by rank.
/// Cost: O((tensors + ranks) × sources).
std::vector<base::Bytes> predict_samples(const plan::Plan& plan, const job::Job& job);

}  // namespace mpimerge::merge
