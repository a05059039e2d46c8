// A job file with overrides: lines at the beginning that are `--set KEY=VALUE` are taken as such.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "mpimerge/job/parse.hpp"

#include "fuzz/target.hpp"

namespace {

using namespace mpimerge;

void require_sound(const job::Job& job) {
  constexpr double kMost = std::numeric_limits<float>::max();
  fuzz::require(!job.tasks.empty(), "a job has a task");
  fuzz::require(std::abs(job.lambda) <= kMost, "lambda is a finite float");
  for (const job::Task& task : job.tasks) {
    fuzz::require(task.density > 0 && task.density <= 1, "a density is above 0, at most 1");
    fuzz::require(std::abs(task.weight) <= kMost, "a weight is a finite float");
    fuzz::require(!task.path.empty() && task.path.find('\0') == std::string::npos &&
                      task.path.find('\n') == std::string::npos,
                  "a path is one line");
  }
  for (const auto& [hint, value] : job.output_hints.mpi_io)
    fuzz::require(!hint.empty() && hint.size() <= 35 && value.size() <= 255, "a hint fits MPI");
}

bool same(const job::Job& a, const job::Job& b) {
  const auto same_task = [](const job::Task& x, const job::Task& y) {
    return x.name == y.name && x.path == y.path && x.density == y.density && x.weight == y.weight;
  };
  return a.method == b.method && a.base_path == b.base_path && a.lambda == b.lambda &&
         std::equal(a.tasks.begin(), a.tasks.end(), b.tasks.begin(), b.tasks.end(), same_task) &&
         a.trim_scope == b.trim_scope && a.elect == b.elect && a.sign_tie == b.sign_tie &&
         a.aggregate == b.aggregate && a.nan == b.nan && a.out_dtype == b.out_dtype &&
         a.outputs == b.outputs && a.output_hints.alignment == b.output_hints.alignment &&
         a.output_hints.mpi_io == b.output_hints.mpi_io;
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::string_view kSet = "--set ";
  std::string_view yaml = fuzz::text_of(data, size);
  std::vector<std::string> overrides;
  while (yaml.starts_with(kSet)) {
    const std::size_t end = std::min(yaml.find('\n'), yaml.size());
    overrides.emplace_back(yaml.substr(kSet.size(), end - kSet.size()));
    yaml.remove_prefix(std::min(end + 1, yaml.size()));
  }
  constexpr std::size_t kMostLines = 101;
  fuzz::may_refuse({base::ErrorKind::job, base::ErrorKind::usage}, kMostLines, [&] {
    const job::Job job = job::parse_job(yaml, "directory/job.yaml", overrides);
    require_sound(job);
    const job::Job again = job::parse_job(job.text, "directory/job.yaml", {});
    fuzz::require(same(job, again), "the text that a job is recorded as is the same job");
  });
  return 0;
}
