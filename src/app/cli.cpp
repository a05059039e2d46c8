#include "app/cli.hpp"

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/text.hpp"

#include "app/perturb_job.hpp"

namespace mpimerge::app {
namespace {

constexpr const char* kDefaultChunk = "8MiB";
constexpr const char* kDefaultShardSize = "5GB";
constexpr base::Bytes kLargestChunk{std::uint64_t{1} << 30};  // what HDF5 writes at once

const CLI::Validator kSize(
    [](std::string& text) -> std::string {
      try {
        base::parse_bytes(text);
        return {};
      } catch (const std::invalid_argument& error) {
        return error.what();
      }
    },
    "SIZE");

// "200GB/s": a size per second.
base::Bytes parse_rate(const std::string& text) {
  const auto slash = text.rfind("/s");
  if (slash != std::string::npos && slash + 2 == text.size()) {
    try {
      return base::parse_bytes(text.substr(0, slash));
    } catch (const std::invalid_argument&) {
      // Its message speaks of sizes.
    }
  }
  throw std::invalid_argument(fmt::format(
      "`{}` is not a bandwidth; expected a number and a unit, such as 200GB/s or 1.5TiB/s",
      base::printable(text)));
}

const CLI::Validator kRate(
    [](std::string& text) -> std::string {
      try {
        parse_rate(text);
        return {};
      } catch (const std::invalid_argument& error) {
        return error.what();
      }
    },
    "RATE");

// A whole number in digits: CLI11 alone would take -1 for a large one.
const CLI::Validator kCount(
    [](std::string& text) -> std::string {
      const bool digits = !text.empty() && text.size() <= 7 &&
                          text.find_first_not_of("0123456789") == std::string::npos;
      if (digits && std::stoul(text) >= 1 && std::stoul(text) <= kMostRanks) return {};
      return fmt::format("`{}` is not a number of ranks; expected 1 to {}", base::printable(text),
                         kMostRanks);
    },
    "N");

const CLI::Validator kShare(
    [](std::string& text) -> std::string {
      try {
        parse_share(text);
        return {};
      } catch (const std::invalid_argument& error) {
        return error.what();
      }
    },
    "K%");

// Digits: CLI11 alone would take -1 for a large number. How large it may be, the job's reader knows.
const CLI::Validator kSeed(
    [](std::string& text) -> std::string {
      const bool digits =
          !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
      return digits ? std::string()
                    : fmt::format("`{}` is not a seed; expected a whole number",
                                  base::printable(text));
    },
    "S");

// The same command with --resume, for a shell.
std::string command_to_resume(int argc, const char* const* argv) {
  std::string text;
  bool resumes = false;
  for (int word = 0; word < argc; ++word) {
    const std::string_view argument = argv[word];
    resumes = resumes || argument == "--resume";
    if (word > 0) text += ' ';
    const bool plain =
        !argument.empty() && argument.find_first_not_of(
                                 "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVW"
                                 "XYZ0123456789%+,-./:=@_") == std::string_view::npos;
    if (plain) {
      text += argument;
      continue;
    }
    text += '\'';
    for (const char character : argument)
      text += character == '\'' ? std::string("'\\''") : std::string(1, character);
    text += '\'';
  }
  return resumes ? text : text + " --resume";
}

}  // namespace

Command parse_command_line(int argc, const char* const* argv) {
  CLI::App app{"Merges fine-tuned models across MPI ranks, by TIES-Merging and other methods."};
  app.name("mpimerge");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("mpimerge ") + MPIMERGE_VERSION);
  app.footer(
      "Exit codes: 0 done, 1 diff found a difference, 2 usage, 3 job file, 4 input, 5 output,\n"
      "6 memory or disk space, 75 stopped early (--resume goes on), 70 a bug or MPI itself.");

