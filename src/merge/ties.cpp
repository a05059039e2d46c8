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

#include "merge/shard_parts.hpp"
#include "merge/tally.hpp"
#include "merge/tiles.hpp"

namespace mpimerge::merge {
namespace {

// Long enough that the streams of the models are followed by the processor, short enough that the
// base of a tile, widened, stays in the first-level cache.
constexpr std::size_t kTile = 8192;
constexpr std::uint32_t kInfinityBits = 0x7f800000u;
constexpr std::uint64_t kLargestMagnitude = 0x7fffffffu;
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
  rule.may_have_nan = job.nan == job::NanPolicy::allow;
  return rule;
}

std::uint64_t position_of(const plan::Plan& plan, const job::Job& job, std::size_t task) {
  return plan.merged.value() - plan::trim_rank(plan.merged, density_of(job, task));
}

// All thresholds that some point needs, by task.
std::vector<select::Sought> sought_by(const plan::Plan& plan, std::span<const job::Job> points) {
  std::vector<select::Sought> list;
  for (std::size_t task = 0; task < points.front().tasks.size(); ++task) {
    const auto first = static_cast<std::ptrdiff_t>(list.size());
    for (const job::Job& job : points) {
      const select::Sought sought{task, position_of(plan, job, task)};
      if (std::find(list.begin() + first, list.end(), sought) == list.end()) list.push_back(sought);
    }
  }
  return list;
}

std::vector<std::uint64_t> positions_of(const std::vector<select::Sought>& sought) {
  std::vector<std::uint64_t> positions;
  for (const select::Sought& each : sought) positions.push_back(each.position);
  return positions;
}

// The kernels of a tile know these; others are widened first.
bool merges_directly(base::Dtype dtype) {
  return dtype == base::Dtype::bf16 || dtype == base::Dtype::f16 || dtype == base::Dtype::f32;
}

kernel::TiesCounts counts_from(std::span<const std::uint64_t> numbers) {
  return {numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]};
}

int sign_of(std::int64_t difference) { return difference > 0 ? 1 : difference < 0 ? -1 : 0; }

}  // namespace

plan::PassOptions ties_passes(const plan::Plan& plan, std::span<const job::Job> points) {
  plan::PassOptions options;
  const job::Job& job = points.front();
  const std::vector<select::Sought> sought = sought_by(plan, points);
  options.trims = std::any_of(sought.begin(), sought.end(),
                              [](const select::Sought& each) { return each.position > 0; });
  options.selects = options.trims || job.nan == job::NanPolicy::error;
  options.needs_sign = job.rules.sign_tie == method::SignTie::majority;
  return options;
}

TiesMerge::TiesMerge(const plan::Plan& plan, const plan::ReadPlan& reads,
                     std::span<const job::Job> points, BlockStore& store)
    : plan_(plan),
      reads_(reads),
      store_(store),
      passes_(ties_passes(plan, points)),
      check_values_(points.front().nan == job::NanPolicy::error),
      tasks_(points.front().tasks.size()),
      sought_(sought_by(plan, points)),
      search_(std::vector(sought_.size(), plan.merged.value()), positions_of(sought_),
              reads.magnitudes),
      base_tile_(kTile),
      merged_tile_(kTile),
      task_tiles_(kTile),
      list_(kTile + kernel::kListPadding),
      tile_tasks_(tasks_),
      scratch_(kTile) {
  for (std::size_t task = 0, place = 0; task <= tasks_; ++task) {
    while (place < sought_.size() && sought_[place].task < task) ++place;
    first_sought_.push_back(place);
  }
  for (const job::Job& job : points) add_point(job, points.size() == 1);
  if (points_.size() > 1) moved_tile_.resize(kTile);
}

TiesMerge::~TiesMerge() = default;

