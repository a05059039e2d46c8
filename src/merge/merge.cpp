#include "mpimerge/merge/merge.hpp"

#include <algorithm>
#include <utility>

#include "mpimerge/job/numbers.hpp"
#include "mpimerge/merge/ties.hpp"
#include "mpimerge/method/method.hpp"

#include "merge/method_merge.hpp"
#include "merge/point_by_point.hpp"

namespace mpimerge::merge {
namespace {

bool is_disjoint(method::Aggregate aggregate) {
  return aggregate == method::Aggregate::disjoint_mean ||
         aggregate == method::Aggregate::disjoint_sum ||
         aggregate == method::Aggregate::disjoint_max;
}

}  // namespace

bool is_ties(const job::Job& job) {
  const method::Rules& rules = job.rules;
  if (job.method != "ties" || rules.trim_scope != method::TrimScope::model ||
      rules.elect != method::Elect::mass || !is_disjoint(rules.aggregate))
    return false;
  if (!job::constant(job, "lambda") || job::constant(job, "normalize").value_or(1) == 0 ||
      job::constant(job, "rescale").value_or(0) != 0)
    return false;
  for (std::size_t task = 0; task < job.tasks.size(); ++task) {
    if (!job::constant(job, "density", task) || !job::constant(job, "weight", task)) return false;
  }
  return true;
}

plan::PassOptions pass_options(const plan::Plan& plan, const job::Job& job) {
  return pass_options(plan, std::span(&job, 1));
}

plan::PassOptions pass_options(const plan::Plan& plan, std::span<const job::Job> points) {
  if (std::ranges::all_of(points, is_ties)) return ties_passes(plan, points);
  plan::PassOptions all;
  all.selects = all.trims = all.needs_sign = false;
  all.looks = 0;
  for (const job::Job& job : points) {
    const plan::PassOptions of =
        is_ties(job)
            ? ties_passes(plan, std::span(&job, 1))
            : method_passes(plan, job, *method::find(job.method)->make(setup_of(job, nullptr)));
    all.selects = all.selects || of.selects;
    all.trims = all.trims || of.trims;
    all.needs_sign = all.needs_sign || of.needs_sign;
    all.looks += of.selects ? of.looks : 0;
  }
  all.looks = std::max(all.looks, std::uint64_t{1});
  return all;
}

std::unique_ptr<Merge> make_merge(const plan::Plan& plan, const plan::ReadPlan& reads,
                                  std::span<const job::Job> points, BlockStore& store,
                                  BlockStore& rows) {
  if (std::ranges::all_of(points, is_ties))
    return std::make_unique<TiesMerge>(plan, reads, points, store);
  std::vector<std::unique_ptr<Merge>> merges;
  for (const job::Job& job : points) {
    if (is_ties(job)) {
      merges.push_back(std::make_unique<TiesMerge>(plan, reads, job, store));
    } else {
      merges.push_back(
          std::make_unique<MethodMerge>(plan, reads, job, *method::find(job.method), store, rows));
    }
  }
  if (merges.size() == 1) return std::move(merges.front());
  return std::make_unique<PointByPoint>(plan, reads, std::move(merges), store);
}

}  // namespace mpimerge::merge
