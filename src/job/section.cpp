#include "job/section.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "mpimerge/base/text.hpp"

#include "job/spelling.hpp"

namespace mpimerge::job {
namespace {

bool contains(std::span<const std::string_view> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

bool is_digit(char letter) { return letter >= '0' && letter <= '9'; }

/// Local. YAML 1.2's decimal numbers (1, -2.5, .5, 1e-3), as infinity where a double cannot hold
/// them.
std::optional<double> parse_number(std::string_view text) {
  if (text.starts_with('+') && text.size() > 1 && text[1] != '-') text.remove_prefix(1);
  const std::string_view digits = text.substr(text.starts_with('-') ? 1 : 0);
  if (digits.empty() || (!is_digit(digits[0]) && digits[0] != '.')) return std::nullopt;
  double value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size()) return std::nullopt;
  if (status == std::errc::result_out_of_range) return std::numeric_limits<double>::infinity();
  if (status != std::errc{}) return std::nullopt;
  return value;
}

bool names_no_finite_number(std::string_view text) {
  if (text.starts_with('+') || text.starts_with('-')) text.remove_prefix(1);
  if (text.starts_with('.')) text.remove_prefix(1);
  return text == "inf" || text == "Inf" || text == "INF" || text == "nan" || text == "NaN" ||
         text == "NAN";
}

}  // namespace

void Value::fault_expected(std::string_view expected, std::string_view remedy) const {
  fault(fmt::format("found {}; expected {}{}{}", describe(*node_), expected,
                    remedy.empty() ? "" : "; ", remedy));
}

std::optional<std::string> Value::text(std::string_view expected) const {
  if (node_->kind == Node::Kind::scalar && !node_->text.empty()) return node_->text;
  fault_expected(expected);
  return std::nullopt;
}

std::optional<double> Value::number() const {
  if (node_->kind == Node::Kind::scalar) {
    const auto value = parse_number(node_->text);
    if (value && std::abs(*value) <= std::numeric_limits<float>::max()) return value;
    if (value || names_no_finite_number(node_->text)) {
      fault_expected("a finite number within the range of float32");
      return std::nullopt;
    }
  }
  fault_expected("a number");
  return std::nullopt;
}

std::optional<std::vector<Value>> Value::items(std::string_view expected) const {
  if (node_->kind != Node::Kind::list || node_->items.empty()) {
    fault_expected(expected);
    return std::nullopt;
  }
  std::vector<Value> values;
  for (std::size_t i = 0; i < node_->items.size(); ++i) {
    values.emplace_back(node_->items[i], fmt::format("{}.{}", key_, i), *faults_);
  }
  return values;
}

std::optional<Section> Value::section(std::string_view expected) const {
  if (node_->kind == Node::Kind::map) return Section(*node_, key_, *faults_);
  fault_expected(expected);
  return std::nullopt;
}

std::optional<std::size_t> Value::choice(std::span<const std::string_view> supported) const {
  if (node_->kind == Node::Kind::scalar) {
    const auto found = std::ranges::find(supported, node_->text);
    if (found != supported.end()) return static_cast<std::size_t>(found - supported.begin());
  }
  fault(fmt::format("found {}; expected {}{}{}", describe(*node_),
                    supported.size() > 1 ? "one of " : "", fmt::join(supported, ", "),
                    did_you_mean(node_->text, supported)));
  return std::nullopt;
}

std::optional<Value> Section::find(std::string_view key) {
  if (!contains(known_, key)) known_.push_back(key);
  const Node* found = node_->find(key);
  if (found == nullptr) return std::nullopt;
  return value(std::string(key), *found);
}

std::optional<Value> Section::find_filled(std::string_view key) {
  auto found = find(key);
  if (found && found->node().kind == Node::Kind::nothing) return std::nullopt;
  return found;
}

std::optional<Value> Section::require(std::string_view key, std::string_view expected) {
  auto found = find(key);
  if (!found) fault(key, fmt::format("missing; expected {}", expected));
  return found;
}

void Section::refuse(std::initializer_list<std::string_view> keys, std::string_view why) {
  for (const std::string_view key : keys) {
    if (contains(known_, key) || contains(refused_, key)) continue;
    refused_.push_back(key);
    const Node* found = node_->find(key);
    if (found != nullptr && found->kind != Node::Kind::nothing) fault(key, why);
  }
}

void Section::fault(std::string_view key, std::string_view message) const {
  const Node* found = node_->find(key);
  value(std::string(key), found == nullptr ? *node_ : *found).fault(message);
}

void Section::fault(std::string_view key, std::string_view inner, std::string_view message) const {
  const Node* outer = node_->find(key);
  const Node* found = outer == nullptr ? nullptr : outer->find(inner);
  if (found == nullptr) found = outer == nullptr ? node_ : outer;
  value(fmt::format("{}.{}", key, inner), *found).fault(message);
}

std::vector<Value> Section::rest() {
  std::vector<Value> others;
  for (const Entry& entry : node_->entries) {
    if (!contains(known_, entry.key) && !contains(refused_, entry.key))
      others.push_back(value(entry.key, entry.value));
  }
  return others;
}

void Section::finish(std::string_view method) {
  for (const Entry& entry : node_->entries) {
    if (contains(known_, entry.key) || contains(refused_, entry.key)) continue;
    const std::string meant = did_you_mean(entry.key, known_);
    const std::string known = known_.empty() ? "none" : fmt::format("{}", fmt::join(known_, ", "));
    if (entry.key == "<<") {
      fault(entry.key, "unknown key; YAML merge keys are not supported; write the keys out");
    } else if (method.empty() || !meant.empty()) {
      fault(entry.key, "unknown key" + (meant.empty() ? "; expected " + known : meant));
    } else {
      fault(entry.key, fmt::format("{} is not a parameter of {}; it has {}",
                                   base::printable(entry.key), method, known));
    }
  }
}

Value Section::value(const std::string& key, const Node& node) const {
  return {node, key_.empty() ? key : fmt::format("{}.{}", key_, key), *faults_};
}

}  // namespace mpimerge::job
