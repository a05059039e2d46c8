#include "mpimerge/merge/merge.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <xxhash.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/log.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/base/timer.hpp"
#include "mpimerge/checkpoint/adapter.hpp"
#include "mpimerge/comm/abort.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/comm/error.hpp"
#include "mpimerge/comm/object.hpp"
#include "mpimerge/comm/patient_barrier.hpp"
#include "mpimerge/job/parse.hpp"
#include "mpimerge/job/sweep.hpp"
#include "mpimerge/merge/block_store.hpp"
#include "mpimerge/output/hdf5_writer.hpp"
#include "mpimerge/output/journal.hpp"
#include "mpimerge/output/model_files.hpp"
#include "mpimerge/output/safetensors_writer.hpp"
#include "mpimerge/plan/read_plan.hpp"
#include "mpimerge/plan/ties.hpp"

#include "app/commands/commands.hpp"
#include "app/memory.hpp"
#include "app/merge_rounds.hpp"
#include "app/model_card.hpp"
#include "app/output_layout.hpp"
#include "app/output_names.hpp"
#include "app/output_writer.hpp"
#include "app/phases.hpp"
#include "app/progress.hpp"
#include "app/provenance.hpp"
#include "app/recovery.hpp"
#include "app/score.hpp"
#include "app/slices.hpp"
#include "app/standard_streams.hpp"
#include "app/stop.hpp"
#include "app/summary.hpp"
#include "app/summary_file.hpp"
#include "app/watchdog.hpp"
#include "app/work.hpp"

