#include "mpimerge/merge/ties.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include <fmt/format.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/job/numbers.hpp"
#include "mpimerge/kernel/convert.hpp"
#include "mpimerge/plan/build.hpp"
#include "mpimerge/select/bracket_sample.hpp"

#include "merge/tiles.hpp"

namespace mpimerge::merge {
namespace {

// Long enough that the streams of the models are followed by the processor, short enough that the
// base of a tile, widened, stays in the first-level cache.
constexpr std::size_t kTile = 8192;
// Blocks that are asked for ahead of the one in hand: 16 to 32 MiB on their way.
constexpr std::size_t kReadAhead = 4;
// Rounds of the plan between two questions whether to stop: some tens of milliseconds.
constexpr std::uint64_t kRoundsPerStretch = 4;
constexpr std::uint32_t kInfinityBits = 0x7f800000u;
constexpr std::size_t kCounts = 6;  // of kernel::TiesCounts

kernel::Disjoint disjoint_of(method::Aggregate aggregate) {
  switch (aggregate) {
    case method::Aggregate::disjoint_sum: return kernel::Disjoint::sum;
    case method::Aggregate::disjoint_max: return kernel::Disjoint::max;
    default: return kernel::Disjoint::mean;
  }
}

// Of a job that is_ties() has found to be one: no number depends on the tensor.
double number_of(const job::Job& job, std::string_view parameter, std::size_t task) {
  return job::constant(job, parameter, task).value_or(1);
}
double density_of(const job::Job& job, std::size_t task) { return number_of(job, "density", task); }

kernel::TiesRule rule_of(const job::Job& job) {
  kernel::TiesRule rule;
  rule.disjoint = disjoint_of(job.rules.aggregate);
  rule.lambda = static_cast<float>(job::constant(job, "lambda").value_or(1));
  rule.may_have_nan = job.nan == job::NanPolicy::allow;
  return rule;
}

std::vector<std::uint64_t> positions(const plan::Plan& plan, const job::Job& job) {
  std::vector<std::uint64_t> list;
  for (std::size_t task = 0; task < job.tasks.size(); ++task)
    list.push_back(plan.merged.value() - plan::trim_rank(plan.merged, density_of(job, task)));
  return list;
}

// The kernels of a tile know these; others are widened first.
bool merges_directly(base::Dtype dtype) {
  return dtype == base::Dtype::bf16 || dtype == base::Dtype::f16 || dtype == base::Dtype::f32;
}

int sign_of(std::int64_t difference) { return difference > 0 ? 1 : difference < 0 ? -1 : 0; }

}  // namespace

plan::PassOptions ties_passes(const plan::Plan& plan, const job::Job& job) {
  plan::PassOptions options;
  const std::vector<std::uint64_t> sought = positions(plan, job);
  options.trims = std::any_of(sought.begin(), sought.end(), [](std::uint64_t n) { return n > 0; });
  options.selects = options.trims || job.nan == job::NanPolicy::error;
  options.needs_sign = job.rules.sign_tie == method::SignTie::majority;
  return options;
}

TiesMerge::TiesMerge(const plan::Plan& plan, const plan::ReadPlan& reads, const job::Job& job,
                     BlockStore& store)
    : plan_(plan),
      reads_(reads),
      job_(job),
      store_(store),
      passes_(ties_passes(plan, job)),
      check_values_(job.nan == job::NanPolicy::error),
      rule_(rule_of(job)),
      search_(plan.merged.value(), positions(plan, job), reads.magnitudes),
      trims_(job.tasks.size()),
      final_sign_(!passes_.needs_sign),
      base_tile_(kTile),
      merged_tile_(kTile),
      task_tiles_(kTile),
      list_(kTile + kernel::kListPadding),
      tile_tasks_(job.tasks.size()),
      scratch_(kTile) {
  for (std::size_t task = 0; task < trims_.size(); ++task)
    weights_.push_back(static_cast<float>(number_of(job, "weight", task)));
  for (std::size_t task = 0; task < trims_.size(); ++task)
    trims_[task].trim_rank = plan::trim_rank(plan.merged, density_of(job, task));
}

std::vector<Step> TiesMerge::steps(const plan::Traffic& traffic) {
  return {{"sample", traffic.sample - traffic.guess,
           [this](const comm::Comm& comm, const Progress&, const AskWish&) {
             sample(comm);
             return true;
           }},
          {"guess", traffic.guess,
           [this](const comm::Comm& comm, const Progress&, const AskWish&) {
             guess_sign(comm);
             return true;
           }},
          {"select", traffic.select,
           [this](const comm::Comm& comm, const Progress& progress, const AskWish& wish) {
             return select(comm, progress, wish);
           }}};
}

void TiesMerge::sample(const comm::Comm& comm) {
  if (!passes_.trims) return;
  const std::vector<plan::Block> blocks = plan::sample_blocks(plan_, store_.rank());
  comm::collectively(comm, "sample", [&] {
    for (const plan::Block& block : blocks) store_.read_ahead(block);
  });
  for (std::size_t first = 0; first < trims_.size(); first += plan::kTasksPerSample)
    sample_brackets(comm, blocks, first, std::min(first + plan::kTasksPerSample, trims_.size()));
}

// Collective. The brackets of the tasks [first_task, last_task).
void TiesMerge::sample_brackets(const comm::Comm& comm, const std::vector<plan::Block>& blocks,
                                std::size_t first_task, std::size_t last_task) {
  select::BracketSample sample(last_task - first_task);
  comm::collectively(comm, "sample", [&] {
    for (const plan::Block& block : blocks) {
      const BlockData& data = store_.peek(block, first_task, last_task);
      each_tile(data, [&](const Tile& tile) {
        for (std::size_t task = first_task; task < last_task; ++task) {
          // Everything is inside the widest bracket.
          const kernel::BracketCount all = count_bracket(data, tile, task, kernel::Bracket{});
          sample.add(task - first_task, std::span(list_).first(all.listed));
        }
      });
      sample.end_block();
    }
  });
  std::vector<std::uint64_t> wanted = positions(plan_, job_);
  wanted = {wanted.begin() + static_cast<std::ptrdiff_t>(first_task),
            wanted.begin() + static_cast<std::ptrdiff_t>(last_task)};
  const std::vector<select::BracketGuess> guesses =
      sample.brackets(comm, plan_.merged.value(), wanted, blocks.size());
  for (std::size_t task = first_task; task < last_task; ++task) {
    search_.narrow(task, guesses[task - first_task].bracket);
    if (wanted[task - first_task] > 0)
      trims_[task].threshold_bits = guesses[task - first_task].threshold;
  }
}

bool TiesMerge::select(const comm::Comm& comm, const Progress& progress, const AskWish& wish) {
  signs_ = 0;
  while (check_values_ || !search_.done()) {
    if (!look_at_shard(comm, progress, wish)) return false;
    check_values_ = false;
    if (counts_signs_) {
      comm::all_reduce_sum(comm, std::span<std::int64_t>(&signs_, 1));
      rule_.cancelled_sign = sign_of(signs_);
      counts_signs_ = false;
    }
    search_.advance(comm);
  }
  const std::vector<std::uint32_t> thresholds = search_.thresholds();
  for (std::size_t task = 0; task < trims_.size(); ++task)
    trims_[task].threshold_bits = thresholds[task];
  return true;
}

// Collective. Shows the selection every value of the shard, if it asks for any; false: stopped.
bool TiesMerge::look_at_shard(const comm::Comm& comm, const Progress& progress,
                              const AskWish& wish) {
  std::vector<plan::Block> blocks;
  std::vector<std::size_t> ends;  // of stretches of `blocks`: as many on every rank
  std::uint64_t rounds = 0;
  for (std::size_t group = 0; group < plan_.groups.size(); ++group) {
    if (!plan_.merges(group)) continue;
    for (std::uint64_t round = 0; round < plan_.rounds(group); ++round) {
      const auto part = plan::blocks(reads_, group, plan_.chunk(group, store_.rank(), round));
      blocks.insert(blocks.end(), part.begin(), part.end());
      if (++rounds % kRoundsPerStretch == 0) ends.push_back(blocks.size());
    }
  }
  ends.push_back(blocks.size());
  std::size_t number = 0;
  for (const std::size_t end : ends) {
    const auto look = [&] {
      if (!search_.needs_values() && !check_values_) return;
      for (; number < end; ++number) {
        if (number + kReadAhead < blocks.size()) store_.read_ahead(blocks[number + kReadAhead]);
        const BlockData& block = store_.load(blocks[number]);
        each_tile(block, [&](const Tile& tile) { select_tile(block, tile); });
        progress(static_cast<double>(number + 1) / static_cast<double>(blocks.size()));
      }
    };
    if (comm::collectively(comm, "select", look, wish()) == comm::Wish::stop) return false;
  }
  return true;
}

void TiesMerge::select_tile(const BlockData& block, const Tile& tile) {
  for (std::size_t task = 0; task < trims_.size(); ++task) {
    if (!search_.wants(task) && !check_values_) continue;
    // A task that nothing is asked of is only looked at for its largest value.
    constexpr kernel::Bracket kAboveAll{kernel::Bracket::kEnd - 1, kernel::Bracket::kEnd, {}, 0};
    const kernel::Bracket& bracket = search_.wants(task) ? search_.bracket(task) : kAboveAll;
    const kernel::BracketCount count = count_bracket(block, tile, task, bracket);
    if (check_values_ && count.largest >= kInfinityBits) refuse_non_finite(block, tile, task);
    search_.add(task, count, std::span(list_).first(count.listed));
  }
  if (counts_signs_) signs_ += tile_signs(block, tile);
}

// Counts and lists, in list_, a task's magnitudes. Values of unlike types are widened first.
kernel::BracketCount TiesMerge::count_bracket(const BlockData& block, const Tile& tile,
                                              std::size_t task, const kernel::Bracket& bracket) {
  const base::Dtype dtype = dtype_of(block, tile, task + 1);
  if (dtype == dtype_of(block, tile, 0)) {
    return kernel::count_bracket(dtype, raw(block, tile, task + 1), raw(block, tile, 0), bracket,
                                 list_.data());
  }
  return kernel::count_bracket(
      base::Dtype::f32, std::as_bytes(widen(block, tile, task + 1, task_tiles_)),
      std::as_bytes(widen(block, tile, 0, base_tile_)), bracket, list_.data());
}

// Collective. Which sign is elected more often in the sample, with the thresholds that it has, and
// whether that can be trusted: the blocks' differences say how far chance may have led.
void TiesMerge::guess_sign(const comm::Comm& comm) {
  if (!passes_.needs_sign) return;
  std::array<std::int64_t, 2> sums{};  // of the blocks' differences, and of their squares
  comm::collectively(comm, "sample", [&] {
    for (const plan::Block& block : plan::sample_blocks(plan_, store_.rank())) {
      const BlockData& data = store_.peek(block, 0, trims_.size());
      std::int64_t of_block = 0;
      each_tile(data, [&](const Tile& tile) { of_block += tile_signs(data, tile); });
      sums[0] += of_block;
      sums[1] += of_block * of_block;
    }
  });
  comm::all_reduce_sum(comm, std::span<std::int64_t>(sums));
  rule_.cancelled_sign = sign_of(sums[0]);
  constexpr double kStandardDeviations = 5;
  counts_signs_ = std::abs(static_cast<double>(sums[0])) <
                  kStandardDeviations * std::sqrt(static_cast<double>(sums[1]));
}

void TiesMerge::merge_chunk(std::size_t group, base::ElementRange chunk, std::span<std::byte> out) {
  const std::vector<plan::Block> blocks = plan::blocks(reads_, group, chunk);
  for (std::size_t number = 0; number < blocks.size(); ++number) {
    if (number + kReadAhead < blocks.size()) store_.read_ahead(blocks[number + kReadAhead]);
    merge_block(store_.load(blocks[number]), chunk.begin, out);
  }
}

void TiesMerge::merge_block(const BlockData& block, base::Elements chunk_begin,
                            std::span<std::byte> out) {
  const base::Dtype out_type = plan_.groups[block.group].dtype;
  const std::size_t out_bytes = base::element_bytes(out_type).value();
  const std::size_t block_begin = (block.range.begin - chunk_begin).value();
  copy_unmerged(plan_, block, out.subspan(block_begin * out_bytes));
  each_tile(block, [&](const Tile& tile) {
    merge_tile(block, tile);
    const std::span<const float> merged = std::span(merged_tile_).first(tile.elements);
    const std::size_t first =
        block_begin + block.segments[tile.segment].chunk_offset.value() + tile.begin;
    kernel::from_f32(out_type, merged, out.subspan(first * out_bytes, merged.size() * out_bytes));
  });
}

// Makes the tasks of a tile ready for the kernels. The base's values come with them, in a type that
// all share: as they are read, or widened.
TiesMerge::Shared TiesMerge::share(const BlockData& block, const Tile& tile) {
  const base::Dtype dtype = dtype_of(block, tile, 0);
  bool direct = merges_directly(dtype);
  for (std::size_t task = 0; task < trims_.size(); ++task)
    direct = direct && dtype_of(block, tile, task + 1) == dtype;
  if (!direct) task_tiles_.resize(trims_.size() * kTile);
  for (std::size_t task = 0; task < trims_.size(); ++task) {
    kernel::TiesTask& part = tile_tasks_[task];
    part.threshold = trims_[task].threshold_bits;
    part.weight = weights_[task];
    part.kept = 0;
    part.values = raw(block, tile, task + 1).data();
    if (direct) continue;
    const auto widened = std::span(task_tiles_).subspan(task * kTile, tile.elements);
    kernel::to_f32(dtype_of(block, tile, task + 1), raw(block, tile, task + 1), widened);
    part.values = reinterpret_cast<const std::byte*>(widened.data());
  }
  if (direct) return {dtype, raw(block, tile, 0)};
  return {base::Dtype::f32, std::as_bytes(widen(block, tile, 0, merged_tile_))};
}

// Leaves the merged parameters in merged_tile_.
void TiesMerge::merge_tile(const BlockData& block, const Tile& tile) {
  const Shared shared = share(block, tile);
  counts_ += kernel::merge_tile(rule_, shared.dtype, shared.base, tile_tasks_, scratch_,
                                std::span(merged_tile_).first(tile.elements));
  for (std::size_t task = 0; task < trims_.size(); ++task)
    trims_[task].kept += tile_tasks_[task].kept;
}

std::int64_t TiesMerge::tile_signs(const BlockData& block, const Tile& tile) {
  const Shared shared = share(block, tile);
  return kernel::count_signs(shared.dtype, shared.base, tile_tasks_, scratch_);
}

// Collective. The counts of everything merged: kCounts, then what each task kept.
std::vector<std::uint64_t> TiesMerge::counts_of_all(const comm::Comm& comm) const {
  std::vector<std::uint64_t> totals{counts_.positive,
                                    counts_.negative,
                                    counts_.cancelled,
                                    counts_.untouched,
                                    counts_.conflicts_before_trim,
                                    counts_.conflicts_after_trim};
  for (const TaskTrim& trim : trims_) totals.push_back(trim.kept);
  comm::all_reduce_sum(comm, std::span<std::uint64_t>(totals));
  return totals;
}

void TiesMerge::take_counts(std::span<const std::uint64_t> numbers) {
  counts_ = {numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]};
  for (std::size_t task = 0; task < trims_.size(); ++task)
    trims_[task].kept = numbers[kCounts + task];
}

