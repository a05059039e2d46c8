#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "mpimerge/base/index.hpp"
#include "mpimerge/job/job.hpp"
#include "mpimerge/merge/merge.hpp"
#include "mpimerge/output/hdf5_writer.hpp"
#include "mpimerge/plan/plan.hpp"
#include "mpimerge/plan/read_plan.hpp"

#include "app/phases.hpp"

namespace mpimerge::app {

/// What the memory for data holds, over all ranks.
struct MemoryUse {
  base::Bytes budget;  ///< per rank
  plan::Traffic all;   ///< keepable and resident bytes and blocks of all ranks
  base::Bytes largest_keepable;
  base::Bytes largest_resident;
  base::Bytes budget_to_stay;  ///< with it, every rank would keep all that it needs twice
};

/// Local. What it means for reading, for the log.
/// @param twice  whether anything is needed twice
std::string describe(const MemoryUse& use, bool twice);

/// All that a finished merge reports.
struct MergeReport {
  const job::Job& job;
  const plan::Plan& plan;
  const merge::Merge& merge;
  const std::vector<Phase>& phases;
  std::vector<output::TransferMode> transfers;  ///< by HDF5 output
  base::Bytes peak_memory;                      ///< of the largest rank
  MemoryUse memory;
  nlohmann::ordered_json provenance;  ///< rank 0 only
};

/// Local. The summary of README, "Output": a stable JSON object.
nlohmann::ordered_json summary_json(const MergeReport& report);

/// Local. The same as text: a key per line, but for the statistics of tensors, which are many.
std::string summary_text(const MergeReport& report);

/// Local. The same for people: what was merged and what the trim and the election did.
std::string summary_table(const MergeReport& report);

}  // namespace mpimerge::app
