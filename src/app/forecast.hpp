#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "mpimerge/base/index.hpp"
#include "mpimerge/job/job.hpp"
#include "mpimerge/plan/plan.hpp"
#include "mpimerge/plan/read_plan.hpp"

#include "app/work.hpp"

namespace mpimerge::app {

/// What a merge is going to take, known from the headers of its inputs.
///
/// Bytes are exact if no bracket misses its threshold, the majority sign is guessed right, and what
/// lies in the brackets fits the memory for it or not, as expected: that depends on the values, so
/// that memory is an estimate too.
struct Forecast {
  plan::ReadPlan reads;
  bool twice = true;        ///< inputs are passed over twice, from memory or not
  std::uint64_t looks = 1;  ///< passes that select: 2 where the brackets hardly fit their memory
  plan::Traffic all;        ///< of all ranks
  plan::Traffic largest;    ///< of the rank that moves most, the first of them
  std::uint64_t largest_rank = 0;
  base::Bytes memory;          ///< of the largest process, all in all
  base::Bytes budget_to_stay;  ///< with it, this many ranks would keep all that they need twice
  std::uint64_t allreduce_calls = 0;
  base::Bytes allreduce_bytes;  ///< per rank
  base::Bytes output_file;      ///< of one; estimate; the parameters in it are exact
};

/// Local. Forecasts the merge of `plan`, or all points of a sweep of it, with `budget` bytes for data
/// per rank.
/// Cost: O((ranks + tensors) × sources).
Forecast forecast(std::span<const job::Job> points, const plan::Plan& plan, base::Bytes budget);

/// Local. The number of ranks from which on all inputs stay in memory, each rank with `budget` for
/// data: one rank less does not do. Nothing if no number of ranks does, or nothing is needed twice.
/// Cost: that of a plan, a few dozen times.
std::optional<std::uint64_t> smallest_resident_ranks(std::span<const job::Job> points,
                                                     const Models& models, base::Bytes budget,
                                                     base::Bytes chunk);

}  // namespace mpimerge::app
