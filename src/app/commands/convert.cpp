#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/base/error.hpp"
#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/log.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/base/timer.hpp"
#include "mpimerge/checkpoint/catalog.hpp"
#include "mpimerge/comm/abort.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/object.hpp"
#include "mpimerge/job/parse.hpp"
#include "mpimerge/merge/block_store.hpp"
#include "mpimerge/output/hdf5_catalog.hpp"
#include "mpimerge/output/model_files.hpp"
#include "mpimerge/plan/build.hpp"
#include "mpimerge/plan/read_plan.hpp"

#include "app/commands/commands.hpp"
#include "app/inputs.hpp"
#include "app/model_card.hpp"
#include "app/output_layout.hpp"
#include "app/output_names.hpp"
#include "app/output_writer.hpp"
#include "app/phases.hpp"
#include "app/progress.hpp"
#include "app/standard_streams.hpp"
#include "app/text_file.hpp"
#include "app/watchdog.hpp"

namespace mpimerge::app {
namespace {

namespace fs = std::filesystem;

/// All that rank 0 finds out before the work and every rank needs.
struct Conversion {
  plan::Plan plan;
  std::map<std::string, std::string> metadata;
  std::string job;         ///< that made the input; empty if it does not say
  std::string summary;     ///< of that job, or of this conversion
  std::string companions;  ///< directory to copy them from; empty: there is none
  std::string card;        ///< README.md of the input, or of the merge that it is; or empty

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& plan& metadata& job& summary& companions& card;
  }
};

// A text file ends with one; the text itself does not.
std::string without_last_newline(std::string text) {
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

void refuse_output_over_input(const ConvertOptions& options, const checkpoint::Catalog& input) {
  for (const fs::path& file : input.files) {
    if (!takes_place_of(options.output, file)) continue;
    throw base::Error(base::ErrorKind::output,
                      fmt::format("{}: is the input, or holds it; expected another name for the "
                                  "output",
                                  options.output));
  }
}

std::string summary_of(const ConvertOptions& options, const checkpoint::Catalog& input) {
  base::Elements elements;
  base::Bytes bytes;
  for (const checkpoint::TensorInfo& tensor : input.tensors) {
    elements += tensor.elements;
    bytes += tensor.bytes;
  }
  const nlohmann::ordered_json summary{{"mpimerge", MPIMERGE_VERSION},
                                       {"converted_from", options.input},
                                       {"tensors", input.tensors.size()},
                                       {"elements", elements.value()},
                                       {"bytes", bytes.value()}};
  return summary.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

// Of a merge that was written as HDF5; nothing for a job that this mpimerge does not know.
std::string card_of_merge(const std::string& job, const std::string& output) {
  if (job.empty()) return {};
  try {
    return model_card(job::parse_job(job, fs::path(), {}), title_of(output));
  } catch (const base::Error&) {
    return {};
  }
}

Conversion prepare(const ConvertOptions& options, std::uint64_t ranks) {
  const checkpoint::Catalog input = open_checkpoint(options.input);
  refuse_output_over_input(options, input);
  Conversion conversion;
  plan::Request request;
  request.ranks = ranks;
  request.read_all = true;
  conversion.plan = plan::build_plan(request, input, {});
  conversion.metadata = input.metadata;
  std::error_code ignored;
  if (fs::is_directory(options.input, ignored)) {
    const fs::path directory = options.input;
    conversion.job = read_text_file(directory / output::kJobFile);
    conversion.summary = without_last_newline(read_text_file(directory / output::kSummaryFile));
    conversion.card = read_text_file(directory / output::kCardFile);
    conversion.companions = options.input;
  } else if (output::is_hdf5(options.input)) {
    const output::MergeRecord record = output::read_merge_record(options.input);
    conversion.job = record.job;
    conversion.summary = record.summary;
    conversion.card = card_of_merge(record.job, options.output);
  }
  if (conversion.summary.empty()) conversion.summary = summary_of(options, input);
  return conversion;
}

void warn_of_missing_config(const ConvertOptions& options, const Conversion& conversion) {
  if (is_hdf5_name(options.output)) return;
  std::error_code ignored;
  if (!conversion.companions.empty() &&
      fs::exists(fs::path(conversion.companions) / output::kConfigFile, ignored))
    return;
  base::log().warn(
      "{}: has no {} to copy; for transformers put that of the base model and its tokenizer into "
      "{}",
      options.input, output::kConfigFile, options.output);
}

output::SafetensorsOptions directory_options(const ConvertOptions& options,
                                             const Conversion& conversion) {
  output::SafetensorsOptions directory;
  directory.shard_size = options.shard_size;
  directory.overwrite = options.overwrite;
  if (!conversion.companions.empty()) directory.companions = conversion.companions;
  if (!conversion.card.empty()) directory.texts.emplace(output::kCardFile, conversion.card);
  return directory;
}

/// Copies round by round: all ranks together, each its own chunk.
class Copy {
 public:
  Copy(const comm::Comm& comm, const plan::Plan& plan, const OutputLayout& layout,
       OutputWriter& writer)
      : comm_(comm),
        plan_(plan),
        layout_(layout),
        writer_(writer),
        reads_(plan::plan_reads(plan, base::Bytes{})),
        store_(plan, reads_, static_cast<std::uint64_t>(comm.rank()), false) {}

  /// Collective.
  void run(ProgressLine& line, Watchdog& watchdog) {
    std::uint64_t all = 0;
    for (std::size_t group = 0; group < plan_.groups.size(); ++group) all += plan_.rounds(group);
    std::uint64_t done = 0;
    for (std::size_t group = 0; group < plan_.groups.size(); ++group) {
      for (std::uint64_t round = 0; round < plan_.rounds(group); ++round) {
        watchdog.feed("convert", ++done);
        copy_round(group, round);
        line.show(static_cast<double>(done) / static_cast<double>(all));
      }
    }
  }

  [[nodiscard]] double read_seconds() const { return read_seconds_; }
  [[nodiscard]] double write_seconds() const { return write_seconds_; }
  [[nodiscard]] base::Bytes bytes() const { return store_.bytes_read(); }

 private:
  void copy_round(std::size_t group, std::uint64_t round) {
    const base::ElementRange chunk =
        plan_.chunk(group, static_cast<std::uint64_t>(comm_.rank()), round);
    const base::Timer reading;
    comm::collectively(comm_, "read", [&] { read_chunk(group, chunk); });
    read_seconds_ += reading.seconds();
    const base::Timer writing;
    writer_.write(layout_.dataset_of[group], chunk.begin, out_);
    write_seconds_ += writing.seconds();
  }

  void read_chunk(std::size_t group, base::ElementRange chunk) {
    const std::uint64_t element_bytes = base::element_bytes(plan_.groups[group].dtype).value();
    out_.resize(chunk.count().value() * element_bytes);
    for (const plan::Block& block : plan::blocks(reads_, group, chunk)) {
      const merge::BlockData& data = store_.load(block);
      for (std::size_t number = 0; number < data.segments.size(); ++number) {
        const auto bytes = data.bytes(0, number);
        const base::Elements place =
            block.range.begin - chunk.begin + data.segments[number].chunk_offset;
        std::copy(bytes.begin(), bytes.end(),
                  out_.begin() + static_cast<std::ptrdiff_t>(place.value() * element_bytes));
      }
    }
  }

  const comm::Comm& comm_;
  const plan::Plan& plan_;
  const OutputLayout& layout_;
  OutputWriter& writer_;
  plan::ReadPlan reads_;
  merge::BlockStore store_;
  std::vector<std::byte> out_;
  double read_seconds_ = 0;
  double write_seconds_ = 0;
};

}  // namespace

int run_convert(const comm::Comm& comm, const ConvertOptions& options, base::Verbosity verbosity) {
  const bool quiet = verbosity == base::Verbosity::quiet;
  Phases phases(comm);
  ProgressLine line(comm.is_root() && !quiet);
  const base::Timer opening;
  Watchdog watchdog(comm::name_of_rank(comm), options.watchdog, kRunAgain);
  watchdog.feed("open");
  Conversion conversion;
  comm::collectively(comm, "open", [&] {
    if (!comm.is_root()) return;
    conversion = prepare(options, static_cast<std::uint64_t>(comm.ranks()));
    warn_of_missing_config(options, conversion);
  });
  comm::bcast_object(comm, conversion);

  OutputLayout layout = lay_out_output(conversion.plan);
  layout.layout.metadata = conversion.metadata;
  layout.layout.job = conversion.job;
  OutputWriter writer = OutputWriter::begin(comm, options.output, layout.layout,
                                            directory_options(options, conversion));
  phases.add("open", opening.seconds(), base::Bytes{});

  Copy copy(comm, conversion.plan, layout, writer);
  const plan::ShardBytes mine =
      plan::shard_bytes(conversion.plan, static_cast<std::uint64_t>(comm.rank()));
  line.begin("convert", static_cast<double>(mine.written.value()) * comm.ranks());
  copy.run(line, watchdog);
  line.clear();
  phases.add("read", copy.read_seconds(), copy.bytes());
  phases.add("write", copy.write_seconds(), copy.bytes());
  const base::Timer checking;
  writer.close([&] { watchdog.feed("check"); });
  phases.add("check", checking.seconds(), copy.bytes());
  watchdog.feed("publish");
  writer.publish(conversion.summary);

  if (comm.is_root() && !quiet) {
    print_account(fmt::format("converted  {} tensors\nwritten    {}\n",
                              conversion.plan.tensors.size(), options.output));
  }
  return 0;
}

}  // namespace mpimerge::app
