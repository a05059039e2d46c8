#include "app/work.hpp"

#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/plan/build.hpp"

#include "app/inputs.hpp"

namespace mpimerge::app {
namespace {

// The job was checked by its text; links and other spellings of a path show only here.
void refuse_base_as_task(const job::Job& job) {
  for (const job::Task& task : job.tasks) {
    std::error_code ignored;
    if (!std::filesystem::equivalent(task.path, job.base_path, ignored)) continue;
    throw base::Error(
        base::ErrorKind::job,
        fmt::format(
            "{}:{}: model: {} is the base model by another name; leave the base out of `models`",
            job.file, task.line, task.name));
  }
}

}  // namespace

Models open_models(const job::Job& job) {
  refuse_base_as_task(job);
  Models models;
  models.base = open_checkpoint(job.base_path);
  for (const job::Task& task : job.tasks) models.tasks.push_back(open_checkpoint(task.path));
  return models;
}

plan::Plan plan_merge(const job::Job& job, const Models& models, std::uint64_t ranks,
                      base::Bytes chunk) {
  plan::Request request;
  request.ranks = ranks;
  request.out_dtype = job.out_dtype;
  request.alignment = job.output_hints.alignment;
  request.chunk = chunk;
  return plan::build_plan(request, models.base, models.tasks);
}

}  // namespace mpimerge::app