// Thresholds, the sign of cancelled sums (+ 1), whether it is final, counts.
std::vector<std::uint64_t> TiesMerge::progress(const comm::Comm& comm) const {
  std::vector<std::uint64_t> numbers;
  for (const TaskTrim& trim : trims_) numbers.push_back(trim.threshold_bits);
  numbers.push_back(static_cast<std::uint64_t>(rule_.cancelled_sign + 1));
  numbers.push_back(final_sign_ ? 1 : 0);
  const std::vector<std::uint64_t> counts = counts_of_all(comm);
  numbers.insert(numbers.end(), counts.begin(), counts.end());
  return numbers;
}

bool TiesMerge::restore(const std::vector<std::uint64_t>& progress, bool counts) {
  const std::size_t tasks = trims_.size();
  constexpr std::uint64_t kLargestMagnitude = 0x7fffffffu;
  if (progress.size() != tasks + 2 + kCounts + tasks || progress[tasks] > 2 ||
      std::any_of(progress.begin(), progress.begin() + static_cast<std::ptrdiff_t>(tasks),
                  [](std::uint64_t bits) { return bits > kLargestMagnitude; }))
    return false;
  for (std::size_t task = 0; task < tasks; ++task)
    trims_[task].threshold_bits = static_cast<std::uint32_t>(progress[task]);
  rule_.cancelled_sign = static_cast<int>(progress[tasks]) - 1;
  final_sign_ = progress[tasks + 1] != 0;
  if (counts) take_counts(std::span(progress).subspan(tasks + 2));
  return true;
}