void TiesMerge::add_point(const job::Job& job, bool is_only) {
  Election election;
  for (std::size_t task = 0; task < tasks_; ++task) {
    const select::Sought sought{task, position_of(plan_, job, task)};
    const auto place = std::find(sought_.begin(), sought_.end(), sought) - sought_.begin();
    election.sought.push_back(static_cast<std::size_t>(place));
    election.weights.push_back(static_cast<float>(number_of(job, "weight", task)));
  }
  const auto known = std::find_if(elections_.begin(), elections_.end(), [&](const Election& other) {
    return other.sought == election.sought && other.weights == election.weights;
  });
  const auto number = static_cast<std::size_t>(known - elections_.begin());
  if (known == elections_.end()) {
    election.trims.resize(tasks_);
    election.kept.resize(tasks_);
    for (std::size_t task = 0; task < tasks_; ++task)
      election.trims[task].trim_rank = plan::trim_rank(plan_.merged, density_of(job, task));
    election.rule = rule_of(job);
    election.final_sign = !passes_.needs_sign;
    const bool is_full = is_only && job.report == job::Report::full;
    if (job.report != job::Report::none) {
      election.tally = std::make_unique<Tally>(
          plan_, tasks_, Tally::Level{.trims = true, .full = is_full, .merged = is_full});
    }
    elections_.push_back(std::move(election));
  }
  const auto lambda = static_cast<float>(job::constant(job, "lambda").value_or(1));
  Election& joined = elections_[number];
  joined.points.push_back(points_.size());
  // The kernel takes the last step itself where there is only one.
  joined.rule.lambda = lambda;
  joined.rule.gives_vector = joined.points.size() > 1;
  points_.push_back({number, lambda});
}

std::vector<Step> TiesMerge::steps(const plan::Traffic& traffic) {
  return {{"sample", traffic.sample - traffic.guess,
           [this](const comm::Comm& comm, const Progress&, const RunPart&) {
             sample(comm);
             return true;
           }},
          {"guess", traffic.guess,
           [this](const comm::Comm& comm, const Progress&, const RunPart&) {
             guess_sign(comm);
             return true;
           }},
          {"select", traffic.select,
           [this](const comm::Comm& comm, const Progress& progress, const RunPart& part) {
             return select(comm, progress, part);
           }}};
}

void TiesMerge::sample(const comm::Comm& comm) {
  if (!passes_.trims) return;
  const std::vector<plan::Block> blocks = plan::sample_blocks(plan_, store_.rank());
  comm::collectively(comm, "sample", [&] {
    for (const plan::Block& block : blocks) store_.read_ahead(block);
  });
  std::vector<std::uint32_t> guesses;
  for (std::size_t first = 0; first < tasks_; first += plan::kTasksPerSample) {
    const std::size_t last = std::min(first + plan::kTasksPerSample, tasks_);
    const std::vector<std::uint32_t> of_tasks = sample_brackets(comm, blocks, first, last);
    guesses.insert(guesses.end(), of_tasks.begin(), of_tasks.end());
  }
  take_thresholds(guesses);
}

// Collective. The brackets of the tasks [first_task, last_task), and about which threshold each is.
std::vector<std::uint32_t> TiesMerge::sample_brackets(const comm::Comm& comm,
                                                      const std::vector<plan::Block>& blocks,
                                                      std::size_t first_task,
                                                      std::size_t last_task) {
  select::BracketSample sample(last_task - first_task);
  comm::collectively(comm, "sample", [&] {
    for (const plan::Block& block : blocks) {
      const BlockData& data = store_.peek(block, first_task, last_task);
      each_tile(data, data.range, [&](const Tile& tile) {
        for (std::size_t task = first_task; task < last_task; ++task) {
          // Everything is inside the widest bracket.
          const kernel::BracketCount all = count_bracket(data, tile, task, kernel::Bracket{});
          sample.add(task - first_task, std::span(list_).first(all.listed));
        }
      });
      sample.end_block();
    }
  });
  const std::size_t first = first_sought_[first_task];
  std::vector<select::Sought> wanted;
  for (std::size_t place = first; place < first_sought_[last_task]; ++place)
    wanted.push_back({sought_[place].task - first_task, sought_[place].position});
  const std::vector<select::BracketGuess> guesses =
      sample.brackets(comm, plan_.merged.value(), wanted, blocks.size());
  std::vector<std::uint32_t> thresholds;
  for (std::size_t number = 0; number < guesses.size(); ++number) {
    search_.narrow(first + number, guesses[number].bracket);
    thresholds.push_back(wanted[number].position > 0 ? guesses[number].threshold : 0);
  }
  return thresholds;
}