  bool quiet = false;
  bool verbose = false;
  const auto add_verbosity = [&](CLI::App& command) {
    auto* quiet_flag = command.add_flag("-q,--quiet", quiet, "Only warnings and errors");
    command.add_flag("-v,--verbose", verbose, "Also details for finding faults")
        ->excludes(quiet_flag);
  };

  MergeOptions merge;
  std::string memory;
  std::string chunk = kDefaultChunk;
  CLI::App& merge_command = *app.add_subcommand("merge", "Run the merge that a job file describes");
  const auto add_work = [&](CLI::App& command) {
    command
        .add_option("--memory", memory,
                    "What a rank may use for data (default: 70 % of the node's, shared)")
        ->check(kSize);
    command.add_option("--chunk", chunk, "Output per rank and round of writing")
        ->check(kSize)
        ->capture_default_str();
    command
        .add_option("--set", merge.overrides,
                    "Replace a key of the job: parameters.density=0.3; may be repeated")
        ->type_name("KEY=VALUE")
        ->expected(1)
        ->take_all();
  };
  const auto add_job = [&](CLI::App& command) {
    command.add_option("JOB", merge.job, "Job file (YAML)")->required();
    add_work(command);
  };
  std::string shard_size = kDefaultShardSize;
  const auto add_shard_size = [&](CLI::App& command) {
    command.add_option("--shard-size", shard_size, "What a file of a directory holds at most")
        ->check(kSize)
        ->capture_default_str();
  };
  const auto add_watchdog = [](CLI::App& command, double& seconds) {
    command
        .add_option("--watchdog", seconds,
                    "Seconds without progress after which a rank ends the job; 0: never")
        ->type_name("SECONDS")
        ->default_val(1800)
        ->check(CLI::Range(0.0, 1e6));
  };
  std::string log_directory;
  const auto add_run = [&](CLI::App& command) {
    command.add_option("--summary", merge.summary, "Write what was done as JSON")
        ->type_name("FILE");
    add_shard_size(command);
    command.add_flag("--overwrite", merge.overwrite,
                     "Replace an output that exists; begin anew where a run was stopped");
    command.add_flag("--resume", merge.resume,
                     "Go on where an earlier run was stopped; begin if there was none");
    command
        .add_option("--journal", merge.journal,
                    "What --resume needs of a run (default: OUTPUT.journal, of the first output)")
        ->type_name("FILE");
    command
        .add_option("--checkpoint-interval", merge.checkpoint_interval,
                    "Seconds between two entries of the journal: the most that a crash costs")
        ->type_name("SECONDS")
        ->default_val(60)
        ->check(CLI::Range(0.0, 1e6));
    add_watchdog(command, merge.watchdog);
    command
        .add_option("--log-dir", log_directory, "Also write the log of every rank, in a file each")
        ->type_name("DIR");
    add_verbosity(command);
  };
  add_job(merge_command);
  merge_command
      .add_option("--output", merge.outputs,
                  "Write here instead of where the job says: an HDF5 file if the name ends in .h5 "
                  "or .hdf5, "
                  "else a directory of safetensors; may be repeated")
      ->type_name("PATH")
      ->expected(1)
      ->take_all();
  add_run(merge_command);

  Perturbation perturbation;
  std::string top;
  std::string bottom;
  bool flip = false;  // what happens anyway
  CLI::App& perturb_command = *app.add_subcommand(
      "perturb", "Flip signs of a model's task vector, or drop values of it, at random");
  perturb_command.add_option("MODEL", perturbation.model, "Fine-tuned model")->required();
  perturb_command.add_option("--base", perturbation.base, "The model that it was fine-tuned from")
      ->type_name("PATH")
      ->required();
  perturb_command
      .add_option(
          "--output", merge.outputs,
          "HDF5 file if the name ends in .h5 or .hdf5, else a directory of safetensors; may "
          "be repeated")
      ->type_name("PATH")
      ->expected(1)
      ->take_all()
      ->required();
  auto* top_option =
      perturb_command
          .add_option("--top", top, "Of the K% values of largest magnitude (default: 20%)")
          ->check(kShare);
  const auto* bottom_option =
      perturb_command.add_option("--bottom", bottom, "Of the K% values of smallest magnitude")
          ->check(kShare)
          ->excludes(top_option);
  auto* flip_flag =
      perturb_command.add_flag("--flip", flip, "Values take the other sign (default)");
  perturb_command.add_flag("--drop", perturbation.drop, "Values become 0")->excludes(flip_flag);
  perturb_command
      .add_option("--probability", perturbation.probability, "With which each of them is hit")
      ->type_name("P")
      ->check(CLI::Range(0.0, 1.0))
      ->required();
  perturb_command.add_option("--seed", perturbation.seed, "Of the random choice")
      ->check(kSeed)
      ->capture_default_str();
  add_work(perturb_command);
  add_run(perturb_command);

