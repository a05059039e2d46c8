#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace mpimerge::report {

using nlohmann::ordered_json;

// Summaries of two tasks, with numbers that are easily checked by hand.

/// Basic statistics of a tensor: `kept`, `before` and `after` elements of `elements`.
inline ordered_json basic_row(unsigned elements, std::vector<unsigned> kept, unsigned before,
                              unsigned after) {
  return {{"elements", elements},
          {"kept", kept},
          {"signs", {{"positive", 1}, {"negative", 2}, {"cancelled", 0}, {"untouched", 0}}},
          {"conflicts", {{"before_trim", before}, {"after_trim", after}}}};
}

/// The same with full statistics: norms 3 and 4, cosine `cosine`.
inline ordered_json full_row(unsigned elements, std::vector<unsigned> kept, unsigned before,
                             unsigned after, double cosine) {
  ordered_json row = basic_row(elements, std::move(kept), before, after);
  for (const double norm : {3.0, 4.0}) {
    row["task_vectors"].push_back({{"nonzero", elements},
                                   {"mean_magnitude", 0.25},
                                   {"norm", norm},
                                   {"largest", 2.5},
                                   {"norm_kept", 0.875},
                                   {"quantiles", {0.5}},
                                   {"norm_share", {0.75, 1.0}}});
  }
  row["conflicts_by_tasks"] = {{"before_trim", {before}}, {"after_trim", {after}}};
  row["agreement"] = {{"before_trim", {3, 1}}, {"after_trim", {1, 3}}};
  row["merged"] = {{"mean_magnitude", 0.5}, {"norm", 6}};
  row["average"] = {{"mean_magnitude", 0.125}, {"norm", 2}};
  row["by_agreement"] = {{"merged", {0.5, 0.75}}, {"average", {0.25, nullptr}}};
  row["pairs"] = {{"cosine", {cosine}}, {"sign_agreement", {0.625}}};
  return row;
}

inline ordered_json tensor(ordered_json row, const std::string& name, const ordered_json& layer,
                           const std::string& kind) {
  row["name"] = name;
  row["layer"] = layer;
  row["kind"] = kind;
  return row;
}

/// A summary around some tensors.
inline ordered_json summary_of(const std::string& level, ordered_json all, ordered_json tensors) {
  all["tensors"] = tensors.size();
  return {{"mpimerge", "1.2.3"},
          {"ranks", 4},
          {"method", "ties"},
          {"tasks",
           {{{"name", "math"}, {"density", 0.2}, {"threshold", 0.001}, {"kept", 3}},
            {{"name", "code"}, {"density", "by tensor"}, {"threshold", nullptr}, {"kept", 5}}}},
          {"phases", {{{"name", "merge"}, {"seconds", 1.5}, {"bytes", 2000}}}},
          {"report",
           {{"level", level},
            {"tasks", {"math", "code"}},
            {"trimmed", true},
            {"quantiles", {0.5}},
            {"densities", {0.25, 1.0}},
            {"agreement", {0.0, 1.0}},
            {"paired_tasks", 2},
            {"all", all},
            {"tensors", tensors}}}};
}

/// Two layers of weights, experts in the second, and an embedding.
inline ordered_json full_summary() {
  return summary_of(
      "full", full_row(40, {8, 20}, 10, 4, 0.5),
      ordered_json::array(
          {tensor(full_row(10, {1, 9}, 2, 1, 0.5), "embed.weight", nullptr, "embed.weight"),
           tensor(full_row(10, {2, 5}, 4, 2, 0.25), "h.0.up.weight", 0, "h.*.up.weight"),
           tensor(full_row(10, {3, 4}, 1, 1, 0.5), "h.1.up.weight", 1, "h.*.up.weight"),
           tensor(full_row(4, {1, 1}, 2, 0, 1), "h.1.experts.0.w", 1, "h.*.experts.0.w"),
           tensor(full_row(6, {1, 1}, 1, 0, -1), "h.1.experts.1.w", 1, "h.*.experts.1.w")}));
}

inline ordered_json basic_summary() {
  return summary_of(
      "basic", basic_row(10, {2, 5}, 4, 2),
      ordered_json::array({tensor(basic_row(10, {2, 5}, 4, 2), "h.0.up", 0, "h.*.up")}));
}

}  // namespace mpimerge::report
