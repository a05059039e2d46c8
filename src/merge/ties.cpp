#include "mpimerge/merge/ties.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/kernel/convert.hpp"
#include "mpimerge/kernel/task_vector.hpp"
#include "mpimerge/plan/build.hpp"
#include "mpimerge/select/threshold_search.hpp"

namespace mpimerge::merge {
namespace {

// The accumulators of a tile and the tile of one task stay in the first-level cache while all tasks
// pass.
constexpr std::size_t kTile = 1024;

kernel::Disjoint disjoint_of(job::Aggregate aggregate) {
  switch (aggregate) {
    case job::Aggregate::disjoint_mean: return kernel::Disjoint::mean;
    case job::Aggregate::disjoint_sum: return kernel::Disjoint::sum;
    case job::Aggregate::disjoint_max: return kernel::Disjoint::max;
  }
  return kernel::Disjoint::mean;
}

void add(kernel::TiesCounts& total, const kernel::TiesCounts& part) {
  total.positive += part.positive;
  total.negative += part.negative;
  total.cancelled += part.cancelled;
  total.untouched += part.untouched;
  total.conflicts_before_trim += part.conflicts_before_trim;
  total.conflicts_after_trim += part.conflicts_after_trim;
}

}  // namespace

TiesMerge::TiesMerge(const plan::Plan& plan, const job::Job& job, ChunkStore& store)
    : plan_(plan),
      job_(job),
      store_(store),
      disjoint_(disjoint_of(job.aggregate)),
      check_values_(job.nan == job::NanPolicy::error),
      trims_(job.tasks.size()),
      tile_(kTile),
      base_tile_(kTile),
      task_tile_(kTile) {
  for (std::size_t task = 0; task < trims_.size(); ++task) {
    trims_[task].trim_rank = plan::trim_rank(plan.merged, job.tasks[task].density);
  }
}

void TiesMerge::select(const comm::Comm& comm, const Progress& progress) {
  std::vector<std::uint64_t> positions;
  for (const TaskTrim& trim : trims_) positions.push_back(plan_.merged.value() - trim.trim_rank);
  select::ThresholdSearch search(positions);
  double passes_done = 0;
  const Progress share_of_both = [&](double share) {
    constexpr double kUsualPasses = 2;
    if (progress) progress(std::min((passes_done + share) / kUsualPasses, 1.0));
  };
  while (!search.done()) {
    comm::collectively(comm, "select", [&] {
      if (!search.needs_values() && !check_values_) return;
      each_merged_chunk(share_of_both, [&](const ChunkData& chunk) {
        for (std::size_t task = 0; task < trims_.size(); ++task) {
          if (!search.wants(task) && !check_values_) continue;
          each_tile(chunk,
                    [&](const Tile& tile) { search.count(task, task_vector(chunk, tile, task)); });
        }
      });
    });
    search.advance(comm);
    check_values_ = false;
    ++passes_done;
  }
  const std::vector<std::uint32_t> thresholds = search.thresholds();
  for (std::size_t task = 0; task < trims_.size(); ++task)
    trims_[task].threshold_bits = thresholds[task];
}

void TiesMerge::elect(const comm::Comm& comm, const Progress& progress) {
  if (job_.sign_tie == job::SignTie::positive) return;
  kernel::TiesCounts signs;
  comm::collectively(comm, "elect", [&] {
    each_merged_chunk(progress, [&](const ChunkData& chunk) {
      each_tile(chunk, [&](const Tile& tile) {
        add_all_tasks(chunk, tile, false);
        add(signs, kernel::count(tile_, tile.base.size()));
      });
    });
  });
  std::array<std::uint64_t, 2> totals{signs.positive, signs.negative};
  comm::all_reduce_sum(comm, std::span<std::uint64_t>(totals));
  cancelled_sign_ = totals[0] > totals[1] ? 1 : totals[0] < totals[1] ? -1 : 0;
  check_values_ = false;
}

void TiesMerge::merge_chunk(const ChunkData& chunk, std::span<std::byte> out) {
  const base::Dtype out_type = plan_.groups[chunk.group].dtype;
  const std::size_t out_bytes = base::element_bytes(out_type).value();
  for (std::size_t segment = 0; segment < chunk.segments.size(); ++segment) {
    const plan::Segment& part = chunk.segments[segment];
    if (plan_.tensors[part.tensor].role != plan::Role::copy) continue;
    const auto from = chunk.bytes(0, segment);
    std::memcpy(out.data() + part.chunk_offset.value() * out_bytes, from.data(), from.size());
  }
  each_tile(chunk, [&](const Tile& tile) {
    add_all_tasks(chunk, tile, true);
    add(counts_, kernel::count(tile_, tile.base.size()));
    const std::span<float> merged = tile.base;  // in place
    kernel::finish(tile_, disjoint_, cancelled_sign_, static_cast<float>(job_.lambda), merged);
    const std::size_t first = chunk.segments[tile.segment].chunk_offset.value() + tile.begin;
    kernel::from_f32(out_type, merged, out.subspan(first * out_bytes, merged.size() * out_bytes));
  });
}

void TiesMerge::reduce(const comm::Comm& comm) {
  std::vector<std::uint64_t> totals{counts_.positive,
                                    counts_.negative,
                                    counts_.cancelled,
                                    counts_.untouched,
                                    counts_.conflicts_before_trim,
                                    counts_.conflicts_after_trim};
  for (const TaskTrim& trim : trims_) totals.push_back(trim.kept);
  comm::all_reduce_sum(comm, std::span<std::uint64_t>(totals));
  counts_ = {totals[0], totals[1], totals[2], totals[3], totals[4], totals[5]};
  for (std::size_t task = 0; task < trims_.size(); ++task) trims_[task].kept = totals[6 + task];
}

void TiesMerge::each_merged_chunk(const Progress& progress,
                                  const std::function<void(const ChunkData&)>& visit) {
  std::vector<std::size_t> groups;
  std::uint64_t rounds = 0;
  for (std::size_t group = 0; group < plan_.groups.size(); ++group) {
    if (!plan_.merges(group)) continue;
    groups.push_back(group);
    rounds += plan_.rounds(group);
  }
  std::uint64_t done = 0;
  for (const std::size_t group : groups) {
    for (std::uint64_t round = 0; round < plan_.rounds(group); ++round) {
      visit(store_.load(group, round));
      if (progress) progress(static_cast<double>(++done) / static_cast<double>(rounds));
    }
  }
}

template <class Visit>
void TiesMerge::each_tile(const ChunkData& chunk, Visit visit) {
  for (std::size_t segment = 0; segment < chunk.segments.size(); ++segment) {
    const plan::Segment& part = chunk.segments[segment];
    if (plan_.tensors[part.tensor].role != plan::Role::merge) continue;
    const std::size_t elements = part.elements.count().value();
    for (std::size_t begin = 0; begin < elements; begin += kTile) {
      const std::span<float> base(base_tile_.data(), std::min(kTile, elements - begin));
      widen(chunk, segment, 0, begin, base);
      visit(Tile{segment, begin, base});
    }
  }
}

void TiesMerge::widen(const ChunkData& chunk, std::size_t segment, std::size_t source,
                      std::size_t begin, std::span<float> to) const {
  const base::Dtype dtype = plan_.sources[source].extents[chunk.segments[segment].tensor].dtype;
  const std::size_t bytes = base::element_bytes(dtype).value();
  kernel::to_f32(dtype, chunk.bytes(source, segment).subspan(begin * bytes, to.size() * bytes), to);
}

std::span<const float> TiesMerge::task_vector(const ChunkData& chunk, const Tile& tile,
                                              std::size_t task) {
  const std::span<float> tau(task_tile_.data(), tile.base.size());
  widen(chunk, tile.segment, task + 1, tile.begin, tau);
  kernel::subtract_base(tau, tile.base);
  if (check_values_) {
    if (const auto found = kernel::first_non_finite(tau))
      refuse_non_finite(chunk, tile, task, *found);
  }
  return tau;
}

void TiesMerge::add_all_tasks(const ChunkData& chunk, const Tile& tile, bool count_kept) {
  tile_.clear();
  for (std::size_t task = 0; task < trims_.size(); ++task) {
    const auto weight = static_cast<float>(job_.tasks[task].weight);
    const std::uint64_t kept = kernel::add_task(tile_, task_vector(chunk, tile, task),
                                                trims_[task].threshold_bits, weight, disjoint_);
    if (count_kept) trims_[task].kept += kept;
  }
}

void TiesMerge::refuse_non_finite(const ChunkData& chunk, const Tile& tile, std::size_t task,
                                  std::size_t element) const {
  const plan::Segment& part = chunk.segments[tile.segment];
  const std::size_t source = std::isfinite(tile.base[element]) ? task + 1 : 0;
  float value = 0;
  widen(chunk, tile.segment, source, tile.begin + element, {&value, 1});
  const char* what = std::isnan(value) ? "is NaN"
                     : std::isinf(value)
                         ? "is infinite in float32"
                         : "is so far from the base that the difference overflows float32";
  throw base::Error(
      base::ErrorKind::input,
      fmt::format(
          "{}: tensor `{}`, element {} {}; expected finite values (`nan: allow` lets it through)",
          plan_.sources[source].name, base::printable(plan_.tensors[part.tensor].name),
          part.elements.begin.value() + tile.begin + element, what));
}

}  // namespace mpimerge::merge
