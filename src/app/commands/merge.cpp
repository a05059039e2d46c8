#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <xxhash.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/base/timer.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/comm/object.hpp"
#include "mpimerge/job/parse.hpp"
#include "mpimerge/merge/block_store.hpp"
#include "mpimerge/merge/ties.hpp"
#include "mpimerge/output/hdf5_writer.hpp"
#include "mpimerge/plan/read_plan.hpp"

#include "app/commands/commands.hpp"
#include "app/memory.hpp"
#include "app/phases.hpp"
#include "app/progress.hpp"
#include "app/standard_streams.hpp"
#include "app/summary.hpp"
#include "app/summary_file.hpp"
#include "app/work.hpp"

namespace mpimerge::app {
namespace {

bool is_hdf5_name(const std::string& path) {
  return path.ends_with(".h5") || path.ends_with(".hdf5");
}

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
  for (const std::string& output : options.outputs) {
    if (!is_hdf5_name(output)) {
      throw base::Error(base::ErrorKind::usage,
                        fmt::format("--output {}: expected a name that ends in .h5 or .hdf5",
                                    base::printable(output)));
    }
  }
  const std::vector<std::string>& outputs = options.outputs.empty() ? job.outputs : options.outputs;
  std::set<std::filesystem::path> places;
  for (const std::string& output : outputs) {
    // A name that cannot be looked up is reported where the file is made.
    const auto place = place_of(output);
    if (!place || places.insert(*place).second) continue;
    throw base::Error(options.outputs.empty() ? base::ErrorKind::job : base::ErrorKind::usage,
                      fmt::format("output {}: is named twice; expected different files",
                                  base::printable(output)));
  }
  if (outputs.empty()) {
    throw base::Error(
        base::ErrorKind::job,
        fmt::format(
            "{}: output: is missing; expected the name of an .h5 file here or with --output",
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
          std::error_code ignored;
          if (!std::filesystem::equivalent(name, file, ignored)) continue;
          throw base::Error(
              base::ErrorKind::output,
              fmt::format("{}: is an input of this merge; expected another name for the output",
                          name));
        }
      }
    }
  }
}

// The summary takes the place of what has its name: of nothing that the merge needs or makes.
void refuse_summary_over_others(const std::string& summary, const Work& work) {
  std::vector<std::string> others{work.job.file};
  for (const std::string& output : work.job.outputs) others.push_back(output);
  for (const plan::Source& source : work.plan.sources)
    others.insert(others.end(), source.files.begin(), source.files.end());
  for (const std::string& other : others) {
    const auto place = place_of(summary);
    if (!place || place != place_of(other)) continue;
    throw base::Error(
        base::ErrorKind::output,
        fmt::format("{}: is the job, an input or an output of this merge; expected a file of its "
                    "own for --summary",
                    base::printable_path(summary)));
  }
}

Work prepare(const MergeOptions& options, std::uint64_t ranks) {
  if (!options.summary.empty()) check_summary_file(options.summary);
  Work work;
  work.job = job::parse_job_file(options.job, options.overrides);
  work.job.outputs = choose_outputs(work.job, options);
  const Models models = open_models(work.job);
  work.plan = plan_merge(work.job, models, ranks, options.chunk);
  work.metadata = models.base.metadata;
  refuse_output_over_input(work.job.outputs, work.plan);
  if (!options.summary.empty()) refuse_summary_over_others(options.summary, work);
  return work;
}

/// The datasets of an output file. Groups without elements have none: `dataset_of` skips them.
struct FileLayout {
  output::Hdf5Layout layout;
  std::vector<std::size_t> dataset_of;  ///< by group
};

FileLayout lay_out_file(const Work& work) {
  FileLayout file;
  for (const plan::Group& group : work.plan.groups) {
    file.dataset_of.push_back(file.layout.datasets.size());
    if (group.elements > base::Elements{})
      file.layout.datasets.push_back({group.dtype, group.elements});
    for (std::uint64_t number = group.first_tensor; number < group.last_tensor; ++number) {
      const plan::Tensor& tensor = work.plan.tensors[number];
      file.layout.tensors.push_back({tensor.name, group.dtype, tensor.shape, tensor.offset});
    }
  }
  file.layout.metadata = work.metadata;
  file.layout.job = work.job.text;
  file.layout.alignment = work.job.output_hints.alignment;
  file.layout.mpi_io_hints = work.job.output_hints.mpi_io;
  return file;
}

/// Merges and writes round by round: all ranks together, each its own chunk.
class MergeAndWrite {
 public:
  MergeAndWrite(const comm::Comm& comm, const plan::Plan& plan, merge::TiesMerge& ties,
                std::vector<output::Hdf5Writer>& writers,
                const std::vector<std::size_t>& dataset_of)
      : comm_(comm), plan_(plan), ties_(ties), writers_(writers), dataset_of_(dataset_of) {}

  /// Collective.
  void run(const merge::Progress& progress) {
    const std::uint64_t all = total_rounds();
    std::uint64_t done = 0;
    for (std::size_t group = 0; group < plan_.groups.size(); ++group) {
      for (std::uint64_t round = 0; round < plan_.rounds(group); ++round) {
        merge_round(group, round);
        write_round(group);
        progress(static_cast<double>(++done) / static_cast<double>(all));
      }
    }
  }

  [[nodiscard]] double merge_seconds() const { return merge_seconds_; }
  [[nodiscard]] double write_seconds() const { return write_seconds_; }
  [[nodiscard]] base::Bytes written() const { return written_; }

 private:
  [[nodiscard]] std::uint64_t total_rounds() const {
    std::uint64_t rounds = 0;
    for (std::size_t group = 0; group < plan_.groups.size(); ++group) rounds += plan_.rounds(group);
    return rounds;
  }

