#pragma once

#include "mpimerge/job/job.hpp"

#include "job/section.hpp"

namespace mpimerge::job {

/// What may be given once for all models and again for one of them.
struct Setting {
  double density = 0.2;
  double weight = 1.0;
};

/// Local. Reads the job's own `parameters` (density, lambda, weight): `lambda` into the job, the
/// rest is the setting of every model without one of its own.
Setting read_global_parameters(Section& root, Job& job);

/// Local. Reads the `parameters` of one model (density, weight) over those of the job.
Setting read_own_parameters(Section& model, const Setting& global);

}  // namespace mpimerge::job
