#include "app/statistics_json.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

namespace mpimerge::app {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kClasses = kernel::kAgreementClasses - 1;  // without: zero in all tasks

// JSON knows neither NaN nor infinity.
ordered_json number(double value) {
  return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr);
}

ordered_json numbers(std::span<const double> values) {
  auto list = ordered_json::array();
  for (const double value : values) list.push_back(number(value));
  return list;
}

ordered_json vector_json(const merge::VectorStatistics& vector, bool is_trimmed) {
  ordered_json json{{"nonzero", vector.nonzero},
                    {"mean_magnitude", number(vector.mean_magnitude)},
                    {"norm", number(vector.norm)},
                    {"largest", number(vector.largest)}};
  if (is_trimmed) json["norm_kept"] = number(vector.norm_kept);
  json["quantiles"] = numbers(vector.quantiles);
  json["norm_share"] = numbers(vector.norm_share);
  return json;
}

ordered_json magnitude_json(const merge::MagnitudeStatistics& magnitude) {
  return {{"mean_magnitude", number(magnitude.mean)}, {"norm", number(magnitude.norm)}};
}

void add_full(const merge::Statistics& of, const merge::FullStatistics& full, ordered_json& row) {
  auto vectors = ordered_json::array();
  for (const merge::VectorStatistics& vector : full.task_vectors)
    vectors.push_back(vector_json(vector, of.is_trimmed));
  row["task_vectors"] = std::move(vectors);
  const auto of_two_and_more = [](const std::vector<std::uint64_t>& counts) {
    return std::span(counts).subspan(counts.empty() ? 0 : 1);
  };
  row["conflicts_by_tasks"]["before_trim"] = of_two_and_more(full.conflicts_before);
  if (of.is_trimmed)
    row["conflicts_by_tasks"]["after_trim"] = of_two_and_more(full.conflicts_after);
  if (of.tasks <= kernel::kMostAgreeing) {
    row["agreement"]["before_trim"] = std::span(full.agreement_before).first(kClasses);
    if (of.is_trimmed)
      row["agreement"]["after_trim"] = std::span(full.agreement_after).first(kClasses);
  }
  if (of.has_merged) row["merged"] = magnitude_json(full.merged);
  row["average"] = magnitude_json(full.average);
  if (of.tasks <= kernel::kMostAgreeing) {
    if (of.has_merged)
      row["by_agreement"]["merged"] = numbers(std::span(full.merged.by_agreement).first(kClasses));
    row["by_agreement"]["average"] = numbers(std::span(full.average.by_agreement).first(kClasses));
  }
  row["pairs"] = {{"cosine", numbers(full.cosine)},
                  {"sign_agreement", numbers(full.sign_agreement)}};
}

void add_row(const merge::Statistics& of, const merge::RowStatistics& row, ordered_json& json) {
  json["elements"] = row.elements;
  if (of.is_trimmed) {
    const kernel::TiesCounts& counts = row.counts;
    json["kept"] = row.kept;
    json["signs"] = {{"positive", counts.positive},
                     {"negative", counts.negative},
                     {"cancelled", counts.cancelled},
                     {"untouched", counts.untouched}};
    json["conflicts"] = {{"before_trim", counts.conflicts_before_trim},
                         {"after_trim", counts.conflicts_after_trim}};
  } else if (row.full && of.tasks > 0) {
    json["conflicts"] = {{"before_trim", row.full->conflicts_before.back()}};
  }
  if (row.full) add_full(of, *row.full, json);
}

}  // namespace

ordered_json statistics_json(const merge::Statistics& statistics, const char* level,
                             const std::vector<std::string>& tasks) {
  ordered_json report{{"level", level}, {"tasks", tasks}, {"trimmed", statistics.is_trimmed}};
  if (statistics.is_full) {
    auto classes = ordered_json::array();
    for (std::size_t of = 0; of < kClasses; ++of) classes.push_back(static_cast<double>(of) / 10);
    report["quantiles"] = merge::kQuantiles;
    report["densities"] = merge::kDensities;
    report["agreement"] = std::move(classes);
    report["paired_tasks"] = kernel::StatisticsLayout{statistics.tasks}.paired();
  }
  ordered_json all{{"tensors", statistics.all.tensors}};
  add_row(statistics, statistics.all, all);
  report["all"] = std::move(all);
  auto kinds = ordered_json::array();
  for (const merge::Statistics::Kind& kind : statistics.kinds) {
    ordered_json row{{"kind", kind.name}, {"tensors", kind.row.tensors}};
    add_row(statistics, kind.row, row);
    kinds.push_back(std::move(row));
  }
  report["kinds"] = std::move(kinds);
  auto tensors = ordered_json::array();
  for (const merge::Statistics::Tensor& tensor : statistics.tensors) {
    ordered_json row{{"name", tensor.name}, {"layer", nullptr}};
    if (tensor.layer) row["layer"] = *tensor.layer;
    row["kind"] = statistics.kinds[tensor.kind].name;
    add_row(statistics, tensor.row, row);
    tensors.push_back(std::move(row));
  }
  report["tensors"] = std::move(tensors);
  return report;
}

}  // namespace mpimerge::app
