#include "report/tables.hpp"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "report/markup.hpp"

namespace mpimerge::report {
namespace {

constexpr std::size_t kMostTensors = 10'000;

std::string head(std::string_view text, bool is_number = true) {
  return fmt::format("<th scope=\"col\"{}>{}</th>", is_number ? " class=\"n\"" : "", text);
}

// Keyboards scroll what has the focus.
std::string table(std::string_view id, std::string_view label, std::string_view heads,
                  std::string_view rows) {
  return fmt::format(
      "<div class=\"table\" role=\"region\" tabindex=\"0\" aria-label=\"{1}\">\n"
      "<table "
      "id=\"{0}\"><caption>{1}</caption>\n<thead><tr>{2}</tr></thead>\n<tbody>\n{3}</tbody>\n"
      "</table></div>\n",
      id, label, heads, rows);
}

// May break after a dot or an underscore, where there is little room.
std::string row_head(std::string_view name) {
  std::string broken;
  for (const char letter : code(name)) {
    broken += letter;
    if (letter == '.' || letter == '_') broken += "<wbr>";
  }
  return "<th scope=\"row\">" + broken + "</th>";
}

// The columns of what was counted over some tensors, which all rows of a table have, or none.
std::string count_heads(const Sums& sums) {
  std::string heads = head("elements");
  if (sums.conflicts_before_trim)
    heads += head(sums.conflicts_after_trim ? "conflicts before the trim" : "conflicts");
  if (sums.conflicts_after_trim) heads += head("after the trim");
  if (!sums.kept.empty()) heads += head("kept, mean of tasks");
  if (sums.signs) heads += head("sign +") + head("sign −") + head("cancelled") + head("untouched");
  if (!sums.vector_squares.empty()) heads += head("norm, mean of tasks");
  if (sums.merged_square) heads += head("norm, merged");
  return heads;
}

std::string count_cells(const Sums& sums) {
  std::string cells = count_cell(sums.elements);
  if (sums.conflicts_before_trim) cells += percent_cell(sums.share(*sums.conflicts_before_trim));
  if (sums.conflicts_after_trim) cells += percent_cell(sums.share(*sums.conflicts_after_trim));
  if (!sums.kept.empty()) cells += percent_cell(sums.mean_kept_share());
  if (sums.signs) {
    cells += percent_cell(sums.share(sums.signs->positive)) +
             percent_cell(sums.share(sums.signs->negative)) +
             percent_cell(sums.share(sums.signs->cancelled)) +
             percent_cell(sums.share(sums.signs->untouched));
  }
  if (!sums.vector_squares.empty()) {
    double norms = 0;
    for (const double square : sums.vector_squares) norms += std::sqrt(square);
    cells += number_cell(norms / static_cast<double>(sums.vector_squares.size()));
  }
  if (sums.merged_square) cells += number_cell(std::sqrt(*sums.merged_square));
  return cells;
}

Sums of_tensor(const Tensor& tensor, const Report& report) {
  Sums sums;
  sums.add(tensor.row, report.paired_tasks);
  return sums;
}

// A setting's value of a task, or nothing.
std::string setting(const TaskSetting& task, const std::string& name) {
  for (const auto& [key, value] : task.parameters) {
    if (key == name) return value;
  }
  return {};
}

std::vector<std::string> setting_names(const std::vector<TaskSetting>& tasks) {
  std::vector<std::string> names;
  for (const TaskSetting& task : tasks) {
    for (const auto& parameter : task.parameters) {
      if (std::find(names.begin(), names.end(), parameter.first) == names.end())
        names.push_back(parameter.first);
    }
  }
  return names;
}

// Where a quantile stands in the list, if it does.
std::size_t place_of(const std::vector<double>& list, double wanted) {
  return static_cast<std::size_t>(std::find(list.begin(), list.end(), wanted) - list.begin());
}

}  // namespace

std::string task_table(const Document& document) {
  const Report& report = document.report;
  const Row& all = report.all;
  // Tasks of the summary and of its statistics are the same list.
  const bool has_settings = document.tasks.size() == report.tasks.size();
  const std::vector<std::string> names =
      has_settings ? setting_names(document.tasks) : std::vector<std::string>{};
  const bool has_threshold =
      has_settings &&
      std::any_of(document.tasks.begin(), document.tasks.end(),
                  [](const TaskSetting& task) { return task.threshold.has_value(); });
  const std::size_t median = place_of(report.quantiles, 0.5);

  std::string heads = head("", false) + head("task", false);
  for (const std::string& name : names) heads += head(escape(name, 40));
  if (has_threshold) heads += head("threshold");
  if (!all.kept.empty()) heads += head("kept") + head("kept of all");
  if (!all.task_vectors.empty()) {
    if (all.task_vectors.front().norm_kept) heads += head("squared norm kept");
    heads += head("non-zero") + head("norm") + head("mean <span class=\"w\">|τ|</span>");
    if (median < report.quantiles.size()) heads += head("median <span class=\"w\">|τ|</span>");
    heads += head("largest <span class=\"w\">|τ|</span>");
  }

  std::string rows;
  for (std::size_t task = 0; task < report.tasks.size(); ++task) {
    rows += fmt::format("<tr><td class=\"n\">{}</td>", task + 1) + row_head(report.tasks[task]);
    for (const std::string& name : names)
      rows +=
          fmt::format("<td class=\"n\">{}</td>", escape(setting(document.tasks[task], name), 40));
    if (has_threshold) rows += number_cell(document.tasks[task].threshold.value_or(NAN));
    if (!all.kept.empty()) {
      rows += count_cell(all.kept[task]) +
              percent_cell(static_cast<double>(all.kept[task]) / static_cast<double>(all.elements));
    }
    if (!all.task_vectors.empty()) {
      const VectorNumbers& vector = all.task_vectors[task];
      if (all.task_vectors.front().norm_kept) rows += percent_cell(vector.norm_kept.value_or(NAN));
      rows +=
          percent_cell(static_cast<double>(vector.nonzero) / static_cast<double>(all.elements)) +
          number_cell(vector.norm) + number_cell(vector.mean_magnitude);
      if (median < report.quantiles.size()) rows += number_cell(vector.quantiles[median]);
      rows += number_cell(vector.largest);
    }
    rows += "</tr>\n";
  }
  return table("tasks", "Task by task", heads, rows);
}

std::string kind_table(const Groups& groups) {
  if (groups.kinds.empty()) return {};
  std::string rows;
  for (const KindGroup& kind : groups.kinds) {
    rows += "<tr>" + row_head(kind.name) + count_cell(kind.all.tensors) + count_cells(kind.all) +
            "</tr>\n";
  }
  return table("kinds", "By kind of tensor",
               head("kind", false) + head("tensors") + count_heads(groups.kinds.front().all), rows);
}

std::string layer_table(const Groups& groups) {
  if (groups.layers.empty()) return {};
  std::string rows;
  for (const LayerGroup& layer : groups.layers) {
    const std::string stack = layer.stack.substr(0, layer.stack.find('*'));
    rows += "<tr>" + row_head(fmt::format("{}{}", stack, layer.number)) +
            count_cell(layer.sums.tensors) + count_cells(layer.sums) + "</tr>\n";
  }
  return table("layers", "By layer",
               head("layer", false) + head("tensors") + count_heads(groups.layers.front().sums),
               rows);
}

std::string tensor_table(const Report& report) {
  if (report.each.empty()) return {};
  std::string rows;
  for (std::size_t number = 0; number < std::min(report.each.size(), kMostTensors); ++number) {
    const Tensor& tensor = report.each[number];
    rows += "<tr>" + row_head(tensor.name) + count_cells(of_tensor(tensor, report)) + "</tr>\n";
  }
  std::string made =
      table("tensors", "Tensor by tensor",
            head("tensor", false) + count_heads(of_tensor(report.each.front(), report)), rows);
  if (report.each.size() > kMostTensors) {
    made += fmt::format("<p>The other {} tensors are in the JSON beside this page.</p>\n",
                        grouped(report.each.size() - kMostTensors));
  }
  return made;
}

}  // namespace mpimerge::report
