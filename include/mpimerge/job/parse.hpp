#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "mpimerge/job/job.hpp"

namespace mpimerge::job {

/// Local. Reads and validates a job file.
///
/// @param file       the YAML file; model and output paths in it are relative to its directory
/// @param overrides  `KEY=VALUE` texts of `--set`, applied in order before validation. KEY is a
///                   path such as `parameters.density` or `models.0.parameters.weight`; VALUE is
///                   YAML.
/// @return the job; its `text` is the file's, or with overrides the YAML that results from them
/// Errors: Error{job} with every fault of the job, one line each, sorted by line:
/// "FILE:LINE: key: found; expected; remedy", after them those of overrides: "--set KEY: ...". Of
/// more than 100 the rest is counted.
/// Error{job} if the file cannot be read, is larger than 16 MiB, is not UTF-8, not one YAML
/// document, or beyond measure (64 levels, 100,000 values). Error{usage} for an override that is
/// not KEY=VALUE or whose VALUE is not YAML.
Job parse_job_file(const std::filesystem::path& file, const std::vector<std::string>& overrides);

/// Local. The same for YAML text that is already in memory.
Job parse_job(std::string_view yaml, const std::filesystem::path& file,
              const std::vector<std::string>& overrides);

/// Local. The words of a command, which stand between blanks.
std::vector<std::string> words_of(std::string_view command);

}  // namespace mpimerge::job