  PlanOptions plan;
  std::uint64_t plan_ranks_per_node = 0;
  std::string bandwidth;
  CLI::App& plan_command = *app.add_subcommand(
      "plan", "Predict memory, bytes and passes of a merge; opens headers only, runs as one rank");
  add_job(plan_command);
  plan_command.add_option("--ranks", plan.ranks, "Of the merge that is planned")
      ->required()
      ->check(kCount);
  const auto* ranks_per_node =
      plan_command.add_option("--ranks-per-node", plan_ranks_per_node, "Adds figures for a node")
          ->check(kCount);
  plan_command
      .add_option("--bandwidth", bandwidth, "Of the file system, such as 200GB/s: adds a time")
      ->check(kRate);
  plan_command.add_flag("--json", plan.json, "JSON instead of a table");
  add_verbosity(plan_command);

  InspectOptions inspect;
  CLI::App& inspect_command =
      *app.add_subcommand("inspect", "Show a checkpoint's tensors, and what is odd about them");
  inspect_command
      .add_option("PATH", inspect.path,
                  "Checkpoint: .safetensors, .bin, .pt or .pth, a directory of them, or .h5 of "
                  "mpimerge")
      ->required();
  inspect_command.add_flag("--json", inspect.json, "JSON instead of a table");
  add_verbosity(inspect_command);

  VerifyOptions verify;
  CLI::App& verify_command = *app.add_subcommand(
      "verify", "Prove that an output is as it was written, by the checksums in it");
  verify_command.add_option("PATH", verify.path, "HDF5 file or directory of mpimerge")->required();
  add_watchdog(verify_command, verify.watchdog);
  add_verbosity(verify_command);

  DiffOptions diff;
  CLI::App& diff_command =
      *app.add_subcommand("diff", "Compare two checkpoints: exit 0 same, 1 different");
  diff_command.add_option("A", diff.a, "Checkpoint")->required();
  diff_command.add_option("B", diff.b, "Checkpoint")->required();
  const auto* rtol =
      diff_command.add_option("--rtol", diff.rtol, "Same if |a - b| <= atol + rtol |b|")
          ->check(CLI::NonNegativeNumber);
  const auto* atol =
      diff_command.add_option("--atol", diff.atol, "See --rtol; without both, bits must be equal")
          ->check(CLI::NonNegativeNumber);
  add_watchdog(diff_command, diff.watchdog);
  add_verbosity(diff_command);

  CompareOptions compare;
  CLI::App& compare_command = *app.add_subcommand(
      "compare", "Norms, cosines and sign agreement of models' task vectors, without merging");
  compare_command.add_option("MODELS", compare.models, "Checkpoints, fine-tuned from the base")
      ->required();
  compare_command.add_option("--base", compare.base, "Checkpoint that all were fine-tuned from")
      ->type_name("PATH")
      ->required();
  compare_command.add_option("--json", compare.json, "Also write all numbers, tensor by tensor")
      ->type_name("FILE");
  add_watchdog(compare_command, compare.watchdog);
  add_verbosity(compare_command);