bool TiesMerge::settle(const comm::Comm& comm) {
  const std::vector<std::uint64_t> totals = counts_of_all(comm);
  const int sign = totals[0] > totals[1] ? 1 : totals[0] < totals[1] ? -1 : 0;
  // Only where something cancelled does the sign matter, and 0 acts as −1 but for the maximum.
  const auto acts_as = [&](int of) {
    return of == 0 && rule_.disjoint != kernel::Disjoint::max ? -1 : of;
  };
  const bool right =
      final_sign_ || totals[2] == 0 || acts_as(sign) == acts_as(rule_.cancelled_sign);
  if (!right) {
    rule_.cancelled_sign = sign;
    final_sign_ = true;
    counts_ = {};
    for (TaskTrim& trim : trims_) trim.kept = 0;
    return false;
  }
  take_counts(totals);
  return true;
}

template <class Visit>
void TiesMerge::each_tile(const BlockData& block, Visit visit) {
  for (std::size_t segment = 0; segment < block.segments.size(); ++segment) {
    const plan::Segment& part = block.segments[segment];
    if (plan_.tensors[part.tensor].role != plan::Role::merge) continue;
    const std::size_t elements = part.elements.count().value();
    for (std::size_t begin = 0; begin < elements; begin += kTile)
      visit(Tile{segment, begin, std::min(kTile, elements - begin)});
  }
}

