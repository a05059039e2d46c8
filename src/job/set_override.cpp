#include "job/set_override.hpp"

#include <charconv>
#include <cstddef>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/text.hpp"

namespace mpimerge::job {
namespace {

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
  throw base::Error(base::ErrorKind::usage,
                    fmt::format("--set {}: {}", base::printable(text), why));
}

std::vector<std::string> split(std::string_view key) {
  std::vector<std::string> steps;
  for (;;) {
    const std::size_t dot = key.find('.');
    steps.emplace_back(key.substr(0, dot));
    if (dot == std::string_view::npos) return steps;
    key.remove_prefix(dot + 1);
  }
}

std::optional<std::size_t> parse_index(std::string_view step) {
  std::size_t index = 0;
  const auto [end, status] = std::from_chars(step.data(), step.data() + step.size(), index);
  if (status != std::errc{} || end != step.data() + step.size()) return std::nullopt;
  return index;
}

Node* member(Node& map, const std::string& step, Place place) {
  if (Node* found = map.find(step)) return found;
  Node made;
  made.place = place;
  map.entries.push_back({step, std::move(made)});
  return &map.entries.back().value;
}

Node* element(Node& list, const std::string& step, Place place) {
  const auto index = parse_index(step);
  if (!index || *index > list.items.size()) return nullptr;
  if (*index == list.items.size()) list.items.emplace_back().place = place;
  return &list.items[*index];
}

/// Local. The value one step below `at`, made if need be, or why there is none.
Node* step_down(Node& at, const std::string& step, Place place, std::string& why_not) {
  if (at.kind == Node::Kind::nothing) at.kind = Node::Kind::map;
  if (at.kind == Node::Kind::map) return member(at, step, place);
  if (at.kind == Node::Kind::scalar) {
    why_not = fmt::format("found {} above `{}`; expected a map or a list", describe(at),
                          base::printable(step));
    return nullptr;
  }
  Node* found = element(at, step, place);
  if (found == nullptr) {
    why_not = fmt::format("`{}` is no index of {}; expected 0 to {}, where the last one appends",
                          base::printable(step), describe(at), at.items.size());
  }
  return found;
}

Node read_value(const SetOverride& override, int set, Faults& faults) {
  try {
    return read_tree(override.value, set, override.key, faults);
  } catch (const UnreadableYaml& error) {
    refuse(override.key + "=" + override.value,
           fmt::format("VALUE cannot be read: {}", error.what()));
  }
}

}  // namespace

SetOverride parse_set_override(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos)
    refuse(text, "expected KEY=VALUE, such as parameters.density=0.3");
  SetOverride override{std::string(text.substr(0, equals)), split(text.substr(0, equals)),
                       std::string(text.substr(equals + 1))};
  for (const std::string& step : override.steps) {
    if (step.empty())
      refuse(text,
             "KEY has an empty part; expected a dotted path, such as models.0.parameters.density");
  }
  if (override.steps.size() > kMaxYamlDepth) {
    refuse(text, fmt::format("KEY has {} parts; expected at most {}", override.steps.size(),
                             kMaxYamlDepth));
  }
  return override;
}

void apply(const SetOverride& override, int set, Node& root, Faults& faults) {
  const Place place{0, set};
  Node value = read_value(override, set, faults);
  Node* at = &root;
  std::string why_not;
  for (const std::string& step : override.steps) {
    at = step_down(*at, step, place, why_not);
    if (at == nullptr) return faults.add(place, override.key, why_not);
  }
  *at = std::move(value);
  at->place = place;
}

}  // namespace mpimerge::job
