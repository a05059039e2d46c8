#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "mpimerge/base/index.hpp"
#include "mpimerge/base/log.hpp"

namespace mpimerge::app {

/// Ranks of a merge that can be planned: more than any machine has, and so few that a forecast may
/// look at each.
inline constexpr std::uint64_t kMostRanks = 1'000'000;

struct MergeOptions {
  std::string job;                     ///< file, or where `job_text` comes from
  std::string job_text;                ///< YAML; empty: it is read from the file
  std::vector<std::string> outputs;    ///< instead of the job's
  std::vector<std::string> overrides;  ///< KEY=VALUE
  std::string summary;                 ///< file for the JSON; empty: none
  std::optional<base::Bytes> memory;   ///< per rank, for data
  base::Bytes chunk;                   ///< of output per rank and round
  base::Bytes shard_size;              ///< of a directory: what each of its files holds at most
  bool overwrite = false;
  bool resume = false;
  std::string journal;             ///< file; empty: beside the first output
  double checkpoint_interval = 0;  ///< seconds between two journals
  double watchdog = 0;             ///< seconds without progress until a rank ends; 0: never
  std::string again;               ///< the command that goes on with this merge
};

struct PlanOptions {
  MergeOptions merge;       ///< that is planned; its outputs are not made
  std::uint64_t ranks = 0;  ///< of that merge
  std::optional<std::uint64_t> ranks_per_node;
  std::optional<base::Bytes> bandwidth;  ///< of the file system, per second
  bool json = false;
};

struct InspectOptions {
  std::string path;
  bool json = false;
};

struct VerifyOptions {
  std::string path;
  double watchdog = 0;  ///< as in MergeOptions
};

struct DiffOptions {
  std::string a;
  std::string b;
  double rtol = 0;
  double atol = 0;
  bool by_value = false;  ///< a tolerance was given: values are compared, not bits
  double watchdog = 0;    ///< as in MergeOptions
};

struct CompareOptions {
  std::vector<std::string> models;
  std::string base;
  std::string json;     ///< file; empty: none
  double watchdog = 0;  ///< seconds without progress until a rank ends; 0: never
};

struct ConvertOptions {
  std::string input;
  std::string output;
  base::Bytes shard_size;  ///< of a directory: what each of its files holds at most
  bool overwrite = false;
  double watchdog = 0;  ///< as in MergeOptions
};

struct ReportOptions {
  std::string path;  ///< output of a merge, or the job of one that is run for its statistics
  std::string page;  ///< HTML; JSON is put beside it
  bool overwrite = false;
  MergeOptions merge;  ///< how that job is run
};

/// Help or version: the text to print.
struct Message {
  std::string text;
};

struct Command {
  std::variant<Message, MergeOptions, PlanOptions, InspectOptions, VerifyOptions, DiffOptions,
               CompareOptions, ConvertOptions, ReportOptions>
      what;
  base::Verbosity verbosity = base::Verbosity::normal;
  std::string log_directory{};  ///< for one log file per rank; empty: none
};

/// Local; the same on all ranks, which have the same arguments. Reads the command line.
/// Errors: Error{usage}.
Command parse_command_line(int argc, const char* const* argv);

}  // namespace mpimerge::app