namespace mpimerge::app {
namespace {

// One text per place in the file system; nothing where that cannot be told.
std::optional<std::filesystem::path> place_of(const std::filesystem::path& file) {
  std::error_code failed;
  // Of a relative name that does not exist yet, weakly_canonical alone would stay relative.
  const std::filesystem::path absolute = std::filesystem::absolute(file, failed);
  if (failed) return std::nullopt;
  const std::filesystem::path place = std::filesystem::weakly_canonical(absolute, failed);
  if (failed) return std::nullopt;
  return place;
}

// The job's outputs, or those of the command line, which are relative to the working directory.
std::vector<std::string> choose_outputs(const job::Job& job, const MergeOptions& options) {
  std::vector<std::string> outputs = options.outputs.empty() ? job.outputs : options.outputs;
  const auto kind = options.outputs.empty() ? base::ErrorKind::job : base::ErrorKind::usage;
  std::set<std::filesystem::path> names;
  for (std::string& output : outputs) {
    output = without_last_slashes(output);
    // A name that cannot be looked up is reported where the output is made.
    const auto name = place_of(output);
    if (!name || names.insert(*name).second) continue;
    throw base::Error(kind, fmt::format("output {}: is named twice; expected different ones",
                                        base::printable(output)));
  }
  for (std::filesystem::path name : names) {
    while (name.has_relative_path()) {
      name = name.parent_path();
      if (!names.contains(name)) continue;
      throw base::Error(kind,
                        fmt::format("output {}: another output would lie in it; expected outputs "
                                    "beside each other",
                                    base::printable(name.string())));
    }
  }
  if (outputs.empty() && !job.writes_nothing) {
    throw base::Error(base::ErrorKind::job,
                      fmt::format("{}: output: is missing; expected the name of an .h5 file or of "
                                  "a directory, here or with --output, or none",
                                  job.file));
  }
  return outputs;
}

// Of each output also NAME.partial, which is removed before the work.
void refuse_output_over_input(const std::vector<std::string>& outputs, const plan::Plan& plan) {
  for (const std::string& output : outputs) {
    for (const std::string& name : {output, output + ".partial"}) {
      for (const plan::Source& source : plan.sources) {
        for (const std::string& file : source.files) {
          if (!takes_place_of(name, file)) continue;
          throw base::Error(base::ErrorKind::output,
                            fmt::format("{}: is an input of this merge, or holds one; expected "
                                        "another name for the output",
                                        name));
        }
      }
    }
  }
}

// Summary and journal take the place of what has their name: of nothing that the merge needs or
// makes. `file` may be empty: there is none.
void refuse_over_others(const std::filesystem::path& file, const char* option, const Work& work) {
  if (file.empty()) return;
  std::vector<std::string> others{work.job.file};
  for (const std::string& output : work.job.outputs) {
    others.push_back(output);
    others.push_back(output + ".partial");
  }
  for (const plan::Source& source : work.plan.sources)
    others.insert(others.end(), source.files.begin(), source.files.end());
  for (const std::string& other : others) {
    const auto place = place_of(file);
    if (!place || place != place_of(other)) continue;
    throw base::Error(
        base::ErrorKind::output,
        fmt::format("{}: is the job, an input or an output of this merge; expected a file of its "
                    "own for {}",
                    base::printable_path(file), option));
  }
}

// Whether every output has its name, from a run of this very job.
bool all_finished(const std::vector<job::Job>& points) {
  return std::ranges::all_of(points, [](const job::Job& job) {
    return std::ranges::all_of(job.outputs, [&](const std::string& output) {
      std::error_code ignored;
      return !std::filesystem::exists(output + ".partial", ignored) &&
             (is_hdf5_name(output) ? output::is_finished(output, job.text)
                                   : output::is_finished_directory(output, job.text));
    });
  });
}

// Gives every point its outputs.
void name_outputs(Work& work) {
  work.job.outputs.clear();
  for (std::size_t point = 0; point < work.sweep.points.size(); ++point) {
    std::vector<std::string>& outputs = work.sweep.points[point].outputs;
    outputs.clear();
    for (const std::string& output : work.sweep.job.outputs)
      outputs.push_back(with_label(output, work.sweep.label(point)));
    work.job.outputs.insert(work.job.outputs.end(), outputs.begin(), outputs.end());
  }
}

// Takes the command line's command for the job's.
void choose_score(job::Job& job, const MergeOptions& options) {
  if (!options.score.empty()) job.score = job::words_of(options.score);
  if (options.keep_best && job.score.empty()) {
    throw base::Error(
        base::ErrorKind::usage,
        "--keep-best: nothing says which is the best; expected --score, or `score` in "
        "the job");
  }
  if (!job.score.empty() && job.outputs.empty()) {
    throw base::Error(
        base::ErrorKind::usage,
        "--score: there is nothing to score with `output: none`; expected one of them");
  }
}

Work prepare(const MergeOptions& options, std::uint64_t ranks) {
  if (!options.summary.empty()) check_summary_file(options.summary);
  Work work;
  work.sweep = options.job_text.empty()
                   ? job::parse_sweep_file(options.job, options.overrides)
                   : job::parse_sweep(options.job_text, options.job, options.overrides);
  work.sweep.job.outputs = choose_outputs(work.sweep.job, options);
  work.job = work.sweep.job;
  name_outputs(work);
  choose_score(work.job, options);
  warn_of_other_rules(work.job);
  const Models models = open_models(work.job);
  work.plan = plan_merge(work.job, models, ranks, chunk_of(options, work.sweep));
  for (const job::Job& point : work.sweep.points) check_weights(point, work.plan);
  work.metadata = models.front().metadata;
  work.unties_head = plan::unties_head(models.front(), work.plan);
  work.adapter_config = config_of_output(work.job);
  refuse_output_over_input(work.job.outputs, work.plan);
  const std::filesystem::path journal_file = journal_path(options, work.sweep.job.outputs);
  refuse_over_others(journal_file, "--journal", work);
  if (!options.summary.empty()) {
    refuse_over_others(options.summary, "--summary", work);
    if (!journal_file.empty() && place_of(options.summary) == place_of(journal_file)) {
      throw base::Error(base::ErrorKind::output,
                        fmt::format("{}: is the journal of this merge; expected a file of its own "
                                    "for --summary",
                                    base::printable_path(options.summary)));
    }
  }
  output::Journal journal;
  journal.program = MPIMERGE_VERSION;
  journal.job = work.job.text;
  journal.inputs = fingerprints(models);
  const auto earlier = earlier_run(options, journal_file, journal);
  work.finished = earlier && all_finished(work.sweep.points);
  work.journal = output::encode(earlier ? *earlier : journal);
  return work;
}

constexpr int kStoppedEarly = 75;

const char* name_of_signal(int signal) {
  switch (signal) {
    case SIGTERM: return "SIGTERM";
    case SIGUSR1: return "SIGUSR1";
    case SIGINT: return "SIGINT";
    default: return "a signal to another rank";
  }
}

// Collective. Asks the user's command what each point is worth; rank 0 gets the answers.
// @return whether all were asked: no signal came to stop
bool score_points(const comm::Comm& comm, const Work& work, Watchdog& watchdog,
                  std::vector<Score>& scores) {
  if (work.job.score.empty()) return true;
  const auto waiting = [&] { watchdog.feed("score"); };
  if (comm.is_root()) {
    for (const job::Job& point : work.sweep.points) {
      if (stop_signal() != 0) break;
      const std::string& output = point.outputs.front();
      scores.push_back(score_of(work.job.score, output, waiting));
      if (!scores.back().value && stop_signal() == 0) {
        base::log().warn("{}: has no score: {} {}", output, work.job.score.front(),
                         scores.back().why_not);
      }
    }
  }
  comm::patient_barrier(comm, waiting);
  return comm::all_reduce_max(comm, std::uint64_t{stop_signal() != 0 ? 1U : 0U}) == 0;
}

// Of a directory only what mpimerge writes into one.
void remove_output(const std::string& output) {
  std::error_code failed;
  if (!is_hdf5_name(output)) {
    for (const auto& entry : std::filesystem::directory_iterator(output, failed)) {
      if (output::is_model_file(entry.path().filename().string()))
        std::filesystem::remove(entry.path(), failed);
    }
  }
  std::filesystem::remove(output, failed);
  if (failed)
    base::log().warn("{}: is not the best and cannot be removed: {}", output, failed.message());
}

// Local, on rank 0. Removes the outputs of this sweep that are not the best; none, if nothing has a
// score.
void keep_best(const job::Sweep& sweep, const std::vector<Score>& scores) {
  const auto best = best_of(scores);
  if (!best) return;
  for (std::size_t point = 0; point < sweep.points.size(); ++point) {
    if (point == *best) continue;
    for (const std::string& output : sweep.points[point].outputs) remove_output(output);
  }
}

// The journal stays: all outputs are whole, and --resume asks for the scores again.
int stopped_while_scoring(const comm::Comm& comm, const MergeOptions& options) {
  if (comm.is_root()) {
    const std::string line = fmt::format(
        "mpimerge: stopped by {}, all outputs are written; go on with their scores: {}\n",
        name_of_signal(stop_signal()), options.again);
    std::fputs(line.c_str(), stderr);  // not fmt::print, which throws where it cannot write
  }
  return kStoppedEarly;
}

// Collective. A run that was killed at the very end had given every output its name, but perhaps not
// asked for all scores.
int already_finished(const comm::Comm& comm, const MergeOptions& options, const Work& work,
                     Watchdog& watchdog) {
  std::vector<Score> scores;
  if (!score_points(comm, work, watchdog, scores)) return stopped_while_scoring(comm, options);
  comm::collectively(comm, "journal", [&] {
    if (!comm.is_root()) return;
    remove_journal(journal_path(options, work.sweep.job.outputs));
    if (options.keep_best) keep_best(work.sweep, scores);
  });
  base::log().info("{} is complete already", work.job.outputs.front());
  if (comm.is_root()) print_account(best_line(work.sweep, scores));
  return 0;
}

OutputLayout lay_out(const Work& work) {
  OutputLayout output = lay_out_output(work.plan);
  output.layout.metadata = work.metadata;
  output.layout.alignment = work.job.output_hints.alignment;
  output.layout.mpi_io_hints = work.job.output_hints.mpi_io;
  return output;
}

// Collective.
MemoryUse memory_of_all(const comm::Comm& comm, const plan::ReadPlan& reads,
                        const plan::Traffic& mine, base::Bytes resident) {
  std::array<std::uint64_t, 4> sums{mine.keepable.value(), resident.value(), mine.keepable_blocks,
                                    mine.resident_blocks};
  comm::all_reduce_sum(comm, std::span<std::uint64_t>(sums));
  std::array<std::uint64_t, 2> largest{mine.keepable.value(), resident.value()};
  comm::all_reduce_max(comm, std::span<std::uint64_t>(largest));
  MemoryUse use;
  use.budget = reads.budget;
  use.all.keepable = base::Bytes{sums[0]};
  use.all.resident = base::Bytes{sums[1]};
  use.all.keepable_blocks = sums[2];
  use.all.resident_blocks = sums[3];
  use.largest_keepable = base::Bytes{largest[0]};
  use.largest_resident = base::Bytes{largest[1]};
  use.budget_to_stay = plan::budget_for(reads, use.largest_keepable);
  return use;
}

// Local; equal on all ranks.
void check_journal(const output::Journal& journal, const OutputLayout& file, std::size_t points,
                   const std::string& path) {
  const auto& datasets = file.layout.datasets;
  const auto fits = [&](const output::Slab& slab) {
    return slab.dataset < points * datasets.size() && slab.range.begin < slab.range.end &&
           slab.range.end <= datasets[slab.dataset % datasets.size()].elements;
  };
  bool is_sound = std::ranges::all_of(journal.slabs, fits);
  // All outputs advance together.
  const auto ranges_of = [&](std::size_t point) {
    std::vector<std::pair<std::uint64_t, base::ElementRange>> ranges;
    for (const output::Slab& slab : slabs_of_point(journal.slabs, point, datasets.size()))
      ranges.emplace_back(slab.dataset, slab.range);
    return ranges;
  };
  for (std::size_t point = 1; is_sound && point < points; ++point)
    is_sound = ranges_of(point) == ranges_of(0);
  if (is_sound) return;
  throw base::Error(base::ErrorKind::output,
                    fmt::format("{}: does not fit this merge; --overwrite begins it anew", path));
}

// What a directory holds beside the tensors: the base's companions, where it has a directory of its
// own, and a model card.
output::SafetensorsOptions directory_options(const MergeOptions& options, const Work& work,
                                             const job::Job& job, const OutputLayout& layout,
                                             const std::string& path) {
  output::SafetensorsOptions directory;
  directory.shard_size = options.shard_size;
  directory.overwrite = options.overwrite;
  std::error_code ignored;
  if (std::filesystem::is_directory(layout_path(job), ignored))
    directory.companions = layout_path(job);
  if (checkpoint::is_adapter(layout_path(job))) {
    directory.stem = output::kAdapterStem;
    directory.shard_size = base::Bytes{UINT64_MAX};  // PEFT reads one file
  }
  directory.torch_dtype = output::torch_dtype(layout.layout);
  directory.layers = layers_of_output(job);
  directory.unties_head = work.unties_head;
  if (!work.adapter_config.empty())
    directory.texts.emplace(output::kAdapterConfigFile, work.adapter_config);
  directory.texts.emplace(output::kCardFile, model_card(job, title_of(path)));
  return directory;
}

void warn_of_missing_config(const job::Job& job) {
  const auto& outputs = job.outputs;
  std::error_code ignored;
  if (std::all_of(outputs.begin(), outputs.end(), is_hdf5_name) ||
      checkpoint::is_adapter(layout_path(job)) ||
      std::filesystem::exists(std::filesystem::path(layout_path(job)) / output::kConfigFile,
                              ignored))
    return;
  base::log().warn("{}: has no {} to copy; transformers needs one beside the merged tensors",
                   layout_path(job), output::kConfigFile);
}

// Collective. Where outputs cannot be gone on with, all begin anew and the journal's slabs are gone.
// Those of a point stand together.
std::vector<OutputWriter> open_outputs(const comm::Comm& comm, const MergeOptions& options,
                                       const Work& work, const std::vector<job::Job>& points,
                                       const OutputLayout& layout, output::Journal& journal) {
  std::vector<OutputWriter> writers;
  const auto open_all = [&](auto open) {
    for (const job::Job& job : points) {
      OutputLayout own = layout;
      own.layout.job = job.text;
      for (const std::string& path : job.outputs) {
        writers.push_back(
            open(comm, path, own.layout, directory_options(options, work, job, own, path)));
      }
    }
  };
  if (!journal.slabs.empty()) {
    try {
      open_all(OutputWriter::resume);
      return writers;
    } catch (const comm::AgreedError& error) {
      base::log().warn("{}; the thresholds are known, but all is merged again", error.what());
      journal.slabs.clear();
      writers.clear();
    }
  }
  open_all(OutputWriter::begin);
  return writers;
}

// This rank's part of what earlier runs wrote, in order, to read back at the end.
std::vector<output::Slab> share_of(const comm::Comm& comm, const std::vector<output::Slab>& slabs) {
  const auto rank = static_cast<std::uint64_t>(comm.rank());
  const auto ranks = static_cast<std::uint64_t>(comm.ranks());
  const auto first = static_cast<std::ptrdiff_t>(slabs.size() * rank / ranks);
  const auto last = static_cast<std::ptrdiff_t>(slabs.size() * (rank + 1) / ranks);
  return {slabs.begin() + first, slabs.begin() + last};
}

base::Bytes bytes_of(const std::vector<output::Slab>& slabs, const OutputLayout& file) {
  base::Bytes bytes;
  for (const output::Slab& slab : slabs) {
    const base::Dtype dtype = file.layout.datasets[slab.dataset].dtype;
    bytes += base::Bytes{slab.range.count().value() * base::element_bytes(dtype).value()};
  }
  return bytes;
}

// All of a merge that is one story, on all ranks.
class MergeRun {
 public:
  MergeRun(const comm::Comm& comm, const MergeOptions& options, Work work, Watchdog& watchdog,
           bool quiet)
      : comm_(comm),
        options_(options),
        work_(std::move(work)),
        watchdog_(watchdog),
        journal_(output::decode_journal(work_.journal, "journal")),
        restored_(!journal_.method.empty()),
        // Asked for on all ranks, also on those that were given their own: it is collective.
        default_memory_(default_memory(comm)),
        reads_(plan::plan_reads(
            work_.plan, options.memory.value_or(default_memory_),
            merge::demand(work_.plan, work_.sweep.points, !work_.job.outputs.empty()))),
        passes_(merge::pass_options(work_.plan, work_.sweep.points)),
        traffic_(plan::predict_traffic(work_.plan, reads_, static_cast<std::uint64_t>(comm.rank()),
                                       passes_)),
        // After a restart nothing is read twice, so nothing needs to stay.
        store_(work_.plan, reads_, static_cast<std::uint64_t>(comm.rank()),
               passes_.selects && !restored_),
        rows_(work_.plan, reads_, static_cast<std::uint64_t>(comm.rank()), false),
        merge_(merge::make_merge(work_.plan, reads_, work_.sweep.points, store_, rows_)),
        file_(lay_out(work_)),
        phases_(comm),
        line_(comm.is_root() && !quiet),
        quiet_(quiet) {}