bool TiesMerge::select(const comm::Comm& comm, const Progress& progress, const RunPart& part) {
  while (check_values_ || !search_.done()) {
    if (!look_at_shard(progress, part)) return false;
    check_values_ = false;
    settle_guesses(comm);
    search_.advance(comm);
    look_again(comm);
  }
  const std::vector<std::uint32_t> thresholds = search_.thresholds();
  take_thresholds(thresholds);
  return true;
}

// Collective. The majority signs that `select` has counted.
void TiesMerge::settle_guesses(const comm::Comm& comm) {
  std::vector<std::int64_t> signs;
  for (const Election& election : elections_) {
    if (election.counts_signs) signs.push_back(election.signs);
  }
  if (signs.empty()) return;
  comm::all_reduce_sum(comm, std::span<std::int64_t>(signs));
  auto next = signs.begin();
  for (Election& election : elections_) {
    if (!election.counts_signs) continue;
    election.rule.cancelled_sign = sign_of(*next++);
    election.counts_signs = false;
  }
}

void TiesMerge::take_thresholds(std::span<const std::uint32_t> bits) {
  for (Election& election : elections_) {
    for (std::size_t task = 0; task < tasks_; ++task)
      election.trims[task].threshold_bits = bits[election.sought[task]];
  }
}

// Collective. Shows the selection every value of the shard, if it asks for any; false: stopped.
bool TiesMerge::look_at_shard(const Progress& progress, const RunPart& part) {
  const ShardParts parts(plan_, reads_, store_.rank(), seen_before_);
  const std::vector<plan::Block>& blocks = parts.blocks;
  std::size_t number = 0;
  for (const std::size_t end : parts.ends) {
    const auto look = [&] {
      if (!search_.needs_values() && !check_values_) return;
      for (; number < end; ++number) {
        if (number + kReadAhead < blocks.size()) store_.read_ahead(blocks[number + kReadAhead]);
        const BlockData& block = store_.load(blocks[number]);
        for (const base::ElementRange& gap : seen_before_.gaps(block.group, block.range))
          each_tile(block, gap, [&](const Tile& tile) { select_tile(block, tile); });
        seen_.add(block.group, block.range);
        progress(static_cast<double>(number + 1) / static_cast<double>(blocks.size()));
      }
    };
    if (!part(look)) return false;
  }
  return true;
}

// Collective, after a look: makes ready for one more, on the ranks that do not hold what they need.
// What was taken over from other ranks cannot be looked at by itself: then all look again at all.
void TiesMerge::look_again(const comm::Comm& comm) {
  bool again = search_.needs_values();
  if (!seen_before_.empty()) again = comm::all_reduce_max(comm, std::uint64_t{again}) != 0;
  if (!again) return;
  search_.look_again();
  seen_ = {};
  seen_before_ = {};
}

