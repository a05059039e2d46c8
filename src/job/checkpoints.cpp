#include "job/checkpoints.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <fnmatch.h>

#include "mpimerge/base/text.hpp"

#include "job/paths.hpp"
#include "job/tree.hpp"

namespace mpimerge::job {
namespace {

bool is_digit(char letter) { return letter >= '0' && letter <= '9'; }

/// Local. The digits that `text` begins with, without leading zeros, which are passed over.
std::string_view take_number(std::string_view& text) {
  const auto end = std::find_if_not(text.begin(), text.end(), is_digit);
  std::string_view digits = text.substr(0, static_cast<std::size_t>(end - text.begin()));
  text.remove_prefix(digits.size());
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
  return digits;
}

/// Local. step_9 before step_10.
bool comes_before(std::string_view a, std::string_view b) {
  while (!a.empty() && !b.empty()) {
    if (is_digit(a.front()) && is_digit(b.front())) {
      const std::string_view number_a = take_number(a);
      const std::string_view number_b = take_number(b);
      if (number_a.size() != number_b.size()) return number_a.size() < number_b.size();
      if (number_a != number_b) return number_a < number_b;
      continue;
    }
    if (a.front() != b.front()) return a.front() < b.front();
    a.remove_prefix(1);
    b.remove_prefix(1);
  }
  return a.size() < b.size();
}

std::vector<std::string> names_in(const std::filesystem::path& directory,
                                  const std::string& pattern) {
  std::vector<std::string> names;
  std::error_code failed;
  std::filesystem::directory_iterator entry(directory.empty() ? "." : directory, failed);
  for (; !failed && entry != std::filesystem::directory_iterator(); entry.increment(failed)) {
    std::string name = entry->path().filename().string();
    if (::fnmatch(pattern.c_str(), name.c_str(), FNM_PERIOD) == 0) names.push_back(std::move(name));
  }
  // Where two differ in leading zeros only, the order of the directory must not count.
  std::sort(names.begin(), names.end());
  std::stable_sort(names.begin(), names.end(), comes_before);
  return names;
}

std::vector<double> moving_average(double kept, std::size_t checkpoints) {
  std::vector<double> weights(checkpoints, 1 - kept);
  weights.front() = 1;
  double share = 1;
  for (std::size_t i = checkpoints; i-- > 0; share *= kept) weights[i] *= share;
  return weights;
}

/// Local. c_i = w_i − w_(i+1), where w falls from 1 at the first checkpoint to 0 behind the last.
template <class Curve>
std::vector<double> decay(std::size_t checkpoints, Curve curve) {
  std::vector<double> weights;
  const auto left = [&](std::size_t i) {
    return curve(static_cast<double>(i) / static_cast<double>(checkpoints));
  };
  for (std::size_t i = 0; i < checkpoints; ++i) weights.push_back(left(i) - left(i + 1));
  return weights;
}

std::optional<std::vector<double>> read_list(const Value& value, std::size_t checkpoints) {
  const auto items = value.items("a list of weights");
  if (!items) return std::nullopt;
  std::vector<double> weights;
  for (const Value& item : *items)
    if (const auto weight = item.number()) weights.push_back(*weight);
  if (weights.size() != items->size()) return std::nullopt;
  if (weights.size() == checkpoints) return weights;
  value.fault(fmt::format("found {} weights; expected one for each of the {} checkpoints",
                          weights.size(), checkpoints));
  return std::nullopt;
}

/// Local. Nothing where all count alike, or after a fault.
std::optional<std::vector<double>> read_weights(const Value& value, std::size_t checkpoints) {
  if (value.node().kind == Node::Kind::list) return read_list(value, checkpoints);
  if (value.node().kind == Node::Kind::map) {
    auto section = value.section("a map with ema");
    const auto ema = section->require("ema", "a number from 0 to 1, such as 0.99");
    section->finish();
    const auto kept = ema ? ema->number() : std::nullopt;
    if (!kept) return std::nullopt;
    if (*kept >= 0 && *kept < 1) return moving_average(*kept, checkpoints);
    ema->fault_expected("a number of at least 0 and below 1");
    return std::nullopt;
  }
  enum class Shape { uniform, linear, cosine, minus_sqrt };
  Shape shape = Shape::uniform;
  value.read_choice(shape, {{"uniform", Shape::uniform},
                            {"linear", Shape::linear},
                            {"cosine", Shape::cosine},
                            {"minus-sqrt", Shape::minus_sqrt}});
  switch (shape) {
    case Shape::uniform: return std::nullopt;
    case Shape::linear: return decay(checkpoints, [](double x) { return 1 - x; });
    case Shape::cosine:
      return decay(checkpoints, [](double x) { return (1 + std::cos(std::numbers::pi * x)) / 2; });
    case Shape::minus_sqrt: return decay(checkpoints, [](double x) { return 1 - std::sqrt(x); });
  }
  return std::nullopt;
}

}  // namespace

std::vector<Task> read_checkpoints(const Value& value, const std::filesystem::path& directory) {
  std::vector<Task> tasks;
  auto section = value.section("a map with pattern and, if need be, weights");
  if (!section) return tasks;
  const auto given = section->require("pattern", "a path such as run/step_*");
  const auto weighting = section->find("weights");
  section->finish();
  const auto spelled = given ? read_path(*given, "a path such as run/step_*") : std::nullopt;
  if (!spelled) return tasks;
  const std::filesystem::path pattern = without_trailing_slashes(*spelled);
  const std::filesystem::path from = resolve(pattern.parent_path().string(), directory);
  const auto names = names_in(from, pattern.filename().string());
  if (names.empty()) {
    given->fault_expected(fmt::format("a pattern that something in {} fits",
                                      base::printable_path(from.empty() ? "." : from)),
                          "`*` stands for any part of one name");
    return tasks;
  }
  const auto weights = weighting ? read_weights(*weighting, names.size()) : std::nullopt;
  for (std::size_t number = 0; number < names.size(); ++number) {
    Task task;
    task.name = (pattern.parent_path() / names[number]).string();
    task.path = (from / names[number]).string();
    task.line = value.node().place.line;
    if (weights) task.parameters.emplace("weight", method::Setting((*weights)[number]));
    tasks.push_back(std::move(task));
  }
  return tasks;
}

}  // namespace mpimerge::job
