#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "mpimerge/job/job.hpp"
#include "mpimerge/job/numbers.hpp"
#include "mpimerge/merge/ties.hpp"
#include "mpimerge/plan/plan.hpp"

#include "merge/models.hpp"
#include "support/reference/ties.hpp"

namespace mpimerge::test {

/// What a merge must come to: whole models, worked out serially.
struct Expected {
  std::vector<std::vector<std::byte>> groups;  ///< the output's bytes, by group of the plan
  std::vector<merge::TaskTrim> tasks;
  reference::TiesResult ties;
  int cancelled_sign = 0;
};

inline reference::Disjoint aggregate_of(method::Aggregate aggregate) {
  if (aggregate == method::Aggregate::disjoint_sum) return reference::Disjoint::sum;
  if (aggregate == method::Aggregate::disjoint_max) return reference::Disjoint::max;
  return reference::Disjoint::mean;
}

/// Local. @param models  the base, then the tasks in job order
inline Expected expect_ties(const plan::Plan& plan, const job::Job& job,
                            const std::vector<Model>& models) {
  const auto merged_values = [&](const Model& model) {
    std::vector<float> values;
    for (const plan::Tensor& tensor : plan.tensors) {
      if (tensor.role != plan::Role::merge) continue;
      const ModelTensor& found = find(model, tensor.name);
      const std::vector<float> part = decode(found.dtype, found.bytes);
      values.insert(values.end(), part.begin(), part.end());
    }
    return values;
  };

  Expected expected;
  const std::vector<float> base = merged_values(models[0]);
  std::vector<reference::TiesTask> tasks;
  for (std::size_t number = 0; number < job.tasks.size(); ++number) {
    reference::TiesTask task;
    task.tau = merged_values(models[number + 1]);
    for (std::size_t i = 0; i < base.size(); ++i) task.tau[i] -= base[i];
    task.weight = static_cast<float>(job::constant(job, "weight", number).value());
    const double density = job::constant(job, "density", number).value();
    task.threshold = reference::threshold(task.tau, density);
    expected.tasks.push_back({reference::trim_rank(base.size(), density), task.threshold, 0});
    tasks.push_back(std::move(task));
  }
  expected.cancelled_sign =
      job.rules.sign_tie == method::SignTie::positive ? 1 : reference::majority_sign(tasks);
  expected.ties =
      reference::ties(base, tasks, aggregate_of(job.rules.aggregate), expected.cancelled_sign,
                      static_cast<float>(job::constant(job, "lambda").value()));
  for (std::size_t task = 0; task < tasks.size(); ++task)
    expected.tasks[task].kept = expected.ties.kept[task];

  auto next = expected.ties.merged.begin();
  for (const plan::Group& group : plan.groups) {
    std::vector<std::byte> bytes;
    for (std::uint64_t at = group.first_tensor; at < group.last_tensor; ++at) {
      const plan::Tensor& tensor = plan.tensors[at];
      std::vector<std::byte> part = find(models[0], tensor.name).bytes;
      if (tensor.role == plan::Role::merge) {
        const auto end = next + static_cast<std::ptrdiff_t>(tensor.elements.value());
        part = encode(group.dtype, {next, end});
        next = end;
      }
      bytes.insert(bytes.end(), part.begin(), part.end());
    }
    expected.groups.push_back(std::move(bytes));
  }
  return expected;
}

}  // namespace mpimerge::test
