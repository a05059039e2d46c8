#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "mpimerge/job/job.hpp"
#include "mpimerge/method/method.hpp"

#include "job/parameters.hpp"
#include "job/paths.hpp"
#include "job/section.hpp"

namespace mpimerge::job {

/// What holds for all slices of a job.
struct SliceContext {
  const method::Description& method;
  const method::Rules& rules;
  const Parameters& parameters;  ///< of the job
  std::optional<Reference> base;
  std::filesystem::path directory;
};

/// Local. Reads mergekit's `slices`: layers of the output, each from as many layers of its sources.
/// The base is one of the sources, or gives the same layers as the first of them.
std::vector<Slice> read_slices(const Value& value, const SliceContext& context);

/// Local. The tasks that slices stand for: as many as the slice with most sources has, each named
/// after all models that its layers come from.
std::vector<Task> tasks_of(const std::vector<Slice>& slices);

}  // namespace mpimerge::job
