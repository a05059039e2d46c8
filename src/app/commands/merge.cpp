#include "mpimerge/merge/merge.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <xxhash.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/log.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/base/timer.hpp"
#include "mpimerge/comm/abort.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/comm/error.hpp"
#include "mpimerge/comm/object.hpp"
#include "mpimerge/job/parse.hpp"
#include "mpimerge/merge/block_store.hpp"
#include "mpimerge/output/hdf5_catalog.hpp"
#include "mpimerge/output/hdf5_writer.hpp"
#include "mpimerge/output/journal.hpp"
#include "mpimerge/output/model_files.hpp"
#include "mpimerge/output/pass_file.hpp"
#include "mpimerge/output/safetensors_writer.hpp"
#include "mpimerge/plan/read_plan.hpp"

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
#include "app/slices.hpp"
#include "app/standard_streams.hpp"
#include "app/stop.hpp"
#include "app/summary.hpp"
#include "app/summary_file.hpp"
#include "app/text_file.hpp"
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
  others.push_back(pass_path(work.job.outputs).string());
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

// Whether an output has its name already, from an earlier run of this very merge.
bool is_finished(const std::string& output, const job::Job& job, const output::Journal& earlier) {
  std::error_code ignored;
  if (std::filesystem::exists(output + ".partial", ignored)) return false;
  try {
    if (is_hdf5_name(output)) {
      return output::is_finished(output, job.text) &&
             made_by_this_merge(output::read_merge_record(output).summary, earlier);
    }
    return output::is_finished_directory(output, job.text) &&
           made_by_this_merge(read_text_file(std::filesystem::path(output) / output::kSummaryFile),
                              earlier);
  } catch (const base::Error&) {
    return false;
  }
}

Work prepare(const MergeOptions& options, std::uint64_t ranks) {
  if (!options.summary.empty()) check_summary_file(options.summary);
  Work work;
  work.job = options.job_text.empty()
                 ? job::parse_job_file(options.job, options.overrides)
                 : job::parse_job(options.job_text, options.job, options.overrides);
  work.job.outputs = choose_outputs(work.job, options);
  warn_of_other_rules(work.job);
  const Models models = open_models(work.job);
  work.plan = plan_merge(work.job, models, ranks, options.chunk);
  work.metadata = models.front().metadata;
  refuse_output_over_input(work.job.outputs, work.plan);
  const std::filesystem::path journal_file = journal_path(options, work.job.outputs);
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
  for (const std::string& output : work.job.outputs) {
    if (!earlier || !is_finished(output, work.job, *earlier)) work.unfinished.push_back(output);
  }
  const std::vector<std::byte> identity = output::encode(journal);
  work.merge = XXH3_64bits(identity.data(), identity.size());
  work.pass =
      earlier_pass(pass_path(work.job.outputs), work.merge, earlier && earlier->method.empty());
  work.journal = output::encode(earlier ? *earlier : journal);
  return work;
}

// Collective. A run that was killed at the very end had given every output its name.
int already_finished(const comm::Comm& comm, const MergeOptions& options, const Work& work) {
  comm::collectively(comm, "journal", [&] {
    if (comm.is_root())
      remove_journal(journal_path(options, work.job.outputs), pass_path(work.job.outputs));
  });
  base::log().info("{} is complete already", work.job.outputs.front());
  return 0;
}