  ConvertOptions convert;
  CLI::App& convert_command =
      *app.add_subcommand("convert", "Copy a checkpoint into the other format, bit by bit");
  convert_command.add_option("IN", convert.input, "Checkpoint")->required();
  convert_command
      .add_option("OUT", convert.output,
                  "A name that ends in .h5 or .hdf5: an HDF5 file; any other: a directory of "
                  "safetensors")
      ->required();
  add_shard_size(convert_command);
  convert_command.add_flag("--overwrite", convert.overwrite, "Replace an output that exists");
  add_watchdog(convert_command, convert.watchdog);
  add_verbosity(convert_command);

  ReportOptions report;
  CLI::App& report_command = *app.add_subcommand(
      "report", "Make a page (HTML) of what a merge did, or of what one would do");
  report_command
      .add_option(
          "PATH", report.path,
          "Output of a merge: an HDF5 file or a directory; the JSON of --summary or of compare; or "
          "a job file (.yaml), which is run for its statistics and writes no model")
      ->required();
  report_command
      .add_option("-o,--output", report.page,
                  "The page, a name that ends in .html; the numbers go to the same name with .json")
      ->type_name("FILE")
      ->required();
  report_command.add_flag("--overwrite", report.overwrite, "Replace a page that exists");
  add_work(report_command);
  add_verbosity(report_command);

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return {.what = Message{app.help()}};  // that of the command, where one was given
  } catch (const CLI::CallForVersion& version) {
    return {.what = Message{std::string(version.what()) + "\n"}};
  } catch (const CLI::ParseError& error) {
    // CLI11 only says that a command is required when it does not know the one that was given.
    const bool unknown_command = app.get_subcommands().empty() && argc > 1 && argv[1][0] != '-';
    if (unknown_command) {
      throw base::Error(base::ErrorKind::usage,
                        fmt::format("{}: no such command; expected merge, perturb, plan, inspect, "
                                    "verify, diff, compare, convert or report; "
                                    "`mpimerge --help` shows more",
                                    base::printable(argv[1])));
    }
    throw base::Error(base::ErrorKind::usage, fmt::format("{}; `mpimerge --help` shows the options",
                                                          base::printable(error.what(), 400)));
  }

  Command command;
  command.verbosity = quiet     ? base::Verbosity::quiet
                      : verbose ? base::Verbosity::verbose
                                : base::Verbosity::normal;
  if (perturb_command.parsed()) {
    if (bottom_option->count() > 0) {
      choose_bottom(parse_share(bottom), perturbation);
    } else if (top_option->count() > 0) {
      perturbation.density = parse_share(top) / 100;
    }
    merge.job = "options of perturb";
    merge.job_text = perturb_job(perturbation);
  }
  if (merge_command.parsed() || perturb_command.parsed() || plan_command.parsed() ||
      report_command.parsed()) {
    if (!memory.empty()) merge.memory = base::parse_bytes(memory);
    merge.chunk = std::min(base::parse_bytes(chunk), kLargestChunk);
    if (plan_command.parsed()) {
      if (ranks_per_node->count() > 0) plan.ranks_per_node = plan_ranks_per_node;
      if (!bandwidth.empty()) plan.bandwidth = parse_rate(bandwidth);
      plan.merge = merge;
      command.what = plan;
    } else if (report_command.parsed()) {
      report.merge = merge;
      command.what = report;
    } else {
      merge.shard_size = base::parse_bytes(shard_size);
      merge.again = command_to_resume(argc, argv);
      command.log_directory = log_directory;
      command.what = merge;
    }
  } else if (inspect_command.parsed()) {
    command.what = inspect;
  } else if (verify_command.parsed()) {
    command.what = verify;
  } else if (compare_command.parsed()) {
    command.what = compare;
  } else if (convert_command.parsed()) {
    convert.shard_size = base::parse_bytes(shard_size);
    command.what = convert;
  } else {
    diff.by_value = rtol->count() + atol->count() > 0;
    command.what = diff;
  }
  return command;
}

}  // namespace mpimerge::app
