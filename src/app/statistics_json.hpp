#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "mpimerge/merge/statistics.hpp"

namespace mpimerge::app {

/// Local. The key `report` of the summary (README, "Statistics"); what is undefined is null.
/// @param level  "basic", "full" or "compare"
/// @param tasks  their names
nlohmann::ordered_json statistics_json(const merge::Statistics& statistics, const char* level,
                                       const std::vector<std::string>& tasks);

}  // namespace mpimerge::app
