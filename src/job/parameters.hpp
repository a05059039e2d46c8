#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mpimerge/method/method.hpp"
#include "mpimerge/method/rules.hpp"
#include "mpimerge/method/setting.hpp"

#include "job/section.hpp"

namespace mpimerge::job {

/// Values of parameters by name.
using Parameters = std::map<std::string, method::Setting>;

/// Local. What a parameter is where the job does not say; nothing: the job has to.
std::optional<double> fallback(const method::Parameter& parameter, method::Compat compat);

/// What more than one model shares, the nearest first: parameters of the slice, of the job.
using Shared = std::vector<const Parameters*>;

/// Local. Reads the `parameters` of the job or of a slice: numbers of the whole merge, and of models
/// where they are meant for all of them.
Parameters read_merge_parameters(Section& owner, const method::Description& method,
                                 const method::Rules& rules);

/// Local. Every parameter of the merge that has no fallback must be in one of `given`; what is
/// missing is a fault of `owner`.
void require_merge_parameters(const Section& owner, const method::Description& method,
                              const method::Rules& rules, const Shared& given);

/// Local. Reads the `parameters` of one model. Every parameter of models that has no fallback must
/// be there or in `shared`.
Parameters read_model_parameters(Section& model, const method::Description& method,
                                 const method::Rules& rules, const Shared& shared);

}  // namespace mpimerge::job