  // Collective.
  int run() {
    watchdog_.feed("open");
    const std::filesystem::path path = journal_path(options_, work_.sweep.job.outputs);
    comm::collectively(comm_, "journal", [&] {
      check_journal(journal_, file_, work_.sweep.points.size(), path.string());
    });
    if (comm_.is_root()) warn_of_missing_config(work_.job);
    writers_ = open_outputs(comm_, options_, work_, work_.sweep.points, file_, journal_);
    if (restored_) restore(path);
    const std::vector<output::Slab> finished = slabs_of_point(journal_.slabs, 0, datasets());
    journal_.runs.push_back(this_run(comm_));
    if (!comm_.is_root()) journal_ = {};
    recovery_.emplace(comm_, path, options_.checkpoint_interval, std::move(journal_), datasets());
    phases_.add("open", opening_.seconds(), base::Bytes{});
    say_what_comes(finished);
    try {
      return select_and_merge(finished);
    } catch (const comm::AgreedError&) {
      if (recovery_->saved())
        base::log().warn("{} says what was done until then: --resume goes on with it",
                         path.string());
      throw;
    }
  }

 private:
  // Collective.
  void restore(const std::filesystem::path& path) {
    comm::collectively(comm_, "journal", [&] {
      if (merge_->restore(journal_.method, comm_.is_root() && !journal_.slabs.empty())) return;
      throw base::Error(
          base::ErrorKind::output,
          fmt::format("{}: does not fit this merge; --overwrite begins it anew", path.string()));
    });
    for (std::size_t number = 0; number < writers_.size(); ++number) {
      const std::size_t point = number * work_.sweep.points.size() / writers_.size();
      writers_[number].adopt(share_of(comm_, slabs_of_point(journal_.slabs, point, datasets())));
    }
  }

