#include "app/forecast.hpp"

#include <algorithm>
#include <cmath>

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

// In the output file, per tensor beside its name, and once.
constexpr std::uint64_t kFilePerTensor = 320;
constexpr std::uint64_t kFileOnce = 16 * kKibi;

std::uint64_t trimmed_tasks(const job::Job& job, const plan::Plan& plan) {
  std::uint64_t tasks = 0;
  for (std::size_t task = 0; task < job.tasks.size(); ++task) {
    const double density = job::constant(job, "density", task).value_or(1);
    if (plan::trim_rank(plan.merged, density) < plan.merged.value()) ++tasks;
  }
  return tasks;
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
void count_allreduces(const job::Job& job, const plan::Plan& plan, Forecast& sum) {
  merge::Allreduces all = merge::predict_allreduces(plan, job);
  for (std::size_t group = 0; group < plan.groups.size(); ++group)
    all.add(plan.rounds(group), plan.rounds(group) * merge::kAgreementBytes);
  constexpr std::uint64_t kSignsAndConflicts = 6;
  if (merge::is_ties(job)) all.add(1, (kSignsAndConflicts + job.tasks.size()) * 8);
  const merge::Allreduces of_statistics = merge::predict_statistics(plan, job);
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

Forecast forecast(const job::Job& job, const plan::Plan& plan, base::Bytes budget) {
  Forecast sum;
  sum.reads = plan::plan_reads(plan, budget);
  plan::PassOptions passes = merge::pass_options(plan, job);
  sum.twice = passes.selects;
  const std::uint64_t trimmed = trimmed_tasks(job, plan);
  std::uint64_t kept = 0;
  const std::vector<base::Bytes> samples = merge::predict_samples(plan, job);
  add_ranks(plan, passes, samples, sum, kept);
  const std::uint64_t brackets = passes.trims ? bracket_memory(plan, sum.all, trimmed) : 0;
  if (brackets > sum.reads.magnitudes.value()) {
    ++passes.looks;
    add_ranks(plan, passes, samples, sum, kept);
  }
  sum.looks = passes.looks;
  sum.memory = process_memory(plan, sum, brackets, kept);
  count_allreduces(job, plan, sum);
  sum.output_file = file_bytes(job, plan);
  return sum;
}

std::optional<std::uint64_t> smallest_resident_ranks(const job::Job& job, const Models& models,
                                                     base::Bytes budget, base::Bytes chunk) {
  const auto stays = [&](std::uint64_t ranks) {
    const plan::Plan plan = plan_merge(job, models, ranks, chunk);
    return plan::stays_resident(plan, plan::plan_reads(plan, budget),
                                merge::pass_options(plan, job));
  };
  const plan::Plan one = plan_merge(job, models, 1, chunk);
  const plan::PassOptions passes = merge::pass_options(one, job);
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
