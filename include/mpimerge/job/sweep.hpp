#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "mpimerge/job/job.hpp"

namespace mpimerge::job {

/// What a job file asks for: a merge for every point of the grid that its `sweep` spans, or one.
struct Sweep {
  /// What all points share. `text` is that of the file, `outputs` are without values in their names;
  /// parameters are those of the first point.
  Job job;
  std::vector<std::string> keys;  ///< parameters that vary; none: the job is one merge
  /// [points × keys], as names of files show them; the last key varies first.
  std::vector<std::vector<std::string>> values;
  /// At least one: each as if the job file had said so, its `text` with these values and no `sweep`.
  std::vector<Job> points;

  /// Local.
  [[nodiscard]] bool is_sweep() const noexcept { return !keys.empty(); }

  /// Local. "-density-0.2-lambda-1": what tells an output of this point from the others; empty where
  /// there is only one merge. Letters, digits and `-._+` only.
  [[nodiscard]] std::string label(std::size_t point) const;

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& job& keys& values& points;
  }
};

/// Local. Reads and validates a job file that may have a `sweep`; arguments and errors are those of
/// parse_job_file.
///
/// `sweep` maps parameters of the method to lists of values. A value is a number, for a parameter of
/// the models also a list of one number per model. It takes the place of what the job says of that
/// parameter anywhere else.
Sweep parse_sweep_file(const std::filesystem::path& file,
                       const std::vector<std::string>& overrides);

/// Local. The same for YAML text that is already in memory.
Sweep parse_sweep(std::string_view yaml, const std::filesystem::path& file,
                  const std::vector<std::string>& overrides);

}  // namespace mpimerge::job