base::Dtype TiesMerge::dtype_of(const BlockData& block, const Tile& tile,
                                std::size_t source) const {
  return plan_.sources[source].extents[block.segments[tile.segment].tensor].dtype;
}

std::span<const std::byte> TiesMerge::raw(const BlockData& block, const Tile& tile,
                                          std::size_t source) const {
  const std::size_t bytes = base::element_bytes(dtype_of(block, tile, source)).value();
  return block.bytes(source, tile.segment).subspan(tile.begin * bytes, tile.elements * bytes);
}

std::span<float> TiesMerge::widen(const BlockData& block, const Tile& tile, std::size_t source,
                                  std::vector<float>& to) const {
  const std::span<float> values = std::span(to).first(tile.elements);
  kernel::to_f32(dtype_of(block, tile, source), raw(block, tile, source), values);
  return values;
}

void TiesMerge::refuse_non_finite(const BlockData& block, const Tile& tile, std::size_t task) {
  const std::span<const float> base = widen(block, tile, 0, base_tile_);
  const std::span<const float> values = widen(block, tile, task + 1, task_tiles_);
  std::size_t element = 0;
  while (std::isfinite(values[element] - base[element])) ++element;
  const plan::Segment& part = block.segments[tile.segment];
  const bool base_is_finite = std::isfinite(base[element]);
  const std::size_t source = base_is_finite ? task + 1 : 0;
  const float value = base_is_finite ? values[element] : base[element];
  const char* what = std::isnan(value) ? "is NaN"
                     : std::isinf(value)
                         ? "is infinite in float32"
                         : "is so far from the base that the difference overflows float32";
  refuse_value(plan_, source, part.tensor, part.elements.begin.value() + tile.begin + element,
               what);
}

}  // namespace mpimerge::merge