  // Collective.
  void say_what_comes(const std::vector<output::Slab>& finished) {
    const plan::Plan& plan = work_.plan;
    base::log().info(
        "{} parameters in {} tensors, {} tasks, {} ranks, {} of memory for data per rank",
        plan.merged.value(), plan::output_tensors(plan), work_.job.tasks.size(), comm_.ranks(),
        base::human_bytes(reads_.budget));
    if (work_.sweep.is_sweep())
      base::log().info("{} merges of a sweep, from one reading", work_.sweep.points.size());
    if (restored_) {
      base::log().info("resumed: thresholds are known, {} of the output are written",
                       base::human_bytes(bytes_of(finished, file_)));
      return;
    }
    const MemoryUse planned = memory_of_all(comm_, reads_, traffic_, traffic_.resident);
    base::log().info("{}", describe(planned, passes_.selects));
  }

  // Collective. Runs `body` as a phase that reads `expected` bytes.
  template <class Body>
  void reading(const char* name, base::Bytes expected, Body&& body) {
    line_.begin(name, of_all_ranks(expected));
    watchdog_.feed(name);
    const base::Bytes before = bytes_read();
    const base::Timer timer;
    std::forward<Body>(body)();
    line_.clear();
    phases_.add(name, timer.seconds(), bytes_read() - before);
  }

