#pragma once

#include <filesystem>
#include <vector>

#include "mpimerge/job/job.hpp"

#include "job/section.hpp"

namespace mpimerge::job {

/// Local. Reads `checkpoints: {pattern, weights}`, the checkpoints of one training run, which stands
/// for a list of models: every entry of the directory that fits the pattern, in the order of the
/// numbers in their names. A weight goes to each as a parameter of its own.
///
///     uniform           none: each counts alike
///     [0.2, 0.3, ...]   these
///     {ema: 0.99}       an exponential moving average that begins with the first
///     linear, cosine, minus-sqrt
///                       as if the learning rate had decayed along that curve from the first
///                       checkpoint on
///
/// Source: WSM, Tian et al. 2025: w_i is the share of step i's update that is left, c_i the weight
/// of checkpoint i, and w_i = c_i + c_(i+1) + ...
std::vector<Task> read_checkpoints(const Value& value, const std::filesystem::path& directory);

}  // namespace mpimerge::job
