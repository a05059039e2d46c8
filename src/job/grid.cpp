#include "job/grid.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "mpimerge/method/method.hpp"

#include "job/section.hpp"

namespace mpimerge::job {
namespace {

// More is an accident: every point is a file, and has a job of its own in memory.
constexpr std::size_t kMostPoints = 1000;
// Of a point's values in a file's name, which may have 255 bytes.
constexpr std::size_t kMostNameBytes = 160;

// A number as it is, however it was spelled.
std::string text_of(const Node& node) {
  const char* const end = node.text.data() + node.text.size();
  double number = 0;
  const auto [last, status] = std::from_chars(node.text.data(), end, number);
  return status == std::errc{} && last == end ? fmt::format("{}", number) : node.text;
}

// "0.2", or "1_0.5" for a list.
std::string name_of(const Node& value) {
  if (value.kind != Node::Kind::list) return text_of(value);
  std::string name;
  for (const Node& item : value.items) name += (name.empty() ? "" : "_") + text_of(item);
  return name;
}

void erase(Node* map, std::string_view key) {
  if (map == nullptr || map->kind != Node::Kind::map) return;
  std::erase_if(map->entries, [&](const Entry& entry) { return entry.key == key; });
}

// Of a model, a slice or one of its sources.
void erase_parameter(Node& owner, std::string_view name) {
  if (owner.kind == Node::Kind::map) erase(owner.find("parameters"), name);
}

template <class Visit>
void each_item(Node& owner, std::string_view key, Visit visit) {
  Node* const list = owner.kind == Node::Kind::map ? owner.find(key) : nullptr;
  if (list == nullptr || list->kind != Node::Kind::list) return;
  for (Node& item : list->items) visit(item);
}

void set_parameter(Node& owner, const std::string& name, const Node& value) {
  Node* parameters = owner.find("parameters");
  if (parameters == nullptr) {
    owner.entries.push_back({"parameters", {}});
    parameters = &owner.entries.back().value;
    parameters->place = value.place;
  }
  if (parameters->kind == Node::Kind::nothing) parameters->kind = Node::Kind::map;
  if (parameters->kind != Node::Kind::map) return;  // a fault of its own
  if (Node* const known = parameters->find(name)) {
    *known = value;
  } else {
    parameters->entries.push_back({name, value});
  }
}

const method::Description* method_of(const Node& root) {
  const Node* const name = root.find("merge_method");
  return name == nullptr ? nullptr : method::find(name->text);
}

// The base among the models, which is left out of them.
bool is_plain_base(const Node& root, const Node& model) {
  const method::Description* const method = method_of(root);
  const Node* const base = root.find("base_model");
  const Node* const path = model.find("model");
  const Node* const parameters = model.find("parameters");
  return method != nullptr && method->base != method::Base::unused && base != nullptr &&
         path != nullptr && base->kind == Node::Kind::scalar && base->text == path->text &&
         (parameters == nullptr || parameters->kind == Node::Kind::nothing);
}

std::vector<Node*> models_of(Node& root) {
  std::vector<Node*> models;
  each_item(root, "models", [&](Node& model) {
    if (model.kind == Node::Kind::map && !is_plain_base(root, model)) models.push_back(&model);
  });
  return models;
}

}  // namespace

Grid::Grid(Node& root, Faults& faults) {
  const Node* const found = root.find("sweep");
  if (found == nullptr) return;
  const Node node = *found;
  erase(&root, "sweep");
  constexpr std::string_view kExpected =
      "a map of parameters and lists of their values, such as density: [0.1, 0.2]";
  const Value sweep(node, "sweep", faults);
  auto section = sweep.section(kExpected);
  const method::Description* const method = method_of(root);
  if (!section || method == nullptr) return;
  if (node.entries.empty()) sweep.fault_expected(kExpected);
  std::size_t name_bytes = 0;
  bool is_sound = true;
  for (const method::Parameter& parameter : method->parameters) {
    const auto value = section->find(parameter.name);
    if (!value || !value->items("a list of values")) continue;
    axes_.push_back({std::string(parameter.name), value->node().items});
    const bool of_models = parameter.of == method::Parameter::Of::model;
    const auto longest = check_values(axes_.back(), of_models, faults);
    is_sound = is_sound && longest;
    name_bytes += parameter.name.size() + 2 + longest.value_or(0);
  }
  section->finish(method->name);
  if (name_bytes > kMostNameBytes) {
    sweep.fault(
        fmt::format("found values of {} characters in all; expected at most {}, because outputs "
                    "are named by them",
                    name_bytes, kMostNameBytes));
  }
  // As the file has them.
  const auto place = [&](const Axis& axis) {
    return std::ranges::find(node.entries, axis.name, &Entry::key) - node.entries.begin();
  };
  std::ranges::sort(axes_, {}, place);
  std::size_t points = 1;
  for (const Axis& axis : axes_) points = std::min(points * axis.values.size(), kMostPoints + 1);
  if (points > kMostPoints)
    sweep.fault(fmt::format("found a grid of more than {} points; expected fewer", kMostPoints));
  // Else every point would complain of what is said already.
  if (points > kMostPoints || !is_sound) axes_.clear();
}

// That they are numbers, each within its limits, is for those to say who read a point's job.
// Returns the length of the longest in a name; nothing where some are no values at all.
std::optional<std::size_t> Grid::check_values(const Axis& axis, bool of_models, Faults& faults) {
  std::set<std::string> names;
  std::size_t longest = 0;
  bool is_sound = true;
  for (std::size_t number = 0; number < axis.values.size(); ++number) {
    const Node& node = axis.values[number];
    const Value value(node, fmt::format("sweep.{}[{}]", axis.name, number), faults);
    const bool is_list = node.kind == Node::Kind::list && of_models;
    const bool is_of_scalars =
        is_list && !node.items.empty() && std::ranges::all_of(node.items, [](const Node& item) {
          return item.kind == Node::Kind::scalar;
        });
    if (node.kind != Node::Kind::scalar && !is_of_scalars) {
      value.fault_expected(of_models ? "a number, or a list of one number per model" : "a number",
                           "what depends on the tensor stands under `parameters`");
      is_sound = false;
      continue;
    }
    const std::string name = name_of(node);
    longest = std::max(longest, name.size());
    if (!names.insert(name).second)
      value.fault(fmt::format("found {} twice; expected each value once", name));
  }
  return is_sound ? std::optional(longest) : std::nullopt;
}

std::vector<std::string> Grid::keys() const {
  std::vector<std::string> keys;
  for (const Axis& axis : axes_) keys.push_back(axis.name);
  return keys;
}

std::size_t Grid::points() const {
  std::size_t points = 1;
  for (const Axis& axis : axes_) points *= axis.values.size();
  return points;
}

const Node& Grid::value(std::size_t point, std::size_t axis) const {
  for (std::size_t later = axes_.size() - 1; later > axis; --later)
    point /= axes_[later].values.size();
  return axes_[axis].values[point % axes_[axis].values.size()];
}

std::vector<std::string> Grid::values(std::size_t point) const {
  std::vector<std::string> names;
  for (std::size_t axis = 0; axis < axes_.size(); ++axis)
    names.push_back(name_of(value(point, axis)));
  return names;
}

void Grid::apply(std::size_t point, Node& root, Faults& faults) const {
  for (std::size_t axis = 0; axis < axes_.size(); ++axis) {
    const std::string& name = axes_[axis].name;
    const Node& node = value(point, axis);
    erase_parameter(root, name);
    each_item(root, "models", [&](Node& model) { erase_parameter(model, name); });
    each_item(root, "slices", [&](Node& slice) {
      erase_parameter(slice, name);
      each_item(slice, "sources", [&](Node& source) { erase_parameter(source, name); });
    });
    if (node.kind != Node::Kind::list) {
      set_parameter(root, name, node);
      continue;
    }
    const std::vector<Node*> models = models_of(root);
    if (node.items.size() != models.size()) {
      Value(node, fmt::format("sweep.{}", name), faults)
          .fault(fmt::format("found a list of {}; expected a number for each of the {} `models`",
                             node.items.size(), models.size()));
      continue;
    }
    for (std::size_t model = 0; model < models.size(); ++model)
      set_parameter(*models[model], name, node.items[model]);
  }
}

}  // namespace mpimerge::job