  // Collective.
  int select_and_merge(const std::vector<output::Slab>& finished) {
    const auto show = [&](double share) { line_.show(share); };
    for (const merge::Step& step :
         restored_ ? std::vector<merge::Step>{} : merge_->steps(traffic_)) {
      const auto wish = [&, stretch = std::uint64_t{0}]() mutable {
        watchdog_.feed(step.name, ++stretch);
        return recovery_->wish();
      };
      bool done = false;
      reading(step.name, step.expected, [&] { done = step.run(comm_, show, wish); });
      if (done) continue;
      recovery_->save(nullptr, writers_);
      return stopped();
    }

    MergeRounds rounds(comm_, work_.plan, *merge_, writers_, file_, finished);
    const base::Bytes read_before = bytes_read();
    for (bool settled = false; !settled;) {
      line_.begin("merge", of_all_ranks(rounds.to_write()));
      const bool made = rounds.run(*recovery_, watchdog_, show);
      line_.clear();
      if (!made) return stopped();
      settled = merge_->settle(comm_);
      if (settled) break;
      base::log().info("cancelling sums took the rarer sign; merging once more with the other");
      recovery_->forget_slabs(writers_);
      rounds.restart();
    }
    phases_.add("merge", rounds.merge_seconds(), bytes_read() - read_before);
    phases_.add("write", rounds.write_seconds(), rounds.written());
    return finish();
  }

