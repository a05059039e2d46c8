#pragma once

#include <filesystem>

#include "mpimerge/job/job.hpp"

#include "job/faults.hpp"
#include "job/tree.hpp"

namespace mpimerge::job {

/// Local. The meaning of a job's keys: fills all of a Job but `file` and `text`. What is wrong goes
/// to `faults`; the result is of use only if there are none.
///
/// @param root       a map
/// @param directory  of the job file: relative paths start here
Job read_job(const Node& root, const std::filesystem::path& directory, Faults& faults);

}  // namespace mpimerge::job
