#pragma once

#include <string>

#include <spdlog/logger.h>

namespace mpimerge::base {

/// What of the log a user wants to see.
enum class Verbosity { quiet, normal, verbose };

/// Local. The program's logger; it writes to stderr. Before `start_log` it shows warnings only.
spdlog::logger& log();

/// Local. Rank 0 logs from info on (`quiet`: warn, `verbose`: debug), the others from warn on with
/// "[rank/ranks]" before the text.
void start_log(int rank, int ranks, Verbosity verbosity);

/// Local. From now on everything that this rank says, details included, also goes to a file of its
/// own in `directory`, "rank-0012.log".
/// Errors: Error{output}; also if something else than a regular file has the name.
void add_log_file(const std::string& directory, int rank, int ranks);

}  // namespace mpimerge::base