OutputLayout lay_out(const Work& work) {
  OutputLayout output = lay_out_output(work.plan);
  output.layout.metadata = work.metadata;
  output.layout.job = work.job.text;
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
void check_journal(const output::Journal& journal, const OutputLayout& file,
                   const std::string& path) {
  const auto& datasets = file.layout.datasets;
  for (const output::Slab& slab : journal.slabs) {
    if (slab.dataset < datasets.size() && slab.range.begin < slab.range.end &&
        slab.range.end <= datasets[slab.dataset].elements)
      continue;
    throw base::Error(base::ErrorKind::output,
                      fmt::format("{}: does not fit this merge; --overwrite begins it anew", path));
  }
}

// Whether it is a directory that PEFT wrote.
bool is_adapter(const std::filesystem::path& model) {
  std::error_code ignored;
  return std::filesystem::exists(model / output::kAdapterConfigFile, ignored);
}

// What a directory holds beside the tensors: the base's companions, where it has a directory of its
// own, and a model card.
output::SafetensorsOptions directory_options(const MergeOptions& options, const job::Job& job,
                                             const OutputLayout& layout, const std::string& path) {
  output::SafetensorsOptions directory;
  directory.shard_size = options.shard_size;
  directory.overwrite = options.overwrite;
  std::error_code ignored;
  if (std::filesystem::is_directory(layout_path(job), ignored))
    directory.companions = layout_path(job);
  if (is_adapter(layout_path(job))) {
    directory.stem = output::kAdapterStem;
    directory.shard_size = base::Bytes{UINT64_MAX};  // PEFT reads one file
  }
  directory.torch_dtype = output::torch_dtype(layout.layout);
  directory.layers = layers_of_output(job);
  directory.texts.emplace(output::kCardFile, model_card(job, title_of(path)));
  return directory;
}

void warn_of_missing_config(const job::Job& job) {
  const auto& outputs = job.outputs;
  std::error_code ignored;
  if (std::all_of(outputs.begin(), outputs.end(), is_hdf5_name) || is_adapter(layout_path(job)) ||
      std::filesystem::exists(std::filesystem::path(layout_path(job)) / output::kConfigFile,
                              ignored))
    return;
  base::log().warn("{}: has no {} to copy; transformers needs one beside the merged tensors",
                   layout_path(job), output::kConfigFile);
}

// Collective. The outputs that are to be made. Where they cannot be gone on with, all begin anew and
// the journal's slabs are gone.
std::vector<OutputWriter> open_outputs(const comm::Comm& comm, const MergeOptions& options,
                                       const Work& work, const OutputLayout& layout,
                                       output::Journal& journal) {
  std::vector<OutputWriter> writers;
  const auto open_all = [&](auto open) {
    for (const std::string& path : work.unfinished) {
      writers.push_back(
          open(comm, path, layout.layout, directory_options(options, work.job, layout, path)));
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

// This rank's part of what earlier runs wrote, to read back at the end.
std::vector<output::Slab> share_of(const comm::Comm& comm, std::vector<output::Slab> slabs) {
  std::sort(slabs.begin(), slabs.end(), [](const output::Slab& a, const output::Slab& b) {
    return std::tie(a.dataset, a.range.begin) < std::tie(b.dataset, b.range.begin);
  });
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

const char* name_of_signal(int signal) {
  switch (signal) {
    case SIGTERM: return "SIGTERM";
    case SIGUSR1: return "SIGUSR1";
    case SIGINT: return "SIGINT";
    default: return "a signal to another rank";
  }
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
        reads_(plan::plan_reads(work_.plan, options.memory.value_or(default_memory_))),
        passes_(merge::pass_options(work_.plan, work_.job)),
        traffic_(plan::predict_traffic(work_.plan, reads_, static_cast<std::uint64_t>(comm.rank()),
                                       passes_)),
        // After a restart nothing is read twice, so nothing needs to stay.
        store_(work_.plan, reads_, static_cast<std::uint64_t>(comm.rank()),
               passes_.selects && !restored_),
        rows_(work_.plan, reads_, static_cast<std::uint64_t>(comm.rank()), false),
        merge_(merge::make_merge(work_.plan, reads_, std::span(&work_.job, 1), store_, rows_)),
        file_(lay_out(work_)),
        phases_(comm),
        line_(comm.is_root() && !quiet),
        quiet_(quiet) {}

  // Collective.
  int run() {
    watchdog_.feed("open");
    const std::filesystem::path path = journal_path(options_, work_.job.outputs);
    comm::collectively(comm_, "journal", [&] { check_journal(journal_, file_, path.string()); });
    if (comm_.is_root()) warn_of_missing_config(work_.job);
    writers_ = open_outputs(comm_, options_, work_, file_, journal_);
    if (restored_) restore(path);
    const std::vector<output::Slab> finished = journal_.slabs;
    journal_.runs.push_back(this_run(comm_));
    if (!comm_.is_root()) journal_ = {};
    if (!work_.pass.empty()) take_up_pass();
    recovery_.emplace(comm_, path, pass_path(work_.job.outputs), work_.merge,
                      options_.checkpoint_interval, std::move(journal_));
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
    const std::vector<output::Slab> mine = share_of(comm_, journal_.slabs);
    for (OutputWriter& writer : writers_) writer.adopt(mine);
  }

  // Collective. Goes on within a look at the inputs: each rank takes over parts of the ranks before.
  void take_up_pass() {
    const std::filesystem::path file = pass_path(work_.job.outputs);
    const auto head = output::decode_pass_head(work_.pass);
    const auto each_part = [&](const auto& visit) {
      for (auto part = static_cast<std::size_t>(comm_.rank()); part < head->parts.size();
           part += static_cast<std::size_t>(comm_.ranks())) {
        output::PassPart own(file, *head, part);
        visit(own);
      }
    };
    bool damaged = !head;
    try {
      if (head) {
        each_part([&](output::PassPart& part) { damaged = damaged || !part.is_whole(); });
      }
    } catch (const base::Error&) {
      damaged = true;
    }
    if (comm::all_reduce_max(comm_, std::uint64_t{damaged}) != 0) {
      if (comm_.is_root()) warn_of_damaged_pass(file);
      return;
    }
    comm::collectively(comm_, "take up pass", [&] {
      bool fits = merge_->take_up(head->state);
      each_part([&](output::PassPart& part) {
        fits = fits && merge_->take_own([&] { return part.word(); });
      });
      if (fits) return;
      throw base::Error(
          base::ErrorKind::output,
          fmt::format("{}: does not fit this merge; --overwrite begins it anew", file.string()));
    });
    first_step_ = head->state.step;
    seen_ = share_of_inputs(head->state.looked_at);
  }

  // How much of the elements to merge that is.
  [[nodiscard]] double share_of_inputs(const plan::Coverage& seen) const {
    double all = 0;
    for (std::size_t group = 0; group < work_.plan.groups.size(); ++group) {
      if (work_.plan.merges(group))
        all += static_cast<double>(work_.plan.groups[group].elements.value());
    }
    return static_cast<double>(seen.elements().value()) / all;
  }

  // Collective.
  void say_what_comes(const std::vector<output::Slab>& finished) {
    for (const std::string& output : work_.job.outputs) {
      if (std::ranges::find(work_.unfinished, output) == work_.unfinished.end())
        base::log().info("{} is complete already", output);
    }
    const plan::Plan& plan = work_.plan;
    base::log().info(
        "{} parameters in {} tensors, {} tasks, {} ranks, {} of memory for data per rank",
        plan.merged.value(), plan.tensors.size(), work_.job.tasks.size(), comm_.ranks(),
        base::human_bytes(reads_.budget));
    if (restored_) {
      base::log().info("resumed: thresholds are known, {} of the output are written",
                       base::human_bytes(bytes_of(finished, file_)));
      return;
    }
    if (seen_ > 0)
      base::log().info("resumed: {:.0f} % of the inputs were looked at before", 100 * seen_);
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
    const auto steps = restored_ ? std::vector<merge::Step>{} : merge_->steps(traffic_);
    for (std::size_t number = first_step_; number < steps.size(); ++number) {
      const merge::Step& step = steps[number];
      const auto run_part = [&,
                             parts = std::uint64_t{0}](const std::function<void()>& part) mutable {
        watchdog_.feed(step.name, ++parts);
        const comm::Wish wish = comm::collectively(comm_, step.name, part, recovery_->wish());
        if (wish != comm::Wish::go_on) recovery_->save_pass(*merge_);
        return wish != comm::Wish::stop;
      };
      bool done = false;
      reading(step.name, step.expected, [&] { done = step.run(comm_, show, run_part); });
      if (!done) return stopped();
    }

    MergeRounds rounds(comm_, work_.plan, *merge_, writers_, file_, finished);
    const base::Bytes read_before = bytes_read();
    for (bool settled = false; !settled;) {
      line_.begin("merge", of_all_ranks(rounds.to_write()));
      const bool made = rounds.run(*recovery_, watchdog_, show);
      line_.clear();
      if (!made) return stopped();
      // So that a run that is killed between two of them getting their names is gone on with.
      if (writers_.size() > 1) recovery_->save(*merge_, writers_);
      settled = merge_->settle(comm_);
      if (settled) break;
      base::log().info("cancelling sums took the rarer sign; merging once more with the other");
      recovery_->forget_slabs(writers_);
      rounds.restart();
    }
    phases_.add("merge", rounds.merge_seconds(), bytes_read() - read_before);
    phases_.add("write", rounds.write_seconds(), rounds.written());
    finish();
    return 0;
  }

  // Collective.
  void finish() {
    const auto check = [&] { watchdog_.feed("check"); };
    check();
    const base::Timer checking;
    MergeReport report{work_.job, work_.plan, *merge_, phases_.list(), {}, {}, {}, {}};
    for (OutputWriter& writer : writers_) {
      if (auto transfer = writer.close(check)) report.transfers.push_back(std::move(*transfer));
    }
    phases_.add("check", checking.seconds(),
                base::Bytes{traffic_.written.value() * writers_.size()});
    report.peak_memory = base::Bytes{comm::all_reduce_max(comm_, peak_memory().value())};
    report.memory = memory_of_all(comm_, reads_, traffic_, store_.resident_bytes());
    if (comm_.is_root()) report.provenance = provenance_json(recovery_->account());
    const std::string summary = summary_text(report);
    watchdog_.feed("publish");
    for (OutputWriter& writer : writers_) writer.publish(summary);
    comm::collectively(comm_, "summary", [&] {
      if (!comm_.is_root()) return;
      recovery_->remove();
      if (!options_.summary.empty()) write_summary_file(options_.summary, summary + "\n");
    });
    if (!comm_.is_root() || quiet_) return;
    std::string text = summary_table(report);
    for (const std::string& path : work_.job.outputs) text += fmt::format("written    {}\n", path);
    if (work_.job.outputs.empty()) text += "written    nothing (output: none)\n";
    print_account(text);
  }

  // On all ranks, after the last save.
  int stopped() {
    if (comm_.is_root()) {
      const auto written = static_cast<double>(bytes_of(recovery_->account().slabs, file_).value());
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

  [[nodiscard]] base::Bytes bytes_read() const { return store_.bytes_read() + rows_.bytes_read(); }

  [[nodiscard]] double of_all_ranks(base::Bytes bytes) const {
    return static_cast<double>(bytes.value()) * comm_.ranks();
  }

  static constexpr int kStoppedEarly = 75;

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
  std::size_t first_step_ = 0;
  double seen_ = 0;  // of the inputs in that step, by earlier runs
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
  Watchdog watchdog(comm::name_of_rank(comm), options.watchdog,
                    "--resume goes on from the journal");
  watchdog.feed("prepare");
  Work work;
  comm::collectively(comm, "prepare", [&] {
    if (comm.is_root()) work = prepare(options, static_cast<std::uint64_t>(comm.ranks()));
  });
  comm::bcast_object(comm, work);
  const std::vector<char> archive = comm::to_bytes(work);
  comm::agree_same(comm, XXH3_64bits(archive.data(), archive.size()), "plan");
  if (!work.job.outputs.empty() && work.unfinished.empty())
    return already_finished(comm, options, work);
  return MergeRun(comm, options, std::move(work), watchdog, verbosity == base::Verbosity::quiet)
      .run();
}

}  // namespace mpimerge::app
