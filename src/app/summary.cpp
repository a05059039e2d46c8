#include "app/summary.hpp"

#include <bit>
#include <cmath>

#include <fmt/format.h>

#include "mpimerge/base/text.hpp"

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

nlohmann::ordered_json tasks_json(const MergeReport& report) {
  auto tasks = nlohmann::ordered_json::array();
  for (std::size_t number = 0; number < report.job.tasks.size(); ++number) {
    const job::Task& task = report.job.tasks[number];
    const merge::TaskTrim& trim = report.ties.tasks()[number];
    tasks.push_back({{"name", task.name},
                     {"density", task.density},
                     {"weight", task.weight},
                     {"trim_rank", trim.trim_rank},
                     {"threshold", number_or_null(threshold_of(trim))},
                     {"threshold_bits", fmt::format("0x{:08x}", trim.threshold_bits)},
                     {"kept", trim.kept}});
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
  const kernel::TiesCounts& counts = report.ties.counts();
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
  return {{"mpimerge", MPIMERGE_VERSION},
          {"ranks", report.plan.ranks},
          {"method", "ties"},
          {"parameters", report.plan.merged.value()},
          {"tensors", report.plan.tensors.size()},
          {"tasks", tasks_json(report)},
          {"signs",
           {{"positive", counts.positive},
            {"negative", counts.negative},
            {"cancelled", counts.cancelled},
            {"untouched", counts.untouched}}},
          {"conflicts",
           {{"before_trim", counts.conflicts_before_trim},
            {"after_trim", counts.conflicts_after_trim}}},
          {"memory", plan::name(plan::residency(report.memory.all))},
          {"memory_plan", memory_json(report.memory)},
          {"phases", phases},
          {"peak_rss_bytes", report.peak_memory.value()},
          {"hdf5", hdf5},
          {"provenance", report.provenance}};
}

std::string summary_table(const MergeReport& report) {
  const auto parameters = static_cast<double>(report.plan.merged.value());
  const auto percent = [&](std::uint64_t count) {
    return 100 * static_cast<double>(count) / parameters;
  };
  std::size_t width = 4;
  for (const job::Task& task : report.job.tasks) width = std::max(width, task.name.size());
  std::string text = fmt::format("{:<{}}  {:>8}  {:>8}  {:>13}  {:>16}  {:>7}\n", "task", width,
                                 "density", "weight", "threshold", "kept", "kept %");
  for (std::size_t number = 0; number < report.job.tasks.size(); ++number) {
    const job::Task& task = report.job.tasks[number];
    const merge::TaskTrim& trim = report.ties.tasks()[number];
    text +=
        fmt::format("{:<{}}  {:>8.4g}  {:>8.4g}  {:>13.6e}  {:>16}  {:>7.2f}\n", task.name, width,
                    task.density, task.weight, threshold_of(trim), trim.kept, percent(trim.kept));
  }
  const kernel::TiesCounts& counts = report.ties.counts();
  text += fmt::format("parameters {}, tasks {}, ranks {}\n", report.plan.merged.value(),
                      report.job.tasks.size(), report.plan.ranks);
  text += fmt::format("signs      + {:.2f} %, - {:.2f} %, cancelled {:.2f} %, untouched {:.2f} %\n",
                      percent(counts.positive), percent(counts.negative), percent(counts.cancelled),
                      percent(counts.untouched));
  text += fmt::format("conflicts  {:.2f} % before the trim, {:.2f} % after\n",
                      percent(counts.conflicts_before_trim), percent(counts.conflicts_after_trim));
  text += fmt::format("memory     {} on the largest rank\n", base::human_bytes(report.peak_memory));
  return text;
}

}  // namespace mpimerge::app
