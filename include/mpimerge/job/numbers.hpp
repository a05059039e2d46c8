#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "mpimerge/job/job.hpp"
#include "mpimerge/method/method.hpp"

namespace mpimerge::job {

/// The values of a method's parameters for one tensor, in the order of Description::parameters.
struct Numbers {
  std::vector<double> of_merge;   ///< [parameters]; of parameters of models: 0
  std::vector<double> of_models;  ///< [parameters × models of the job]; of others: 0
};

/// Local. What the job says of a tensor: a model's own parameters come before those of the merge,
/// those before the method's fallback. Where the job has slices, filters of numbers of models see
/// the tensor's name in the model, those of numbers of the merge its name in the output.
/// @param tensor  its name in the output
/// @param depth   of the tensor's layer, from 0 to 1 (`depths`)
Numbers numbers(const Job& job, const method::Description& method, std::string_view tensor,
                double depth);

/// Local. The depth of each tensor's layer: 0 for those of the first layer and those that belong to
/// none, 1 for those of the last, or only one. A layer's number is the first part of a name that is
/// all digits; what stands before it tells one row of layers from another.
std::vector<double> depths(const std::vector<std::string_view>& tensors);

/// Local. The same of the output of a job: where it has slices, each is a row of layers of its own.
std::vector<double> depths(const Job& job, const std::vector<std::string_view>& tensors);

/// Local. A number that is the same for all tensors, of the merge or of one of its models
/// (`task` < job.tasks.size()). Nothing if it depends on the tensor.
std::optional<double> constant(const Job& job, std::string_view parameter,
                               std::size_t task = static_cast<std::size_t>(-1));

}  // namespace mpimerge::job