void TiesMerge::select_tile(const BlockData& block, const Tile& tile) {
  for (std::size_t task = 0; task < tasks_; ++task) {
    bool is_checked = !check_values_;
    const auto count = [&](const kernel::Bracket& bracket) {
      const kernel::BracketCount found = count_bracket(block, tile, task, bracket);
      if (!is_checked && found.largest >= kInfinityBits) refuse_non_finite(block, tile, task);
      is_checked = true;
      return found;
    };
    for (std::size_t place = first_sought_[task]; place < first_sought_[task + 1]; ++place) {
      if (!search_.wants(place)) continue;
      const kernel::BracketCount found = count(search_.bracket(place));
      search_.add(place, found, std::span(list_).first(found.listed));
    }
    // A task that nothing is asked of is only looked at for its largest value.
    constexpr kernel::Bracket kAboveAll{kernel::Bracket::kEnd - 1, kernel::Bracket::kEnd, {}, 0};
    if (!is_checked) count(kAboveAll);
  }
  if (std::ranges::none_of(elections_, &Election::counts_signs)) return;
  const Shared shared = share(block, tile);
  for (Election& election : elections_) {
    if (election.counts_signs) election.signs += tile_signs(shared, election);
  }
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
  // Of each election: of the blocks' differences, and of their squares.
  std::vector<std::int64_t> sums(2 * elections_.size());
  comm::collectively(comm, "sample", [&] {
    std::vector<std::int64_t> of_block(elections_.size());
    for (const plan::Block& block : plan::sample_blocks(plan_, store_.rank())) {
      const BlockData& data = store_.peek(block, 0, tasks_);
      std::fill(of_block.begin(), of_block.end(), 0);
      each_tile(data, data.range, [&](const Tile& tile) {
        const Shared shared = share(data, tile);
        for (std::size_t number = 0; number < elections_.size(); ++number)
          of_block[number] += tile_signs(shared, elections_[number]);
      });
      for (std::size_t number = 0; number < elections_.size(); ++number) {
        sums[2 * number] += of_block[number];
        sums[2 * number + 1] += of_block[number] * of_block[number];
      }
    }
  });
  comm::all_reduce_sum(comm, std::span<std::int64_t>(sums));
  constexpr double kStandardDeviations = 5;
  for (std::size_t number = 0; number < elections_.size(); ++number) {
    const std::int64_t sum = sums[2 * number];
    elections_[number].rule.cancelled_sign = sign_of(sum);
    elections_[number].counts_signs =
        std::abs(static_cast<double>(sum)) <
        kStandardDeviations * std::sqrt(static_cast<double>(sums[2 * number + 1]));
  }
}

void TiesMerge::merge_chunk(std::size_t group, base::ElementRange chunk, std::span<std::byte> out) {
  const std::vector<plan::Block> blocks = plan::blocks(reads_, group, chunk);
  for (std::size_t number = 0; number < blocks.size(); ++number) {
    if (number + kReadAhead < blocks.size()) store_.read_ahead(blocks[number + kReadAhead]);
    merge_block(store_.load(blocks[number]), chunk.begin, out);
  }
}

// @param out  of all points: each has the chunk that begins at `chunk_begin`
void TiesMerge::merge_block(const BlockData& block, base::Elements chunk_begin,
                            std::span<std::byte> out) {
  const base::Dtype out_type = plan_.groups[block.group].dtype;
  const std::size_t out_bytes = base::element_bytes(out_type).value();
  const std::size_t of_point = out.size() / points_.size();
  const std::size_t block_begin = (block.range.begin - chunk_begin).value();
  for (std::size_t point = 0; point < points_.size(); ++point)
    copy_unmerged(plan_, block, out.subspan(point * of_point + block_begin * out_bytes));
  each_tile(block, block.range, [&](const Tile& tile) {
    const Shared shared = share(block, tile);
    const std::size_t first =
        block_begin + block.segments[tile.segment].chunk_offset.value() + tile.begin;
    const auto put = [&](std::size_t point, std::span<const float> merged) {
      kernel::from_f32(
          out_type, merged,
          out.subspan(point * of_point + first * out_bytes, merged.size() * out_bytes));
    };
    const std::span<float> merged = std::span(merged_tile_).first(tile.elements);
    for (Election& election : elections_) {
      elect_tile(election, block, tile, shared, merged);
      if (!election.rule.gives_vector) {
        put(election.points.front(), merged);
        continue;
      }
      const std::span<float> moved = std::span(moved_tile_).first(tile.elements);
      for (const std::size_t point : election.points) {
        kernel::move_base(shared.dtype, shared.base, points_[point].lambda, merged, moved);
        put(point, moved);
      }
    }
  });
}

