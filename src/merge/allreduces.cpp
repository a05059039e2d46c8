#include "mpimerge/merge/allreduces.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "mpimerge/job/numbers.hpp"
#include "mpimerge/merge/merge.hpp"
#include "mpimerge/method/exact_sum.hpp"
#include "mpimerge/method/method.hpp"
#include "mpimerge/plan/build.hpp"
#include "mpimerge/select/bracket_sample.hpp"
#include "mpimerge/select/threshold_search.hpp"

#include "merge/method_merge.hpp"
#include "merge/method_tensors.hpp"
#include "merge/shard_parts.hpp"
#include "merge/sources.hpp"
#include "merge/tally.hpp"
#include "merge/tensor_ranks.hpp"

namespace mpimerge::merge {
namespace {

using method::Pass;

// Rounds of a selection that begins with a bracket, and of one that does not.
constexpr std::uint64_t kBracketedRounds = 2;
constexpr std::uint64_t kRounds = 3;
constexpr std::uint64_t kNumberBytes = 8;
// Beside the bins of a sample: what it was taken in.
constexpr std::uint64_t kSampleBytes = 2 * kNumberBytes;

std::uint64_t quotient_up(std::uint64_t number, std::uint64_t divisor) {
  return (number + divisor - 1) / divisor;
}

// After each part of a look at the shard all ranks agree.
void add_look(std::uint64_t parts, Allreduces& sum) { sum.add(parts, parts * kAgreementBytes); }

void add_search_round(std::uint64_t sought, Allreduces& sum) {
  sum.add(quotient_up(sought, select::ThresholdSearch::kTasksPerRound),
          sought * select::ThresholdSearch::kBytesPerTask);
}

void add_sums(std::uint64_t sums, Allreduces& sum) {
  sum.add(quotient_up(sums, kSumsPerRound), sums * method::ExactSum::kNumbers * kNumberBytes);
}

// The sample and the selection of thresholds over the whole model.
void add_model_trim(const plan::Plan& plan, const job::Job& job, std::uint64_t parts,
                    bool checks_values, Allreduces& sum) {
  const std::uint64_t tasks = job.tasks.size();
  std::uint64_t trimmed = 0;
  for (std::size_t task = 0; task < tasks; ++task) {
    const double density = job::constant(job, "density", task).value_or(1);
    if (plan::trim_rank(plan.merged, density) < plan.merged.value()) ++trimmed;
  }
  if (trimmed == 0) {
    if (checks_values) add_look(parts, sum);
    return;
  }
  const std::uint64_t batches = quotient_up(tasks, plan::kTasksPerSample);
  // Before the first batch the ranks agree that the sample's reads are under way.
  sum.add(2 * batches + 1, tasks * select::BracketSample::kBytesPerTask +
                               batches * (kSampleBytes + kAgreementBytes) + kAgreementBytes);
  for (std::uint64_t round = 0; round < kBracketedRounds; ++round) {
    add_look(parts, sum);
    add_search_round(trimmed, sum);
  }
}

// Order statistics of tensors that several ranks share: of the others each rank knows by itself.
void add_ranks(const plan::Plan& plan, const method::Method& method, std::size_t pass,
               MethodTensors& tensors, std::uint64_t parts, Allreduces& sum) {
  std::array<std::uint64_t, kRounds> sought{};
  for (std::size_t number = 0; number < plan.tensors.size(); ++number) {
    if (plan.tensors[number].role != plan::Role::merge || !tensors.crosses(number)) continue;
    const auto ranks = method.ranks(pass, tensors.tensor(number));
    if (!looks_for_any(ranks)) continue;
    const auto wanted = static_cast<std::uint64_t>(
        std::ranges::count_if(ranks, [](const auto& rank) { return rank.position > 0; }));
    const bool is_sampled = plan.tensors[number].elements.value() > kSampledTensor;
    for (std::uint64_t round = 0; round < (is_sampled ? kBracketedRounds : kRounds); ++round)
      sought[round] += wanted;
    if (!is_sampled) continue;
    sum.add(2,
            kAgreementBytes + ranks.size() * select::BracketSample::kBytesPerTask + kSampleBytes);
  }
  for (const std::uint64_t of_round : sought) {
    if (of_round == 0) continue;
    sum.add(1, kAgreementBytes);
    add_search_round(of_round, sum);
  }
  add_look(parts, sum);
}

void add_pass(const plan::Plan& plan, const job::Job& job, const method::Method& method,
              std::size_t pass, MethodTensors& tensors, std::uint64_t parts, Allreduces& sum) {
  const Pass::Kind kind = method.passes()[pass].kind;
  if (kind == Pass::Kind::model_trim)
    return add_model_trim(plan, job, parts, job.nan == job::NanPolicy::error, sum);
  if (kind == Pass::Kind::ranks) return add_ranks(plan, method, pass, tensors, parts, sum);
  add_look(parts, sum);
  std::uint64_t most = 0;
  for (std::size_t number = 0; number < plan.tensors.size(); ++number) {
    if (plan.tensors[number].role != plan::Role::merge) continue;
    const std::uint64_t sums = method.sums(pass, tensors.tensor(number));
    if (plan.tensors[number].elements > base::Elements{}) most = std::max(most, sums);
    if (kind == Pass::Kind::sums && tensors.crosses(number)) add_sums(sums, sum);
  }
  if (kind == Pass::Kind::sums) return;
  sum.add(1, kNumberBytes);  // how many sums there are
  add_sums(most, sum);
}

}  // namespace

Allreduces predict_allreduces(const plan::Plan& plan, const job::Job& job) {
  Allreduces sum;
  const std::uint64_t parts = ShardParts::count(plan);
  if (is_ties(job)) {
    const plan::PassOptions passes = pass_options(plan, job);
    add_model_trim(plan, job, parts, passes.selects, sum);
    // Sums of the sample's signs, and of their squares.
    if (passes.needs_sign) sum.add(2, kAgreementBytes + 2 * kNumberBytes);
    return sum;
  }
  const method::Description& description = *method::find(job.method);
  const Sources sources(job, description);
  const std::unique_ptr<method::Method> method = description.make(setup_of(job, nullptr));
  MethodTensors tensors(plan, job, description, sources, *method);
  for (std::size_t pass = 0; pass < method->passes().size(); ++pass)
    add_pass(plan, job, *method, pass, tensors, parts, sum);
  return sum;
}

Allreduces predict_statistics(const plan::Plan& plan, const job::Job& job) {
  const bool trims = is_ties(job);
  const bool is_full = job.report == job::Report::full && (trims || !job.base_name.empty());
  if (job.report == job::Report::none || (!trims && !is_full)) return {};
  return Tally(plan, job.tasks.size(), {.trims = trims, .full = is_full, .merged = is_full})
      .allreduces();
}

std::vector<base::Bytes> predict_samples(const plan::Plan& plan, const job::Job& job) {
  std::vector<base::Bytes> bytes(plan.ranks);
  if (is_ties(job)) return bytes;
  const method::Description& description = *method::find(job.method);
  const Sources sources(job, description);
  const std::unique_ptr<method::Method> method = description.make(setup_of(job, nullptr));
  MethodTensors tensors(plan, job, description, sources, *method);
  const std::vector<Pass> passes = method->passes();
  const auto samples = [&](std::size_t number) {
    std::uint64_t times = 0;
    for (std::size_t pass = 0; pass < passes.size(); ++pass) {
      if (passes[pass].kind == Pass::Kind::ranks &&
          looks_for_any(method->ranks(pass, tensors.tensor(number))))
        ++times;
    }
    return times;
  };
  for (std::size_t group = 0; group < plan.groups.size(); ++group) {
    const plan::ShardMap shards = plan.shards(group);
    for (std::uint64_t number = plan.groups[group].first_tensor;
         number < plan.groups[group].last_tensor; ++number) {
      const plan::Tensor& tensor = plan.tensors[number];
      if (tensor.role != plan::Role::merge || tensor.elements == base::Elements{}) continue;
      const std::uint64_t times = samples(number);
      if (times == 0) continue;
      const base::ElementRange all{tensor.offset, tensor.offset + tensor.elements};
      const std::uint64_t last = shards.owner(all.end - base::Elements{1});
      for (std::uint64_t rank = shards.owner(all.begin); rank <= last; ++rank) {
        const base::ElementRange part = base::intersect(all, shards.shard(rank));
        for (const auto& place : sample_places(plan, number, part, method->grain()))
          bytes[rank] += base::Bytes{times * plan::read_bytes(plan, {group, place}).value()};
      }
    }
  }
  return bytes;
}

}  // namespace mpimerge::merge
