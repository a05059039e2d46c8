#include "mpimerge/report/document.hpp"

#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "mpimerge/base/checked.hpp"
#include "mpimerge/base/error.hpp"
#include "mpimerge/base/text.hpp"

namespace mpimerge::report {
namespace {

using nlohmann::ordered_json;

/// A value somewhere in the summary, which knows where for messages.
class Node {
 public:
  Node(const ordered_json& value, const std::string& file, std::string path)
      : value_(value), file_(file), path_(std::move(path)) {}

  [[noreturn]] void refuse(std::string_view what) const {
    throw base::Error(base::ErrorKind::input,
                      fmt::format("{}: summary: {}: {}; is the file damaged?", file_,
                                  base::printable(path_), what));
  }

  [[nodiscard]] std::optional<Node> find(const char* key) const {
    if (!value_.is_object()) refuse("expected an object");
    const auto found = value_.find(key);
    if (found == value_.end()) return std::nullopt;
    return Node(*found, file_, path_.empty() ? key : path_ + "." + key);
  }

  [[nodiscard]] Node at(const char* key) const {
    if (auto found = find(key)) return *found;
    refuse(fmt::format("`{}` is missing", key));
  }

  [[nodiscard]] std::vector<Node> items() const {
    if (!value_.is_array()) refuse("expected a list");
    std::vector<Node> nodes;
    for (const ordered_json& item : value_)
      nodes.emplace_back(item, file_, fmt::format("{}[{}]", path_, nodes.size()));
    return nodes;
  }

  [[nodiscard]] std::vector<Node> items(std::size_t expected) const {
    std::vector<Node> nodes = items();
    if (nodes.size() != expected)
      refuse(fmt::format("expected {} entries, found {}", expected, nodes.size()));
    return nodes;
  }

  [[nodiscard]] std::string text() const {
    if (!value_.is_string()) refuse("expected text");
    return value_.get<std::string>();
  }

  [[nodiscard]] bool yes() const {
    if (!value_.is_boolean()) refuse("expected true or false");
    return value_.get<bool>();
  }

  [[nodiscard]] std::uint64_t count(
      std::uint64_t most = std::numeric_limits<std::uint64_t>::max()) const {
    if (!value_.is_number_unsigned()) refuse("expected a count");
    const auto found = value_.get<std::uint64_t>();
    if (found > most) refuse(fmt::format("is {}; expected at most {}", found, most));
    return found;
  }

  /// null, for what is undefined, as NaN.
  [[nodiscard]] double number() const {
    if (value_.is_null()) return std::numeric_limits<double>::quiet_NaN();
    if (!value_.is_number()) refuse("expected a number");
    return value_.get<double>();
  }

  [[nodiscard]] bool is_null() const { return value_.is_null(); }
  [[nodiscard]] bool is_object() const { return value_.is_object(); }
  [[nodiscard]] const ordered_json& value() const { return value_; }