// Makes the tasks of a tile ready for the kernels. The base's values come with them, in a type that
// all share: as they are read, or widened.
TiesMerge::Shared TiesMerge::share(const BlockData& block, const Tile& tile) {
  const base::Dtype dtype = dtype_of(block, tile, 0);
  bool direct = merges_directly(dtype);
  for (std::size_t task = 0; task < tasks_; ++task)
    direct = direct && dtype_of(block, tile, task + 1) == dtype;
  if (!direct) task_tiles_.resize(tasks_ * kTile);
  for (std::size_t task = 0; task < tasks_; ++task) {
    kernel::TiesTask& part = tile_tasks_[task];
    part.values = raw(block, tile, task + 1).data();
    if (direct) continue;
    const auto widened = std::span(task_tiles_).subspan(task * kTile, tile.elements);
    kernel::to_f32(dtype_of(block, tile, task + 1), raw(block, tile, task + 1), widened);
    part.values = reinterpret_cast<const std::byte*>(widened.data());
  }
  if (direct) return {dtype, raw(block, tile, 0)};
  return {base::Dtype::f32, std::as_bytes(widen(block, tile, 0, base_tile_))};
}

// Tells the tasks of a tile what an election makes of them.
void TiesMerge::prepare(const Election& election) {
  for (std::size_t task = 0; task < tasks_; ++task) {
    tile_tasks_[task].threshold = election.trims[task].threshold_bits;
    tile_tasks_[task].weight = election.weights[task];
    tile_tasks_[task].kept = 0;
  }
}

void TiesMerge::elect_tile(Election& election, const BlockData& block, const Tile& tile,
                           const Shared& shared, std::span<float> merged) {
  prepare(election);
  const kernel::TiesCounts counts =
      kernel::merge_tile(election.rule, shared.dtype, shared.base, tile_tasks_, scratch_, merged);
  election.counts += counts;
  for (std::size_t task = 0; task < tasks_; ++task) election.kept[task] += tile_tasks_[task].kept;
  if (!election.tally) return;
  const std::size_t tensor = block.segments[tile.segment].tensor;
  election.tally->add(tensor, counts, tile_tasks_);
  if (election.tally->level().full) {
    election.tally->look(block.group, tensor, place_of(block, tile), shared.dtype, shared.base,
                         tile_tasks_, merged.data());
  }
}

std::int64_t TiesMerge::tile_signs(const Shared& shared, const Election& election) {
  prepare(election);
  return kernel::count_signs(shared.dtype, shared.base, tile_tasks_, scratch_);
}

// Collective. The counts of everything merged: of each election kCounts, then what each task kept.
std::vector<std::uint64_t> TiesMerge::counts_of_all(const comm::Comm& comm) const {
  std::vector<std::uint64_t> totals;
  for (const Election& election : elections_) {
    const kernel::TiesCounts& counts = election.counts;
    totals.insert(totals.end(),
                  {counts.positive, counts.negative, counts.cancelled, counts.untouched,
                   counts.conflicts_before_trim, counts.conflicts_after_trim});
    totals.insert(totals.end(), election.kept.begin(), election.kept.end());
  }
  comm::all_reduce_sum(comm, std::span<std::uint64_t>(totals));
  return totals;
}

