#pragma once

#include <cstdint>
#include <vector>

#include "mpimerge/checkpoint/catalog.hpp"
#include "mpimerge/job/job.hpp"

namespace mpimerge::app {

/// Local. The models of a job with slices: the base, if it has one, then one for each task, each made
/// of layers of the checkpoints that the slices name; headers only.
/// Errors: Error{input} as open_checkpoint and plan::stack_layers.
std::vector<checkpoint::Catalog> open_slices(const job::Job& job);

/// Local. The layers of a job's output, each by its number in the model that it comes from: of the
/// base or, without one, of the first task. None without slices.
std::vector<std::uint64_t> layers_of_output(const job::Job& job);

}  // namespace mpimerge::app