  // Collective.
  int finish() {
    watchdog_.feed("check");
    const base::Timer checking;
    std::vector<MergeReport> reports;
    for (const job::Job& job : work_.sweep.points)
      reports.push_back({job, work_.plan, *merge_, reports.size(), phases_.list(), {}, {}, {}, {}});
    const std::size_t outputs = writers_.size() / reports.size();  // of a point
    for (std::size_t number = 0; number < writers_.size(); ++number) {
      if (auto transfer = writers_[number].close())
        reports[number / outputs].transfers.push_back(std::move(*transfer));
    }
    phases_.add("check", checking.seconds(),
                base::Bytes{traffic_.written.value() * writers_.size()});
    const base::Bytes peak{comm::all_reduce_max(comm_, peak_memory().value())};
    const MemoryUse memory = memory_of_all(comm_, reads_, traffic_, store_.resident_bytes());
    nlohmann::ordered_json provenance;
    if (comm_.is_root()) provenance = provenance_json(recovery_->account());
    std::vector<nlohmann::ordered_json> summaries;
    for (MergeReport& report : reports) {
      report.peak_memory = peak;
      report.memory = memory;
      report.provenance = provenance;
      summaries.push_back(summary_json(report));
    }
    watchdog_.feed("publish");
    for (std::size_t number = 0; number < writers_.size(); ++number)
      writers_[number].publish(summary_text(summaries[number / outputs]));
    if (!work_.job.score.empty()) {
      comm::collectively(comm_, "journal", [&] {
        if (comm_.is_root()) recovery_->note();
      });
    }
    std::vector<Score> scores;
    if (!score_points(comm_, work_, watchdog_, scores))
      return stopped_while_scoring(comm_, options_);
    const std::string summary = work_.sweep.is_sweep()
                                    ? sweep_json(work_.sweep, summaries, scores).dump(2)
                                    : summary_text(summaries.front());
    comm::collectively(comm_, "summary", [&] {
      if (!comm_.is_root()) return;
      recovery_->remove();
      if (!options_.summary.empty()) write_summary_file(options_.summary, summary + "\n");
      if (options_.keep_best) keep_best(work_.sweep, scores);
    });
    if (!comm_.is_root() || quiet_) return 0;
    std::string text = work_.sweep.is_sweep() ? sweep_table(work_.sweep, reports, scores)
                                              : summary_table(reports.front());
    for (const std::string& path : work_.job.outputs) text += fmt::format("written    {}\n", path);
    if (work_.job.outputs.empty()) text += "written    nothing (output: none)\n";
    print_account(text + best_line(work_.sweep, scores));
    return 0;
  }

