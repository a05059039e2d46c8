#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "mpimerge/base/index.hpp"
#include "mpimerge/job/job.hpp"
#include "mpimerge/merge/ties.hpp"
#include "mpimerge/output/hdf5_writer.hpp"
#include "mpimerge/plan/plan.hpp"

#include "app/phases.hpp"

namespace mpimerge::app {

/// All that a finished merge reports.
struct MergeReport {
  const job::Job& job;
  const plan::Plan& plan;
  const merge::TiesMerge& ties;
  const std::vector<Phase>& phases;
  std::vector<output::TransferMode> transfers;  ///< by output
  base::Bytes peak_memory;                      ///< of the largest rank
  bool resident = true;                         ///< every rank kept its whole shard in memory
};

/// Local. The summary of README, "Summary": a stable JSON object.
nlohmann::ordered_json summary_json(const MergeReport& report);

/// Local. The same for people: what was merged and what the trim and the election did.
std::string summary_table(const MergeReport& report);

}  // namespace mpimerge::app