 private:
  const ordered_json& value_;
  const std::string& file_;
  std::string path_;
};

std::vector<double> numbers(const std::vector<Node>& nodes) {
  std::vector<double> list;
  list.reserve(nodes.size());
  for (const Node& node : nodes) list.push_back(node.number());
  return list;
}

std::vector<std::uint64_t> counts(const std::vector<Node>& nodes, std::uint64_t most) {
  std::vector<std::uint64_t> list;
  list.reserve(nodes.size());
  for (const Node& node : nodes) list.push_back(node.count(most));
  return list;
}

VectorNumbers read_vector(const Node& node, const Report& report, std::uint64_t elements) {
  VectorNumbers vector;
  vector.nonzero = node.at("nonzero").count(elements);
  vector.mean_magnitude = node.at("mean_magnitude").number();
  vector.norm = node.at("norm").number();
  vector.largest = node.at("largest").number();
  if (const auto kept = node.find("norm_kept")) vector.norm_kept = kept->number();
  vector.quantiles = numbers(node.at("quantiles").items(report.quantiles.size()));
  vector.norm_share = numbers(node.at("norm_share").items(report.densities.size()));
  return vector;
}

std::optional<Magnitude> read_magnitude(const std::optional<Node>& node) {
  if (!node) return std::nullopt;
  return Magnitude{node->at("mean_magnitude").number(), node->at("norm").number()};
}

Row read_row(const Node& node, const Report& report) {
  const std::size_t tasks = report.tasks.size();
  const std::size_t classes = report.agreement.size();
  Row row;
  row.elements = node.at("elements").count();
  if (const auto kept = node.find("kept")) row.kept = counts(kept->items(tasks), row.elements);
  if (const auto signs = node.find("signs")) {
    row.signs = {
        signs->at("positive").count(row.elements), signs->at("negative").count(row.elements),
        signs->at("cancelled").count(row.elements), signs->at("untouched").count(row.elements)};
  }
  if (const auto conflicts = node.find("conflicts")) {
    row.conflicts_before_trim = conflicts->at("before_trim").count(row.elements);
    if (const auto after = conflicts->find("after_trim"))
      row.conflicts_after_trim = after->count(row.elements);
  }
  if (const auto vectors = node.find("task_vectors")) {
    for (const Node& vector : vectors->items(tasks))
      row.task_vectors.push_back(read_vector(vector, report, row.elements));
  }
  const auto lists = [&](const char* key, std::size_t length, std::vector<std::uint64_t>& before,
                         std::vector<std::uint64_t>& after) {
    const auto found = node.find(key);
    if (!found) return;
    before = counts(found->at("before_trim").items(length), row.elements);
    if (const auto trimmed = found->find("after_trim"))
      after = counts(trimmed->items(length), row.elements);
  };
  lists("conflicts_by_tasks", tasks - 1, row.by_tasks_before_trim, row.by_tasks_after_trim);
  lists("agreement", classes, row.agreement_before_trim, row.agreement_after_trim);
  row.merged = read_magnitude(node.find("merged"));
  row.average = read_magnitude(node.find("average"));
  if (const auto found = node.find("by_agreement")) {
    row.average_by_agreement = numbers(found->at("average").items(classes));
    if (const auto merged = found->find("merged"))
      row.merged_by_agreement = numbers(merged->items(classes));
  }
  if (const auto pairs = node.find("pairs")) {
    const std::size_t number =
        report.paired_tasks < 2 ? 0 : report.paired_tasks * (report.paired_tasks - 1) / 2;
    row.cosine = numbers(pairs->at("cosine").items(number));
    row.sign_agreement = numbers(pairs->at("sign_agreement").items(number));
  }
  return row;
}

Report read_report(const Node& node) {
  Report report;
  report.level = node.at("level").text();
  for (const Node& task : node.at("tasks").items()) report.tasks.push_back(task.text());
  if (report.tasks.empty()) node.at("tasks").refuse("expected one at least");
  if (const auto trimmed = node.find("trimmed")) report.trimmed = trimmed->yes();
  const auto list = [&](const char* key, std::vector<double>& into) {
    if (const auto found = node.find(key)) into = numbers(found->items());
  };
  list("quantiles", report.quantiles);
  list("densities", report.densities);
  list("agreement", report.agreement);
  if (const auto paired = node.find("paired_tasks"))
    report.paired_tasks = paired->count(report.tasks.size());
  const Node all = node.at("all");
  report.tensors = all.at("tensors").count();
  report.all = read_row(all, report);
  std::uint64_t elements = 0;
  for (const Node& tensor : node.at("tensors").items()) {
    Tensor one;
    one.name = tensor.at("name").text();
    const auto layer = tensor.find("layer");
    if (layer && !layer->is_null()) one.layer = layer->count();
    one.kind = tensor.at("kind").text();
    one.row = read_row(tensor, report);
    // Sums over tensors, of whatever is counted, then fit as well.
    const auto sum = base::checked_add(elements, one.row.elements);
    if (!sum) tensor.refuse("the sum of all elements overflows 64 bits");
    elements = *sum;
    report.each.push_back(std::move(one));
  }
  return report;
}

// A number, or a text such as "by tensor".
std::string for_people(const ordered_json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return fmt::format("{:.6g}", value.get<double>());
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

std::vector<TaskSetting> read_tasks(const Node& list) {
  std::vector<TaskSetting> tasks;
  for (const Node& node : list.items()) {
    TaskSetting task;
    task.name = node.at("name").text();
    for (const auto& [key, value] : node.value().items()) {
      if (key == "name" || key == "threshold_bits" || key == "trim_rank" || key == "kept") continue;
      if (key == "threshold") {
        task.threshold = node.at("threshold").number();
      } else {
        task.parameters.emplace_back(key, for_people(value));
      }
    }
    tasks.push_back(std::move(task));
  }
  return tasks;
}

void read_provenance(const Node& provenance, Document& document) {
  if (const auto inputs = provenance.find("inputs")) {
    for (const Node& input : inputs->items()) document.inputs.push_back(input.at("path").text());
  }
  if (const auto runs = provenance.find("runs")) {
    for (const Node& run : runs->items()) document.started = run.at("started").text();
  }
}

}  // namespace

Document read_document(std::string_view summary, const std::string& name) {
  const std::string file = base::printable_path(name);
  const ordered_json json = ordered_json::parse(summary, nullptr, false);
  if (!json.is_object() || !json.contains("mpimerge")) {
    throw base::Error(
        base::ErrorKind::input,
        fmt::format("{}: has no summary of mpimerge; expected an output of `mpimerge merge`",
                    file));
  }
  const Node root(json, file, "");
  Document document;
  document.program = root.at("mpimerge").text();
  const auto report = root.find("report");
  if (!report || !report->is_object()) {
    throw base::Error(
        base::ErrorKind::input,
        fmt::format("{}: its summary has no statistics; expected those of a merge with `report: "
                    "basic` or `full`; give the job file instead, and they are counted now",
                    file));
  }
  document.report = read_report(*report);
  if (const auto base = root.find("base")) document.title = base->text();
  if (const auto method = root.find("method")) document.method = method->text();
  if (const auto ranks = root.find("ranks")) document.ranks = ranks->count();
  if (const auto parameters = root.find("parameters")) document.parameters = parameters->count();
  if (const auto tensors = root.find("tensors")) document.tensors = tensors->count();
  if (const auto tasks = root.find("tasks")) document.tasks = read_tasks(*tasks);
  if (const auto phases = root.find("phases")) {
    for (const Node& phase : phases->items()) {
      document.phases.push_back(
          {phase.at("name").text(), phase.at("seconds").number(), phase.at("bytes").count()});
    }
  }
  if (const auto provenance = root.find("provenance")) read_provenance(*provenance, document);
  return document;
}

}  // namespace mpimerge::report
