#include "app/summary.hpp"

#include <bit>
#include <cmath>
#include <span>
#include <string_view>

#include <fmt/format.h>

#include "mpimerge/base/text.hpp"
#include "mpimerge/job/numbers.hpp"
#include "mpimerge/method/method.hpp"

#include "app/statistics_json.hpp"

namespace mpimerge::app {
namespace {

float threshold_of(const merge::TaskTrim& trim) {
  return std::bit_cast<float>(trim.threshold_bits);
}

// JSON knows no infinity; the bits beside it say which value it was.
nlohmann::ordered_json number_or_null(float value) {
  if (!std::isfinite(value)) return nullptr;
  return static_cast<double>(value);
}

// The method's parameters of single models.
std::vector<std::string> model_parameters(const job::Job& job) {
  std::vector<std::string> names;
  for (const method::Parameter& parameter : method::find(job.method)->parameters) {
    if (parameter.of == method::Parameter::Of::model) names.emplace_back(parameter.name);
  }
  return names;
}

nlohmann::ordered_json tasks_json(const MergeReport& report) {
  const std::span<const merge::TaskTrim> trims = report.merge.trims();
  const std::vector<std::string> parameters = model_parameters(report.job);
  auto tasks = nlohmann::ordered_json::array();
  for (std::size_t number = 0; number < report.job.tasks.size(); ++number) {
    nlohmann::ordered_json task{{"name", report.job.tasks[number].name}};
    for (const std::string& parameter : parameters) {
      const auto value = job::constant(report.job, parameter, number);
      task[parameter] = value ? nlohmann::ordered_json(*value) : "by tensor";
    }
    if (!trims.empty()) {
      const merge::TaskTrim& trim = trims[number];
      task["trim_rank"] = trim.trim_rank;
      task["threshold"] = number_or_null(threshold_of(trim));
      task["threshold_bits"] = fmt::format("0x{:08x}", trim.threshold_bits);
      if (report.merge.counts() != nullptr) task["kept"] = trim.kept;
    }
    tasks.push_back(std::move(task));
  }
  return tasks;
}

nlohmann::ordered_json transfer_json(const output::TransferMode& transfer) {
  return {{"actual_io_mode", transfer.actual_io_mode},
          {"no_collective_cause", transfer.no_collective_cause}};
}

nlohmann::ordered_json memory_json(const MemoryUse& use) {
  return {{"mode", plan::name(plan::residency(use.all))},
          {"budget_bytes", use.budget.value()},
          {"resident_bytes", use.all.resident.value()},
          {"resident_blocks", use.all.resident_blocks},
          {"blocks", use.all.keepable_blocks}};
}

}  // namespace

std::string describe(const MemoryUse& use, bool twice) {
  if (!twice) return "streaming: inputs are read once";
  const std::string budget =
      fmt::format("({} of memory for data per rank; {} would keep all)",
                  base::human_bytes(use.budget), base::human_bytes(use.budget_to_stay));
  switch (plan::residency(use.all)) {
    case plan::Residency::resident:
      return fmt::format("resident: {} of inputs per rank stay in memory and are read once",
                         base::human_bytes(use.largest_resident));
    case plan::Residency::partly:
      return fmt::format(
          "partly resident: up to {} of inputs per rank stay in memory, the others are read twice "
          "{}",
          base::human_bytes(use.largest_resident), budget);
    case plan::Residency::streaming: return "streaming: inputs are read twice " + budget;
  }
  return {};
}

nlohmann::ordered_json summary_json(const MergeReport& report) {
  auto phases = nlohmann::ordered_json::array();
  for (const Phase& phase : report.phases) {
    phases.push_back(
        {{"name", phase.name}, {"seconds", phase.seconds}, {"bytes", phase.bytes.value()}});
  }
  // One object for the usual single file; one per HDF5 file where there are several, or none.
  nlohmann::ordered_json hdf5 = nlohmann::ordered_json::array();
  for (const output::TransferMode& transfer : report.transfers)
    hdf5.push_back(transfer_json(transfer));
  if (hdf5.size() == 1) hdf5 = nlohmann::ordered_json(hdf5[0]);
  nlohmann::ordered_json summary{
      {"mpimerge", MPIMERGE_VERSION},          {"ranks", report.plan.ranks},
      {"method", report.job.method},           {"parameters", report.plan.merged.value()},
      {"tensors", report.plan.tensors.size()}, {"tasks", tasks_json(report)}};
  if (const kernel::TiesCounts* const counts = report.merge.counts()) {
    summary["signs"] = {{"positive", counts->positive},
                        {"negative", counts->negative},
                        {"cancelled", counts->cancelled},
                        {"untouched", counts->untouched}};
    summary["conflicts"] = {{"before_trim", counts->conflicts_before_trim},
                            {"after_trim", counts->conflicts_after_trim}};
  }
  if (const merge::Statistics* const statistics = report.merge.statistics()) {
    std::vector<std::string> tasks;
    for (const job::Task& task : report.job.tasks) tasks.push_back(task.name);
    summary["report"] = statistics_json(*statistics, statistics->is_full ? "full" : "basic", tasks);
  }
  summary["memory"] = plan::name(plan::residency(report.memory.all));
  summary["memory_plan"] = memory_json(report.memory);
  summary["phases"] = phases;
  summary["peak_rss_bytes"] = report.peak_memory.value();
  summary["hdf5"] = hdf5;
  summary["provenance"] = report.provenance;
  return summary;
}

std::string summary_text(const MergeReport& report) {
  nlohmann::ordered_json summary = summary_json(report);
  const auto statistics = summary.find("report");
  if (statistics == summary.end()) return summary.dump(2);
  const std::string of_tensors = statistics->dump();
  summary.erase(statistics);
  std::string text = summary.dump(2);
  text.resize(text.size() - std::string_view("\n}").size());
  return text + ",\n  \"report\": " + of_tensors + "\n}";
}

std::string summary_table(const MergeReport& report) {
  const auto parameters = static_cast<double>(report.plan.merged.value());
  const auto percent = [&](std::uint64_t count) {
    return 100 * static_cast<double>(count) / parameters;
  };
  const std::span<const merge::TaskTrim> trims = report.merge.trims();
  const kernel::TiesCounts* const counts = report.merge.counts();
  const std::vector<std::string> names = model_parameters(report.job);
  std::size_t width = 4;
  for (const job::Task& task : report.job.tasks) width = std::max(width, task.name.size());
  std::string text = fmt::format("{:<{}}", "task", width);
  for (const std::string& name : names) text += fmt::format("  {:>8}", name);
  if (!trims.empty()) text += fmt::format("  {:>13}", "threshold");
  if (counts != nullptr) text += fmt::format("  {:>16}  {:>7}", "kept", "kept %");
  text += '\n';
  for (std::size_t number = 0; number < report.job.tasks.size(); ++number) {
    text += fmt::format("{:<{}}", report.job.tasks[number].name, width);
    for (const std::string& name : names) {
      const auto value = job::constant(report.job, name, number);
      text += value ? fmt::format("  {:>8.4g}", *value) : fmt::format("  {:>8}", "varies");
    }
    if (!trims.empty()) text += fmt::format("  {:>13.6e}", threshold_of(trims[number]));
    if (counts != nullptr)
      text += fmt::format("  {:>16}  {:>7.2f}", trims[number].kept, percent(trims[number].kept));
    text += '\n';
  }
  text += fmt::format("parameters {}, tasks {}, ranks {}\n", report.plan.merged.value(),
                      report.job.tasks.size(), report.plan.ranks);
  if (counts != nullptr) {
    text +=
        fmt::format("signs      + {:.2f} %, - {:.2f} %, cancelled {:.2f} %, untouched {:.2f} %\n",
                    percent(counts->positive), percent(counts->negative),
                    percent(counts->cancelled), percent(counts->untouched));
    text +=
        fmt::format("conflicts  {:.2f} % before the trim, {:.2f} % after\n",
                    percent(counts->conflicts_before_trim), percent(counts->conflicts_after_trim));
  }
  text += fmt::format("memory     {} on the largest rank\n", base::human_bytes(report.peak_memory));
  return text;
}

}  // namespace mpimerge::app
