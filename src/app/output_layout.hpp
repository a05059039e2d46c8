#pragma once

#include <cstddef>
#include <vector>

#include "mpimerge/output/hdf5_layout.hpp"
#include "mpimerge/plan/plan.hpp"

namespace mpimerge::app {

/// What an output holds. Groups of the plan without elements have no dataset in it.
struct OutputLayout {
  output::Hdf5Layout layout;
  std::vector<std::size_t> dataset_of;  ///< by group; only for groups with elements
};

/// Local. The datasets and tensors of a plan's output, the tensors in the base's storage order.
/// Metadata, job and hints are the caller's to add.
/// Cost: O(n log n) in the number of tensors.
OutputLayout lay_out_output(const plan::Plan& plan);

}  // namespace mpimerge::app
