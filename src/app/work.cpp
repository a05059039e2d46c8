#include "app/work.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/log.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/checkpoint/adapter.hpp"
#include "mpimerge/job/numbers.hpp"
#include "mpimerge/method/method.hpp"
#include "mpimerge/plan/build.hpp"
#include "mpimerge/plan/ties.hpp"

#include "app/inputs.hpp"
#include "app/slices.hpp"

namespace mpimerge::app {
namespace {

// The job was checked by its text; links and other spellings of a path show only here.
void refuse_base_as_task(const job::Job& job) {
  // Where the base is nothing of its own to the method, it may be a model too.
  if (job.base_path.empty() || method::find(job.method)->base == method::Base::unused) return;
  for (const job::Task& task : job.tasks) {
    std::error_code ignored;
    if (!task.adapter.empty() || !std::filesystem::equivalent(task.path, job.base_path, ignored))
      continue;
    throw base::Error(
        base::ErrorKind::job,
        fmt::format(
            "{}:{}: model: {} is the base model by another name; leave the base out of `models`",
            job.file, task.line, task.name));
  }
}

checkpoint::Catalog open_model(const job::Task& task) {
  if (task.adapter.empty()) return open_checkpoint(task.path, task.name);
  return checkpoint::with_adapter(open_checkpoint(task.path), task.adapter);
}

// The base that has the tensors of another model, all of one value.
checkpoint::Catalog constant_base(const job::Job& job, checkpoint::Catalog like) {
  like.path = job.base_name;
  like.content = job.base_constant == job::ConstantBase::ones ? checkpoint::Content::ones
                                                              : checkpoint::Content::zeros;
  return like;
}

std::vector<std::filesystem::path> directories_of(const job::Job& job) {
  std::vector<std::filesystem::path> directories;
  for (const job::Task& task : job.tasks) directories.emplace_back(task.path);
  return directories;
}

// All adapters as one model; the others have nothing that it has not.
Models open_as_one(const job::Job& job) {
  std::vector<double> weights;
  for (std::size_t task = 0; task < job.tasks.size(); ++task)
    weights.push_back(job::constant(job, "weight", task).value_or(1));
  Models models{checkpoint::concatenate(directories_of(job), weights)};
  models.resize(job.tasks.size());
  for (std::size_t task = 0; task < job.tasks.size(); ++task)
    models[task].path = job.tasks[task].path;
  return models;
}

Models open_checkpoints(const job::Job& job) {
  refuse_base_as_task(job);
  Models models;
  if (!job.base_path.empty()) models.push_back(open_checkpoint(job.base_path, job.base_name));
  for (const job::Task& task : job.tasks) models.push_back(open_model(task));
  if (job.base_constant != job::ConstantBase::none)
    models.insert(models.begin(), constant_base(job, models.front()));
  for (const job::Task& task : job.tasks) {
    if (!task.side_file.empty()) models.push_back(open_checkpoint(task.side_file));
  }
  if (!job.signs_name.empty()) models.push_back(open_checkpoint(job.signs_path, job.signs_name));
  return models;
}

plan::Missing missing_of(const job::Job& job) {
  if (!job.slices_are_even() || method::find(job.method)->concatenates) return plan::Missing::skip;
  switch (job.missing) {
    case job::Missing::error: return plan::Missing::error;
    case job::Missing::base: return plan::Missing::base;
    case job::Missing::skip: return plan::Missing::skip;
  }
  return plan::Missing::error;
}

}  // namespace

const std::string& layout_path(const job::Job& job) {
  return job.base_path.empty() ? job.tasks.front().path : job.base_path;
}

void warn_of_other_rules(const job::Job& job) {
  if (!job.may_mean_mergekits_rules) return;
  base::log().warn(
      "{}: looks like one of mergekit's files; {} here, which mergekit does not: `compat: "
      "mergekit` "
      "gives its result, `compat: paper` keeps this one without a word",
      job.file,
      job.method == "ties" ? "the trim is over the whole model, and sums that cancel take the sign "
                             "of the majority"
                           : "small tensors are kept, and sums that cancel take the sign of the "
                             "majority");
}

Models open_models(const job::Job& job) {
  if (method::find(job.method)->concatenates) return open_as_one(job);
  Models models = job.slices.empty() ? open_checkpoints(job) : open_slices(job);
  // Files that are read whole go by the names that they have.
  const std::size_t last =
      method::find(job.method)->files_are_whole ? models.size() - job.tasks.size() : models.size();
  for (const std::string& line : plan::resolve_ties(std::span(models).first(last)))
    base::log().info("{}", line);
  return models;
}

base::Bytes chunk_of(const MergeOptions& options, const job::Sweep& sweep) {
  constexpr base::Bytes kLeast{std::uint64_t{1} << 20};
  if (options.chunk_is_given || !sweep.is_sweep()) return options.chunk;
  return std::max(base::Bytes{options.chunk.value() / sweep.points.size()}, kLeast);
}

std::string config_of_output(const job::Job& job) {
  if (!method::find(job.method)->concatenates) return {};
  return checkpoint::concatenated_config(directories_of(job));
}

void check_weights(const job::Job& job, const plan::Plan& plan) {
  constexpr double kRounding = 1e-6;  // of a sum in float32
  const method::Description& method = *method::find(job.method);
  if (!method.divides_by_weights) return;
  const auto weight = static_cast<std::size_t>(
      std::ranges::find(method.parameters, "weight", &method::Parameter::name) -
      method.parameters.begin());
  if (weight == method.parameters.size()) return;
  const std::size_t first_model = job.base_name.empty() ? 0 : 1;
  std::vector<std::string_view> names;
  for (const plan::Tensor& tensor : plan.tensors) names.push_back(tensor.name);
  const std::vector<double> depths = job::depths(job, names);
  for (std::size_t number = 0; number < plan.tensors.size(); ++number) {
    if (plan.tensors[number].role != plan::Role::merge) continue;
    const job::Numbers numbers = job::numbers(job, method, names[number], depths[number]);
    if (!method.divides_by_weights(job.rules, numbers.of_merge)) continue;
    double sum = 0;
    double magnitudes = 0;
    std::vector<std::string> weighed;
    for (std::size_t task = 0; task < job.tasks.size(); ++task) {
      if (plan.sources[first_model + task].extents[number].is_absent()) continue;
      const double of_task = numbers.of_models[weight * job.tasks.size() + task];
      sum += of_task;
      magnitudes += std::abs(of_task);
      weighed.push_back(fmt::format("{} {}", job.tasks[task].name, of_task));
    }
    if (std::abs(sum) > kRounding * magnitudes) continue;
    throw base::Error(
        base::ErrorKind::job,
        fmt::format("{}: weight: found {} for tensor `{}`, which sum to 0; expected another sum, "
                    "because {} divides by it",
                    job.file, base::printable(fmt::format("{}", fmt::join(weighed, ", "))),
                    base::printable(names[number]), job.method));
  }
}

plan::Plan plan_merge(const job::Job& job, const Models& models, std::uint64_t ranks,
                      base::Bytes chunk) {
  plan::Request request;
  request.ranks = ranks;
  request.out_dtype = job.out_dtype;
  request.alignment = job.output_hints.alignment;
  request.chunk = chunk;
  request.has_base = !job.base_name.empty();
  request.missing = missing_of(job);
  request.common_rows = job.embeddings == job::Embeddings::common_rows;
  request.include = job.include;
  request.exclude = job.exclude;
  // Files whose tensors are read whole are no sources of elements.
  const bool whole = method::find(job.method)->files_are_whole;
  const std::size_t first_file = (job.base_name.empty() ? 0 : 1) + job.tasks.size();
  const std::size_t files = whole ? job.tasks.size() : 0;
  std::vector<checkpoint::Catalog> others;
  std::vector<plan::SideFile> side_files;
  for (std::size_t number = 1; number < models.size(); ++number) {
    if (number >= first_file && number < first_file + files)
      side_files.push_back(plan::side_file(models[number]));
    else
      others.push_back(models[number]);
  }
  plan::Plan plan = plan::build_plan(request, models.front(), others);
  plan.side_files = std::move(side_files);
  return plan;
}

}  // namespace mpimerge::app
