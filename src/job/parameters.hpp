#pragma once

#include <map>
#include <optional>
#include <string>

#include "mpimerge/method/method.hpp"
#include "mpimerge/method/rules.hpp"
#include "mpimerge/method/setting.hpp"

#include "job/section.hpp"

namespace mpimerge::job {

/// Values of parameters by name.
using Parameters = std::map<std::string, method::Setting>;

/// Local. What a parameter is where the job does not say; nothing: the job has to.
std::optional<double> fallback(const method::Parameter& parameter, method::Compat compat);

/// Local. Reads the job's own `parameters`: numbers of the whole merge, and of models where they
/// are meant for all of them. Every parameter of the merge that has no fallback must be there.
Parameters read_merge_parameters(Section& root, const method::Description& method,
                                 const method::Rules& rules);

/// Local. Reads the `parameters` of one model. Every parameter of models that has no fallback must
/// be there or in `of_merge`.
Parameters read_model_parameters(Section& model, const method::Description& method,
                                 const method::Rules& rules, const Parameters& of_merge);

}  // namespace mpimerge::job