  void merge_round(std::size_t group, std::uint64_t round) {
    const base::Timer timer;
    comm::collectively(comm_, "merge", [&] {
      const base::ElementRange chunk =
          plan_.chunk(group, static_cast<std::uint64_t>(comm_.rank()), round);
      offset_ = chunk.begin;
      out_.resize(chunk.count().value() * base::element_bytes(plan_.groups[group].dtype).value());
      ties_.merge_chunk(group, round, out_);
    });
    merge_seconds_ += timer.seconds();
  }

  void write_round(std::size_t group) {
    const base::Timer timer;
    for (output::Hdf5Writer& writer : writers_) {
      writer.write(dataset_of_[group], offset_, out_);
      written_ += base::Bytes{out_.size()};
    }
    write_seconds_ += timer.seconds();
  }

  const comm::Comm& comm_;
  const plan::Plan& plan_;
  merge::TiesMerge& ties_;
  std::vector<output::Hdf5Writer>& writers_;
  const std::vector<std::size_t>& dataset_of_;
  std::vector<std::byte> out_;
  base::Elements offset_;
  double merge_seconds_ = 0;
  double write_seconds_ = 0;
  base::Bytes written_;
};

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

}  // namespace

int run_merge(const comm::Comm& comm, const MergeOptions& options, base::Verbosity verbosity) {
  const bool quiet = verbosity == base::Verbosity::quiet;
  Phases phases(comm);
  ProgressLine line(comm.is_root() && !quiet);
  const base::Timer opening;

  Work work;
  comm::collectively(comm, "prepare", [&] {
    if (comm.is_root()) work = prepare(options, static_cast<std::uint64_t>(comm.ranks()));
  });
  comm::bcast_object(comm, work);
  const std::vector<char> archive = comm::to_bytes(work);
  comm::agree_same(comm, XXH3_64bits(archive.data(), archive.size()), "plan");

  const plan::Plan& plan = work.plan;
  // Asked for on all ranks, also on those that were given their own: it is collective.
  const base::Bytes memory_here = default_memory(comm);
  const base::Bytes memory = options.memory.value_or(memory_here);
  const auto rank = static_cast<std::uint64_t>(comm.rank());
  const plan::ReadPlan reads = plan::plan_reads(plan, memory);
  const plan::PassOptions passes = merge::pass_options(plan, work.job);
  const plan::Traffic traffic = plan::predict_traffic(plan, reads, rank, passes);
  merge::BlockStore store(plan, reads, rank, passes.selects);
  merge::TiesMerge ties(plan, reads, work.job, store);
  const FileLayout file = lay_out_file(work);
  std::vector<output::Hdf5Writer> writers;
  for (const std::string& path : work.job.outputs) {
    writers.push_back(output::Hdf5Writer::begin(comm, path, file.layout, options.overwrite));
  }
  phases.add("open", opening.seconds(), base::Bytes{});
  base::log().info(
      "{} parameters in {} tensors, {} tasks, {} ranks, {} of memory for data per rank",
      plan.merged.value(), plan.tensors.size(), work.job.tasks.size(), comm.ranks(),
      base::human_bytes(memory));
  const MemoryUse planned = memory_of_all(comm, reads, traffic, traffic.resident);
  base::log().info("{}", describe(planned, passes.selects));
  const auto all_ranks = [&](base::Bytes bytes) {
    return static_cast<double>(bytes.value()) * comm.ranks();
  };
  const auto show = [&](double share) { line.show(share); };
  const auto reading = [&](const char* name, base::Bytes expected, const auto& body) {
    line.begin(name, all_ranks(expected));
    const base::Bytes before = store.bytes_read();
    const base::Timer timer;
    body();
    line.clear();
    phases.add(name, timer.seconds(), store.bytes_read() - before);
  };
  reading("sample", traffic.sample - traffic.guess, [&] { ties.sample(comm); });
  reading("guess", traffic.guess, [&] { ties.guess_sign(comm); });
  reading("select", traffic.select, [&] { ties.select(comm, show); });

  MergeAndWrite rounds(comm, plan, ties, writers, file.dataset_of);
  const base::Bytes read_before = store.bytes_read();
  bool settled = false;
  while (!settled) {
    line.begin("merge", all_ranks(traffic.written));
    rounds.run(show);
    line.clear();
    settled = ties.settle(comm);
    if (!settled)
      base::log().info("cancelling sums took the rarer sign; merging once more with the other");
  }
  phases.add("merge", rounds.merge_seconds(), store.bytes_read() - read_before);
  phases.add("write", rounds.write_seconds(), rounds.written());

  const base::Timer checking;
  MergeReport report{work.job, plan, ties, phases.list(), {}, {}, {}};
  for (output::Hdf5Writer& writer : writers) report.transfers.push_back(writer.close());
  phases.add("check", checking.seconds(), base::Bytes{traffic.written.value() * writers.size()});

  report.peak_memory = base::Bytes{comm::all_reduce_max(comm, peak_memory().value())};
  report.memory = memory_of_all(comm, reads, traffic, store.resident_bytes());
  const std::string summary = summary_json(report).dump(2);
  for (output::Hdf5Writer& writer : writers) writer.publish(summary);
  comm::collectively(comm, "summary", [&] {
    if (comm.is_root() && !options.summary.empty())
      write_summary_file(options.summary, summary + "\n");
  });
  if (comm.is_root() && !quiet) {
    std::string text = summary_table(report);
    for (const std::string& path : work.job.outputs) text += fmt::format("written    {}\n", path);
    print_account(text);
  }
  return 0;
}

}  // namespace mpimerge::app
