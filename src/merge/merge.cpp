#include "mpimerge/merge/merge.hpp"

#include "mpimerge/job/numbers.hpp"
#include "mpimerge/merge/ties.hpp"
#include "mpimerge/method/method.hpp"

#include "merge/method_merge.hpp"

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
  if (is_ties(job)) return ties_passes(plan, job);
  return method_passes(*method::find(job.method)->make(setup_of(job, nullptr)));
}

std::unique_ptr<Merge> make_merge(const plan::Plan& plan, const plan::ReadPlan& reads,
                                  const job::Job& job, BlockStore& store, BlockStore& rows) {
  if (is_ties(job)) return std::make_unique<TiesMerge>(plan, reads, job, store);
  return std::make_unique<MethodMerge>(plan, reads, job, *method::find(job.method), store, rows);
}

}  // namespace mpimerge::merge
