// Another project's program: one call into a room without MPI, one into a room that needs MPI and
// HDF5.
#include <iostream>

#include "mpimerge/job/numbers.hpp"
#include "mpimerge/job/parse.hpp"
#include "mpimerge/output/hdf5_catalog.hpp"

int main() {
  const auto job = mpimerge::job::parse_job(
      "merge_method: ties\n"
      "base_model: base\n"
      "models:\n"
      "  - model: math\n"
      "  - model: code\n",
      "job.yaml", {});
  std::cout << job.tasks.size() << " tasks, density "
            << mpimerge::job::constant(job, "density", 0).value_or(0) << '\n';
  return job.tasks.size() == 2 && !mpimerge::output::is_hdf5("/dev/null") ? 0 : 1;
}
