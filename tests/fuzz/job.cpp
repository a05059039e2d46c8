// A job file with overrides: lines at the beginning that are `--set KEY=VALUE` are taken as such.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "mpimerge/job/parse.hpp"
#include "mpimerge/job/sweep.hpp"
#include "mpimerge/method/method.hpp"

#include "fuzz/target.hpp"

namespace {

using namespace mpimerge;

using Parameters = std::map<std::string, method::Setting>;

void require_sound(const method::Description& method, const Parameters& parameters) {
  for (const auto& [name, setting] : parameters) {
    const auto known = std::ranges::find(method.parameters, name, &method::Parameter::name);
    fuzz::require(known != method.parameters.end(), "a parameter is the method's");
    fuzz::require(!setting.cases.empty(), "a setting has a case");
    for (const auto& each : setting.cases) {
      fuzz::require(!each.values.empty(), "a case has a value");
      for (const double value : each.values)
        fuzz::require(value >= known->least && value <= known->most, "a value is within its range");
    }
  }
}

void require_sound(const job::Job& job) {
  const method::Description* const method = method::find(job.method);
  fuzz::require(method != nullptr, "a job has a method");
  fuzz::require(
      job.tasks.size() >= method->fewest_models && job.tasks.size() <= method->most_models,
      "a job has as many tasks as the method can do");
  require_sound(*method, job.parameters);
  for (const job::Task& task : job.tasks) {
    require_sound(*method, task.parameters);
    fuzz::require(!task.path.empty() && task.path.find('\0') == std::string::npos &&
                      task.path.find('\n') == std::string::npos,
                  "a path is one line");
  }
  for (const job::Slice& slice : job.slices) {
    require_sound(*method, slice.parameters);
    fuzz::require(!slice.sources.empty() && slice.sources.size() <= job.tasks.size(),
                  "a slice has sources, each of a task");
    fuzz::require(slice.layers() > 0, "a slice has a layer");
    for (const job::SliceSource& source : slice.sources) {
      require_sound(*method, source.parameters);
      fuzz::require(source.last_layer - source.first_layer == slice.layers(),
                    "sources of a slice are of one length");
    }
    fuzz::require(slice.base.name.empty() == job.base_name.empty(),
                  "slices have a base if the job has one");
  }
  for (const auto& [hint, value] : job.output_hints.mpi_io)
    fuzz::require(!hint.empty() && hint.size() <= 35 && value.size() <= 255, "a hint fits MPI");
}

bool same(const Parameters& a, const Parameters& b) {
  const auto same_case = [](const method::Setting::Case& x, const method::Setting::Case& y) {
    return x.filter == y.filter && x.values == y.values;
  };
  return std::ranges::equal(a, b, [&](const auto& x, const auto& y) {
    return x.first == y.first && std::ranges::equal(x.second.cases, y.second.cases, same_case);
  });
}

bool same(const job::SliceSource& a, const job::SliceSource& b) {
  return a.path == b.path && a.first_layer == b.first_layer && a.last_layer == b.last_layer &&
         same(a.parameters, b.parameters);
}

bool same(const job::Slice& a, const job::Slice& b) {
  const auto same_source = [](const auto& x, const auto& y) { return same(x, y); };
  return same(a.base, b.base) && std::ranges::equal(a.sources, b.sources, same_source) &&
         same(a.parameters, b.parameters);
}

bool same(const method::Rules& a, const method::Rules& b) {
  return a.trim_scope == b.trim_scope && a.elect == b.elect && a.sign_tie == b.sign_tie &&
         a.aggregate == b.aggregate && a.compat == b.compat && a.rescale == b.rescale &&
         a.seed == b.seed;
}

bool same(const job::Job& a, const job::Job& b) {
  const auto same_task = [](const job::Task& x, const job::Task& y) {
    return x.name == y.name && x.path == y.path && same(x.parameters, y.parameters) &&
           x.side_file == y.side_file;
  };
  return a.method == b.method && a.base_path == b.base_path && same(a.parameters, b.parameters) &&
         same(a.rules, b.rules) && a.signs_path == b.signs_path &&
         std::ranges::equal(a.slices, b.slices,
                            [](const auto& x, const auto& y) { return same(x, y); }) &&
         a.missing == b.missing && a.include == b.include && a.exclude == b.exclude &&
         std::equal(a.tasks.begin(), a.tasks.end(), b.tasks.begin(), b.tasks.end(), same_task) &&
         a.nan == b.nan && a.out_dtype == b.out_dtype && a.outputs == b.outputs &&
         a.output_hints.alignment == b.output_hints.alignment &&
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
  fuzz::may_refuse({base::ErrorKind::job, base::ErrorKind::usage}, kMostLines, [&] {
    const job::Sweep sweep = job::parse_sweep(yaml, "directory/job.yaml", overrides);
    if (!sweep.is_sweep()) return;
    const job::Job& last = sweep.points.back();
    const job::Job again = job::parse_job(last.text, "directory/job.yaml", {});
    fuzz::require(same(last, again), "the text of a point is a job that makes it");
    fuzz::require(sweep.label(sweep.points.size() - 1).find('/') == std::string::npos,
                  "names of values stay in their directory");
  });
  return 0;
}
