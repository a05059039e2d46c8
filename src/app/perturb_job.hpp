#pragma once

#include <string>

namespace mpimerge::app {

/// What `mpimerge perturb` is asked for.
struct Perturbation {
  std::string model;
  std::string base;
  double density = 0.2;  ///< share of the largest values of the task vector
  bool bottom = false;   ///< all but these are meant
  bool drop = false;     ///< values become 0; else they take the other sign
  double probability = 0;
  std::string seed = "0";
};

/// Local. Takes a share of a task vector's values: `20%` or `0.2`.
/// @return in per cent, above 0 and at most 100
/// Errors: std::invalid_argument, with what was expected.
double parse_share(const std::string& text);

/// Local. Makes the K % smallest values those that are meant: all but the 100 − K % largest, or, if
/// K is 100, all.
void choose_bottom(double percent, Perturbation& wanted);

/// Local. The job, as YAML, that does it: a merge of one model by the method `perturb`.
std::string perturb_job(const Perturbation& wanted);

}  // namespace mpimerge::app
