#pragma once

#include <string>

#include "mpimerge/report/document.hpp"

#include "report/groups.hpp"

namespace mpimerge::report {

// All local: tables in HTML, with the numbers that there are.

/// Task by task: its settings and its task vector.
std::string task_table(const Document& document);

/// Kind by kind, over all layers.
std::string kind_table(const Groups& groups);

/// Layer by layer, over all kinds.
std::string layer_table(const Groups& groups);

/// Tensor by tensor, 10,000 at most.
std::string tensor_table(const Report& report);

}  // namespace mpimerge::report
