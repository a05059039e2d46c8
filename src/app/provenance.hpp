#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "mpimerge/comm/comm.hpp"
#include "mpimerge/output/journal.hpp"

#include "app/work.hpp"

namespace mpimerge::app {

/// Local. Now, as "2026-11-24T16:00:00Z".
std::string utc_now();

/// Local. "2026-11-24T16:00:00Z" of nanoseconds since 1970.
std::string utc_time(std::int64_t nanoseconds);

/// Local. What the files of all checkpoints are at this moment, in the order of the job.
/// Errors: Error{input}.
std::vector<output::InputFile> fingerprints(const Models& models);

/// Collective over `comm`. This start of the program: when, on how many ranks, and, on rank 0, on
/// which hosts.
output::Run this_run(const comm::Comm& comm);

/// Local. Where a result comes from: program, inputs, and every run that worked on it.
nlohmann::ordered_json provenance_json(const output::Journal& journal);

/// Local. Whether a result's summary (JSON text) tells that the merge of this journal made it, in one
/// of its runs or in one that went on from it.
bool made_by_this_merge(const std::string& summary, const output::Journal& journal);

}  // namespace mpimerge::app
