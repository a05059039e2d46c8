#include "app/forecast.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "mpimerge/job/numbers.hpp"
#include "mpimerge/merge/allreduces.hpp"
#include "mpimerge/merge/merge.hpp"
#include "mpimerge/plan/build.hpp"
#include "mpimerge/select/bracket_sample.hpp"
#include "mpimerge/select/threshold_search.hpp"

#include "app/cli.hpp"

namespace mpimerge::app {
namespace {

constexpr std::uint64_t kKibi = std::uint64_t{1} << 10;
constexpr std::uint64_t kMebi = std::uint64_t{1} << 20;

// Peak of a merge of 3,000 parameters, Debian 12 with Open MPI 4.1 and HDF5 1.10: 31.3 MiB at 1
// rank to 32.1 at 4, with the buffer of the check.
constexpr std::uint64_t kProcess = 28 * kMebi;
constexpr std::uint64_t kCheckBuffer = 4 * kMebi;
// A file more that is open for writing: 50 MB with 1 of 365 kB, 52 with 4, 59 with 16.
constexpr std::uint64_t kOutput = 640 * kKibi;
// What rank 0 keeps of making the file's skeleton: 46 MiB for 2,000 tensors, 90 to 105 for 8,000
// and for 32,000, where HDF5's cache of metadata has its limit.
constexpr std::uint64_t kSkeletonPerTensor = 23 * kKibi;
constexpr std::uint64_t kSkeletonMost = 84 * kMebi;
// The plan, its archive and the catalogs, per tensor and per tensor of a source.
constexpr std::uint64_t kPlanPerTensor = 300;
constexpr std::uint64_t kPlanPerExtent = 250;
// Files that are mapped, as they are where all stays in memory, appear in the large pages that the
// system holds them in: seen on ext4 of Linux 6.18, per file and end of a mapped row.
constexpr std::uint64_t kStrayPages = 3 * kMebi;

// select::BracketSample: a bin of its histogram is 2^18 magnitudes wide, which has a counter each
// when it is in a bracket. The share of elements in a bin near the threshold: 1.2 % for a normal
// distribution and a density of 0.2.
constexpr std::uint64_t kBinMemory = kMebi;
// The differences of 16-bit numbers are few in a bin: those of 5 * 10^8 parameters took less.
constexpr std::uint64_t kBinMemoryOfHalves = kMebi / 8;
constexpr double kBinShare = 0.012;
constexpr double kMostCountedBins = 64;
constexpr std::uint64_t kCounterPage = kKibi / 4;

// Rounds of the selection, as a rule.
constexpr std::uint64_t kSelectRounds = 2;

// In the output file, per tensor beside its name, and once.
constexpr std::uint64_t kFilePerTensor = 320;
constexpr std::uint64_t kFileOnce = 16 * kKibi;

// Thresholds that are sought: of every task, and of every density that a sweep gives it.
std::uint64_t trims_of(std::span<const job::Job> points, const plan::Plan& plan) {
  std::set<std::pair<std::size_t, std::uint64_t>> trims;
  for (const job::Job& job : points) {
    for (std::size_t task = 0; task < job.tasks.size(); ++task) {
      const double density = job::constant(job, "density", task).value_or(1);
      const std::uint64_t rank = plan::trim_rank(plan.merged, density);
      if (rank < plan.merged.value()) trims.emplace(task, rank);
    }
  }
  return trims.size();
}

// Elements that the longest shard merges.
std::uint64_t longest_shard(const plan::Plan& plan) {
  std::uint64_t elements = 0;
  for (std::size_t group = 0; group < plan.groups.size(); ++group)
    elements += plan.merges(group) ? plan.shards(group).longest().value() : 0;
  return elements;
}

bool all_are_halves(const plan::Plan& plan) {
  for (const plan::Source& source : plan.sources) {
    for (std::size_t tensor = 0; tensor < plan.tensors.size(); ++tensor) {
      if (plan.tensors[tensor].role == plan::Role::merge &&
          base::element_bytes(source.extents[tensor].dtype) != base::Bytes{2})
        return false;
    }
  }
  return true;
}

// What lies in the brackets of the longest shard, all tasks together: BracketSample's width, and
// what BracketContents takes for it.
std::uint64_t bracket_memory(const plan::Plan& plan, const plan::Traffic& all,
                             std::uint64_t tasks) {
  if (tasks == 0 || all.sampled_elements == 0) return 0;
  // Half of what it would be at worst: so it was for weights like those of language models.
  const double share = 0.4 / std::sqrt(static_cast<double>(all.sampled_blocks)) +
                       2 / std::sqrt(static_cast<double>(all.sampled_elements));
  const double bins = 1 + share / kBinShare;
  const double inside = std::min(share + kBinShare, 1.0) * static_cast<double>(longest_shard(plan));
  const std::uint64_t bin_memory = all_are_halves(plan) ? kBinMemoryOfHalves : kBinMemory;
  const double each = bins > kMostCountedBins
                          ? 4 * inside
                          : std::min(bins * static_cast<double>(bin_memory),
                                     inside * static_cast<double>(kCounterPage));
  return static_cast<std::uint64_t>(each * static_cast<double>(tasks));
}

// @param all  of all inputs
std::uint64_t kept_memory(const plan::Plan& plan, const plan::Traffic& traffic, std::uint64_t all) {
  const std::uint64_t resident = traffic.resident.value();
  const std::uint64_t ends = traffic.resident == traffic.keepable ? traffic.resident_ends : 0;
  const std::uint64_t strays = ends * plan.sources.size() * kStrayPages;
  return resident + std::min(strays, all > resident ? all - resident : 0);
}

// Adds up all ranks.
// @param samples  of single tensors, by rank
void add_ranks(const plan::Plan& plan, const plan::PassOptions& passes,
               const std::vector<base::Bytes>& samples, Forecast& sum, std::uint64_t& most_kept) {
  sum.all = {};
  most_kept = 0;
  std::uint64_t inputs = 0;
  for (std::size_t source = 0; source < plan.sources.size(); ++source) {
    for (std::size_t tensor = 0; tensor < plan.tensors.size(); ++tensor)
      inputs += plan.tensors[tensor].elements.value() *
                base::element_bytes(plan.sources[source].extents[tensor].dtype).value();
  }
  base::Bytes most_moved;
  base::Bytes most_keepable;
  for (std::uint64_t rank = 0; rank < plan.ranks; ++rank) {
    plan::Traffic traffic = plan::predict_traffic(plan, sum.reads, rank, passes);
    traffic.select += samples[rank];
    sum.all += traffic;
    most_kept = std::max(most_kept, kept_memory(plan, traffic, inputs));
    most_keepable = std::max(most_keepable, traffic.keepable);
    const base::Bytes moved = traffic.sample + traffic.select + traffic.merge + traffic.written;
    if (rank > 0 && moved <= most_moved) continue;
    most_moved = moved;
    sum.largest = traffic;
    sum.largest_rank = rank;
  }
  sum.budget_to_stay = plan::budget_for(sum.reads, most_keepable);
}

base::Bytes process_memory(const plan::Plan& plan, const Forecast& known, std::uint64_t brackets,
                           std::uint64_t kept) {
  const std::uint64_t tensors = plan.tensors.size();
  const std::uint64_t skeleton = std::min(tensors * kSkeletonPerTensor, kSkeletonMost) +
                                 tensors * (kPlanPerTensor + kPlanPerExtent * plan.sources.size());
  const std::uint64_t passing = std::min(known.reads.passing.value(), known.largest.merge.value());
  // Brackets take what the skeleton left behind, and are forgotten when the output begins.
  const std::uint64_t counted = std::min(brackets, known.reads.magnitudes.value());
  const std::uint64_t passes = std::max(counted > skeleton ? counted - skeleton : 0,
                                        known.reads.output.value() + kCheckBuffer);
  return base::Bytes{kProcess + skeleton + kept + passing + passes};
}

// Those of the merge itself: what comes before the first chunk, the agreements before each
// collective write, the counts at the end. Not those of MPI-IO, nor the few before and after.
// Points that are merged point by point add up; those of the paper's TIES are sought together.
merge::Allreduces allreduces_of(std::span<const job::Job> points, const plan::Plan& plan) {
  merge::Allreduces all = merge::predict_allreduces(plan, points.front());
  if (!std::ranges::all_of(points, merge::is_ties)) {
    for (const job::Job& job : points.subspan(1)) {
      const merge::Allreduces more = merge::predict_allreduces(plan, job);
      all.add(more.calls, more.bytes.value());
    }
    return all;
  }
  const std::uint64_t of_first = trims_of(points.first(1), plan);
  const std::uint64_t of_all = trims_of(points, plan);
  constexpr std::uint64_t kTogether = select::ThresholdSearch::kTasksPerRound;
  const auto calls = [](std::uint64_t sought) { return (sought + kTogether - 1) / kTogether; };
  all.add(kSelectRounds * (calls(of_all) - calls(of_first)),
          kSelectRounds * (of_all - of_first) * select::ThresholdSearch::kBytesPerTask);
  return all;
}

void count_allreduces(std::span<const job::Job> points, const plan::Plan& plan, Forecast& sum) {
  merge::Allreduces all = allreduces_of(points, plan);
  for (std::size_t group = 0; group < plan.groups.size(); ++group)
    all.add(plan.rounds(group), plan.rounds(group) * merge::kAgreementBytes);
  constexpr std::uint64_t kSignsAndConflicts = 6;
  if (merge::is_ties(points.front()))
    all.add(1, (kSignsAndConflicts + points.front().tasks.size()) * 8);
  const merge::Allreduces of_statistics = merge::predict_statistics(plan, points.front());
  all.add(of_statistics.calls, of_statistics.bytes.value());
  sum.allreduce_calls = all.calls;
  sum.allreduce_bytes = all.bytes;
}

base::Bytes file_bytes(const job::Job& job, const plan::Plan& plan) {
  const std::uint64_t alignment = plan.alignment.value();
  std::uint64_t end = 0;
  std::uint64_t gap = 0;  // before what is aligned: HDF5 puts smaller datasets there
  for (const plan::Group& group : plan.groups) {
    const std::uint64_t bytes = group.elements.value() * base::element_bytes(group.dtype).value();
    if (bytes > alignment) {
      // The first begins after the head of the file.
      const std::uint64_t begin = std::max((end + alignment - 1) / alignment, std::uint64_t{1});
      gap = std::max(gap, begin * alignment - end);
      end = begin * alignment + bytes;
    } else if (bytes <= gap) {
      gap -= bytes;
    } else {
      end += bytes;
    }
  }
  end += kFileOnce + job.text.size();
  for (const plan::Tensor& tensor : plan.tensors) end += kFilePerTensor + tensor.name.size();
  return base::Bytes{end};
}

}  // namespace

Forecast forecast(std::span<const job::Job> points, const plan::Plan& plan, base::Bytes budget) {
  Forecast sum;
  const bool writes = !points.front().writes_nothing;
  sum.reads = plan::plan_reads(plan, budget, merge::demand(plan, points, writes));
  plan::PassOptions passes = merge::pass_options(plan, points);
  sum.twice = passes.selects;
  const std::uint64_t trimmed = trims_of(points, plan);
  std::uint64_t kept = 0;
  std::vector<base::Bytes> samples(plan.ranks);
  for (const job::Job& job : points) {
    const std::vector<base::Bytes> own = merge::predict_samples(plan, job);
    for (std::size_t rank = 0; rank < samples.size(); ++rank) samples[rank] += own[rank];
  }
  add_ranks(plan, passes, samples, sum, kept);
  const std::uint64_t brackets = passes.trims ? bracket_memory(plan, sum.all, trimmed) : 0;
  if (brackets > sum.reads.magnitudes.value()) {
    ++passes.looks;
    add_ranks(plan, passes, samples, sum, kept);
  }
  sum.looks = passes.looks;
  sum.memory = process_memory(plan, sum, brackets, kept);
  const std::uint64_t outputs = points.size() * std::max(points.front().outputs.size(), 1UL);
  if (writes) sum.memory += base::Bytes{kOutput * (outputs - 1)};
  count_allreduces(points, plan, sum);
  sum.output_file = file_bytes(points.front(), plan);
  return sum;
}

std::optional<std::uint64_t> smallest_resident_ranks(std::span<const job::Job> points,
                                                     const Models& models, base::Bytes budget,
                                                     base::Bytes chunk) {
  const auto stays = [&](std::uint64_t ranks) {
    const plan::Plan plan = plan_merge(points.front(), models, ranks, chunk);
    const bool writes = !points.front().writes_nothing;
    const plan::Demand demand = merge::demand(plan, points, writes);
    return plan::stays_resident(plan, plan::plan_reads(plan, budget, demand),
                                merge::pass_options(plan, points));
  };
  const plan::Plan one = plan_merge(points.front(), models, 1, chunk);
  const plan::PassOptions passes = merge::pass_options(one, points);
  if (!passes.selects) return std::nullopt;
  const std::uint64_t keepable =
      plan::predict_traffic(one, plan::plan_reads(one, base::Bytes{}), 0, passes).select.value();
  // With fewer, not even the bytes fit: data have less than the budget.
  std::uint64_t too_few = keepable / budget.value();
  std::uint64_t enough = too_few + 1;
  if (enough > kMostRanks) return std::nullopt;
  for (std::uint64_t step = enough / 8 + 1; !stays(enough); step *= 2) {
    too_few = enough;
    if (enough == kMostRanks) return std::nullopt;
    enough = std::min(enough + step, kMostRanks);
  }
  while (enough - too_few > 1) {
    const std::uint64_t middle = too_few + (enough - too_few) / 2;
    (stays(middle) ? enough : too_few) = middle;
  }
  return enough;
}

}  // namespace mpimerge::app
