#include "mpimerge/merge/compare.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/comm/abort.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/object.hpp"
#include "mpimerge/merge/block_store.hpp"
#include "mpimerge/plan/build.hpp"
#include "mpimerge/plan/read_plan.hpp"

#include "app/commands/commands.hpp"
#include "app/inputs.hpp"
#include "app/progress.hpp"
#include "app/standard_streams.hpp"
#include "app/statistics_json.hpp"
#include "app/summary_file.hpp"
#include "app/watchdog.hpp"

namespace mpimerge::app {
namespace {

// Columns of a table that a terminal can show.
constexpr std::size_t kTasksShown = 8;

plan::Plan plan_comparison(const CompareOptions& options, std::uint64_t ranks) {
  if (!options.json.empty()) check_summary_file(options.json, "--json");
  std::vector<checkpoint::Catalog> tasks;
  for (const std::string& model : options.models) tasks.push_back(open_checkpoint(model));
  plan::Request request;
  request.ranks = ranks;
  return plan::build_plan(request, open_checkpoint(options.base), tasks);
}

// Checkpoints by the last part of their path, if that tells them apart.
std::vector<std::string> short_names(const std::vector<std::string>& models) {
  std::vector<std::string> names;
  for (const std::string& model : models) {
    const std::size_t end = model.find_last_not_of('/') + 1;
    const std::size_t slash = model.rfind('/', end == 0 ? 0 : end - 1);
    const std::size_t begin = slash == std::string::npos || slash >= end ? 0 : slash + 1;
    names.push_back(base::printable(model.substr(begin, end - begin)));
  }
  std::vector<std::string> sorted = names;
  std::ranges::sort(sorted);
  if (std::ranges::adjacent_find(sorted) == sorted.end()) return names;
  names.clear();
  for (const std::string& model : models) names.push_back(base::printable(model));
  return names;
}

std::string cell(double value, std::size_t width) {
  return std::isfinite(value) ? fmt::format("  {:>{}.4g}", value, width)
                              : fmt::format("  {:>{}}", "-", width);
}

std::string vectors_table(const std::vector<std::string>& names, const merge::FullStatistics& full,
                          std::uint64_t elements, std::size_t width) {
  std::string text = fmt::format("{:<{}}  {:>10}  {:>10}  {:>10}  {:>9}\n", "task vector", width,
                                 "norm", "mean |t|", "largest", "nonzero %");
  for (std::size_t task = 0; task < names.size(); ++task) {
    const merge::VectorStatistics& vector = full.task_vectors[task];
    const double nonzero =
        100 * static_cast<double>(vector.nonzero) / static_cast<double>(elements);
    text += fmt::format("{:<{}}", names[task], width) + cell(vector.norm, 10) +
            cell(vector.mean_magnitude, 10) + cell(vector.largest, 10) +
            fmt::format("  {:>9.2f}\n", nonzero);
  }
  return text;
}

// Cosines above the diagonal, sign agreement below it.
std::string pairs_table(const std::vector<std::string>& names, const merge::FullStatistics& full,
                        std::size_t width) {
  const kernel::StatisticsLayout layout{names.size()};
  if (layout.paired() < 2) return {};
  const std::size_t shown = std::min(layout.paired(), kTasksShown);
  std::string text = fmt::format("\n{:<{}}", "pairs", width);
  for (std::size_t b = 0; b < shown; ++b) text += fmt::format("  {:>8.8}", names[b]);
  text += "\n";
  for (std::size_t a = 0; a < shown; ++a) {
    text += fmt::format("{:<{}}", names[a], width);
    for (std::size_t b = 0; b < shown; ++b) {
      const std::size_t pair = a == b ? 0 : layout.pair(std::min(a, b), std::max(a, b));
      text += a == b  ? fmt::format("  {:>8}", "")
              : a < b ? cell(full.cosine[pair], 8)
                      : cell(full.sign_agreement[pair], 8);
    }
    text += "\n";
  }
  text += "above the diagonal: cosine; below: share of equal signs where both are non-zero\n";
  if (shown < names.size()) text += fmt::format("of {} tasks the first {}\n", names.size(), shown);
  return text;
}

// All tensors of a layer together.
struct Layer {
  std::uint64_t elements = 0;
  std::uint64_t conflicts = 0;
  std::vector<double> squares;   // [tasks]
  std::vector<double> products;  // [pairs]
};

std::string layers_table(const std::vector<std::string>& names,
                         const merge::Statistics& statistics) {
  const kernel::StatisticsLayout layout{names.size()};
  std::map<std::optional<std::uint64_t>, Layer> layers;
  for (const merge::Statistics::Tensor& tensor : statistics.tensors) {
    Layer& layer = layers[tensor.layer];
    const merge::FullStatistics& full = *tensor.row.full;
    layer.squares.resize(names.size());
    layer.products.resize(layout.pairs());
    layer.elements += tensor.row.elements;
    layer.conflicts += full.conflicts_before.back();
    for (std::size_t task = 0; task < names.size(); ++task)
      layer.squares[task] += full.task_vectors[task].norm * full.task_vectors[task].norm;
    for (std::size_t a = 0; a < layout.paired(); ++a) {
      for (std::size_t b = a + 1; b < layout.paired(); ++b) {
        const double cosine = full.cosine[layout.pair(a, b)];
        if (!std::isnan(cosine))
          layer.products[layout.pair(a, b)] +=
              cosine * full.task_vectors[a].norm * full.task_vectors[b].norm;
      }
    }
  }
  const std::size_t shown = std::min(names.size(), kTasksShown);
  std::string text =
      fmt::format("\n{:<8}  {:>12}  {:>10}  {:>10}", "layer", "elements", "conflict %", "cosine");
  for (std::size_t task = 0; task < shown; ++task) text += fmt::format("  {:>10.10}", names[task]);
  text += "\n";
  for (const auto& [number, layer] : layers) {
    double cosines = 0;
    for (std::size_t a = 0; a < layout.paired(); ++a) {
      for (std::size_t b = a + 1; b < layout.paired(); ++b)
        cosines +=
            layer.products[layout.pair(a, b)] / std::sqrt(layer.squares[a] * layer.squares[b]);
    }
    text +=
        fmt::format("{:<8}  {:>12}", number ? fmt::format("{}", *number) : "none", layer.elements) +
        cell(100 * static_cast<double>(layer.conflicts) / static_cast<double>(layer.elements), 10) +
        cell(cosines / static_cast<double>(layout.pairs()), 10);
    for (std::size_t task = 0; task < shown; ++task)
      text += cell(std::sqrt(layer.squares[task]), 10);
    text += "\n";
  }
  return text + "cosine: mean over all pairs; then norms; none: tensors outside of the layers\n";
}

std::string describe(const std::vector<std::string>& models, const merge::Statistics& statistics) {
  const std::vector<std::string> names = short_names(models);
  const merge::FullStatistics& full = *statistics.all.full;
  std::size_t width = std::string_view("task vector").size();
  for (const std::string& name : names) width = std::max(width, name.size());
  std::string text = vectors_table(names, full, statistics.all.elements, width);
  text += pairs_table(names, full, width);
  text += layers_table(names, statistics);
  text += "\nconflicts ";
  for (std::size_t task = 1; task < names.size(); ++task) {
    text += fmt::format("{}{:.2f} % of {} tasks", task == 1 ? " " : ", ",
                        100 * static_cast<double>(full.conflicts_before[task]) /
                            static_cast<double>(statistics.all.elements),
                        task + 1);
  }
  if (names.size() < 2) text += " none: one task";
  return text + fmt::format("\nparameters {}, tensors {}\n", statistics.all.elements,
                            statistics.all.tensors);
}

}  // namespace

int run_compare(const comm::Comm& comm, const CompareOptions& options, base::Verbosity verbosity) {
  Watchdog watchdog(comm::name_of_rank(comm), options.watchdog, kRunAgain);
  watchdog.feed("open");
  plan::Plan plan;
  comm::collectively(comm, "open", [&] {
    if (comm.is_root()) plan = plan_comparison(options, static_cast<std::uint64_t>(comm.ranks()));
  });
  comm::bcast_object(comm, plan);

  const plan::ReadPlan reads = plan::plan_reads(plan, base::Bytes{});
  merge::BlockStore store(plan, reads, static_cast<std::uint64_t>(comm.rank()), false);
  ProgressLine line(comm.is_root() && verbosity != base::Verbosity::quiet);
  std::uint64_t bytes = 0;
  for (const plan::Source& source : plan.sources) {
    for (std::size_t tensor = 0; tensor < plan.tensors.size(); ++tensor)
      bytes += plan.tensors[tensor].elements.value() * source.extents[tensor].element_bytes();
  }
  line.begin("compare", static_cast<double>(bytes));
  const auto run_part = [&, parts = std::uint64_t{0}](const std::function<void()>& part) mutable {
    watchdog.feed("compare", ++parts);
    comm::collectively(comm, "compare", part);
    return true;
  };
  const merge::Statistics statistics = merge::compare(
      comm, plan, reads, store, [&](double share) { line.show(share); }, run_part);
  line.clear();

  watchdog.feed("print");
  comm::collectively(comm, "print", [&] {
    if (!comm.is_root()) return;
    if (!options.json.empty()) {
      nlohmann::ordered_json json{{"mpimerge", MPIMERGE_VERSION},
                                  {"base", options.base},
                                  {"parameters", statistics.all.elements},
                                  {"tensors", plan.tensors.size()}};
      json["report"] = statistics_json(statistics, "compare", options.models);
      write_summary_file(
          options.json,
          json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n",
          "--json");
    }
    print_result(describe(options.models, statistics));
  });
  return 0;
}

}  // namespace mpimerge::app