  // On all ranks, after the last save.
  int stopped() {
    if (comm_.is_root()) {
      const auto written = static_cast<double>(
          bytes_of(slabs_of_point(recovery_->account().slabs, 0, datasets()), file_).value());
      double all = 0;
      for (const output::Hdf5Dataset& dataset : file_.layout.datasets) {
        all += static_cast<double>(dataset.elements.value() *
                                   base::element_bytes(dataset.dtype).value());
      }
      const char* const signal = name_of_signal(stop_signal());
      const std::string line =
          writers_.empty()
              ? fmt::format("mpimerge: stopped by {}; there is no output to go on with\n", signal)
              : fmt::format(
                    "mpimerge: stopped by {}, {:.0f} % of the output is written; go on with: {}\n",
                    signal, 100 * written / all, options_.again);
      std::fputs(line.c_str(), stderr);  // not fmt::print, which throws where it cannot write
    }
    return kStoppedEarly;
  }

  // Of an output.
  [[nodiscard]] std::size_t datasets() const { return file_.layout.datasets.size(); }

  [[nodiscard]] base::Bytes bytes_read() const { return store_.bytes_read() + rows_.bytes_read(); }

  [[nodiscard]] double of_all_ranks(base::Bytes bytes) const {
    return static_cast<double>(bytes.value()) * comm_.ranks();
  }

  const comm::Comm& comm_;
  const MergeOptions& options_;
  const base::Timer opening_;
  const Work work_;
  Watchdog& watchdog_;
  output::Journal journal_;  // what an earlier run left; moves on to recovery_
  const bool restored_;      // thresholds are known
  const base::Bytes default_memory_;
  const plan::ReadPlan reads_;
  const plan::PassOptions passes_;
  const plan::Traffic traffic_;
  merge::BlockStore store_;
  merge::BlockStore rows_;  // what rows have outside of a block
  std::unique_ptr<merge::Merge> merge_;
  const OutputLayout file_;
  std::vector<OutputWriter> writers_;
  std::optional<Recovery> recovery_;
  Phases phases_;
  ProgressLine line_;
  const bool quiet_;
};

}  // namespace

int run_merge(const comm::Comm& comm, const MergeOptions& options, base::Verbosity verbosity) {
  note_stop_signals();
  Watchdog watchdog(comm::name_of_rank(comm), options.watchdog);
  watchdog.feed("prepare");
  Work work;
  comm::collectively(comm, "prepare", [&] {
    if (comm.is_root()) work = prepare(options, static_cast<std::uint64_t>(comm.ranks()));
  });
  comm::bcast_object(comm, work);
  const std::vector<char> archive = comm::to_bytes(work);
  comm::agree_same(comm, XXH3_64bits(archive.data(), archive.size()), "plan");
  if (work.finished) return already_finished(comm, options, work, watchdog);
  return MergeRun(comm, options, std::move(work), watchdog, verbosity == base::Verbosity::quiet)
      .run();
}

}  // namespace mpimerge::app