// Of each election: thresholds, the sign of cancelled sums (+ 1), whether it is final, counts, and
// those of its tensors.
std::vector<std::uint64_t> TiesMerge::progress(const comm::Comm& comm) const {
  const std::vector<std::uint64_t> counts = counts_of_all(comm);
  std::span<const std::uint64_t> left(counts);
  std::vector<std::uint64_t> numbers;
  for (const Election& election : elections_) {
    for (const TaskTrim& trim : election.trims) numbers.push_back(trim.threshold_bits);
    numbers.push_back(static_cast<std::uint64_t>(election.rule.cancelled_sign + 1));
    numbers.push_back(election.final_sign ? 1 : 0);
    const auto own = left.first(kCounts + tasks_);
    numbers.insert(numbers.end(), own.begin(), own.end());
    left = left.subspan(own.size());
    if (!election.tally) continue;
    const std::vector<std::uint64_t> of_tensors = election.tally->numbers(comm);
    numbers.insert(numbers.end(), of_tensors.begin(), of_tensors.end());
  }
  return numbers;
}

bool TiesMerge::restore(const std::vector<std::uint64_t>& progress, bool counts) {
  const std::size_t of_tensors = elections_.front().tally ? elections_.front().tally->size() : 0;
  const std::size_t without_tensors = tasks_ + 2 + kCounts + tasks_;
  const std::size_t of_election = without_tensors + of_tensors;
  if (progress.size() != elections_.size() * of_election) return false;
  const auto part = [&](std::size_t number) {
    return std::span(progress).subspan(number * of_election, of_election);
  };
  for (std::size_t number = 0; number < elections_.size(); ++number) {
    const auto thresholds = part(number).first(tasks_);
    if (part(number)[tasks_] > 2 || std::ranges::any_of(thresholds, [](std::uint64_t bits) {
          return bits > kLargestMagnitude;
        }))
      return false;
  }
  for (std::size_t number = 0; number < elections_.size(); ++number) {
    Election& election = elections_[number];
    const auto numbers = part(number);
    for (std::size_t task = 0; task < tasks_; ++task)
      election.trims[task].threshold_bits = static_cast<std::uint32_t>(numbers[task]);
    election.rule.cancelled_sign = static_cast<int>(numbers[tasks_]) - 1;
    election.final_sign = numbers[tasks_ + 1] != 0;
    if (!counts) continue;
    election.counts = counts_from(numbers.subspan(tasks_ + 2));
    const auto kept = numbers.subspan(without_tensors - tasks_, tasks_);
    election.kept.assign(kept.begin(), kept.end());
    if (election.tally && !election.tally->load(numbers.last(of_tensors))) return false;
  }
  return true;
}

// Whether values are checked; of each election whether its signs are counted, the sign of cancelled
// sums (+ 1) and the thresholds of the sample; the search.
plan::PassState TiesMerge::pass_state(const comm::Comm& /*comm*/) const {
  plan::PassState state;
  state.step = kSelectStep;
  state.numbers = {check_values_ ? 1u : 0u};
  for (const Election& election : elections_) {
    state.numbers.push_back(election.counts_signs ? 1 : 0);
    state.numbers.push_back(static_cast<std::uint64_t>(election.rule.cancelled_sign + 1));
    for (const TaskTrim& trim : election.trims) state.numbers.push_back(trim.threshold_bits);
  }
  const std::vector<std::uint64_t> search = search_.common();
  state.numbers.insert(state.numbers.end(), search.begin(), search.end());
  state.looked_at = seen_before_;
  state.looked_at.add(seen_);
  return state;
}

void TiesMerge::put_own(const base::PutWords& words) const {
  for (const Election& election : elections_) {
    const auto signs = static_cast<std::uint64_t>(election.signs);
    words({&signs, 1});
  }
  search_.put_own(words);
}

bool TiesMerge::take_up(const plan::PassState& state) {
  const std::span numbers(state.numbers);
  const std::size_t of_election = 2 + tasks_;
  const std::size_t before_search = 1 + elections_.size() * of_election;
  if (state.step != kSelectStep || !state.looked_at.fits(plan_) || numbers.size() < before_search ||
      numbers[0] > 1 || !search_.take_common(numbers.subspan(before_search)))
    return false;
  check_values_ = numbers[0] == 1;
  for (std::size_t number = 0; number < elections_.size(); ++number) {
    Election& election = elections_[number];
    const auto own = numbers.subspan(1 + number * of_election, of_election);
    if (own[0] > 1 || own[1] > 2) return false;
    election.counts_signs = own[0] == 1;
    election.rule.cancelled_sign = static_cast<int>(own[1]) - 1;
    for (std::size_t task = 0; task < tasks_; ++task) {
      if (own[2 + task] > kLargestMagnitude) return false;
      election.trims[task].threshold_bits = static_cast<std::uint32_t>(own[2 + task]);
    }
  }
  seen_before_ = state.looked_at;
  return true;
}

bool TiesMerge::take_own(const base::TakeWord& word) {
  const auto most = static_cast<std::int64_t>(plan_.merged.value());
  for (Election& election : elections_) {
    const auto signs = static_cast<std::int64_t>(word());
    const std::int64_t before = std::abs(election.signs);
    if (signs > most - before || signs < before - most) return false;
    election.signs += signs;
  }
  return search_.take_own(word);
}

bool TiesMerge::settle(const comm::Comm& comm) {
  const std::vector<std::uint64_t> totals = counts_of_all(comm);
  bool all_right = true;
  for (std::size_t number = 0; number < elections_.size(); ++number) {
    Election& election = elections_[number];
    const auto numbers = std::span(totals).subspan(number * (kCounts + tasks_), kCounts + tasks_);
    election.totals = counts_from(numbers);
    for (std::size_t task = 0; task < tasks_; ++task)
      election.trims[task].kept = numbers[kCounts + task];
    // Should all be merged once more, nothing counts twice.
    election.counts = {};
    std::fill(election.kept.begin(), election.kept.end(), 0);
    if (election.tally) election.statistics = election.tally->finish(comm);
    all_right = has_right_sign(election) && all_right;
  }
  return all_right;
}

// After all is counted. false: from now on it has.
bool TiesMerge::has_right_sign(Election& election) {
  const kernel::TiesCounts& totals = election.totals;
  const int sign = totals.positive > totals.negative   ? 1
                   : totals.positive < totals.negative ? -1
                                                       : 0;
  // Only where something cancelled does the sign matter, and 0 acts as −1 but for the maximum.
  const auto acts_as = [&](int of) {
    return of == 0 && election.rule.disjoint != kernel::Disjoint::max ? -1 : of;
  };
  if (election.final_sign || totals.cancelled == 0 ||
      acts_as(sign) == acts_as(election.rule.cancelled_sign))
    return true;
  election.rule.cancelled_sign = sign;
  election.final_sign = true;
  return false;
}

// @param within  of the group
template <class Visit>
void TiesMerge::each_tile(const BlockData& block, base::ElementRange within, Visit visit) {
  for (std::size_t segment = 0; segment < block.segments.size(); ++segment) {
    const plan::Segment& part = block.segments[segment];
    if (plan_.tensors[part.tensor].role != plan::Role::merge) continue;
    const base::Elements first = block.range.begin + part.chunk_offset;
    const base::ElementRange wanted =
        base::intersect(base::ElementRange{first, first + part.elements.count()}, within);
    const std::size_t end = (wanted.end - first).value();
    for (std::size_t begin = (wanted.begin - first).value(); begin < end;) {
      // Tiles end where units of sums do.
      const std::size_t inside = place_of(block, Tile{segment, begin, 0}) % kTile;
      const std::size_t size = std::min(kTile - inside, end - begin);
      visit(Tile{segment, begin, size});
      begin += size;
    }
  }
}

// Of its first element in the group.
std::uint64_t TiesMerge::place_of(const BlockData& block, const Tile& tile) const {
  const plan::Segment& part = block.segments[tile.segment];
  return (plan_.tensors[part.tensor].offset + part.elements.begin).value() + tile.begin;
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
