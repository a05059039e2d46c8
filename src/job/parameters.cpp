#include "job/parameters.hpp"

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "job/rules.hpp"
#include "job/tree.hpp"

namespace mpimerge::job {
namespace {

constexpr double kMost = std::numeric_limits<float>::max();

std::string expected_number(const method::Parameter& parameter) {
  if (parameter.is_flag) return "true or false";
  const bool has_least = parameter.least > -kMost;
  const bool has_most = parameter.most < kMost;
  if (has_least && has_most) {
    return parameter.above_least
               ? fmt::format("a number above {:g} and at most {:g}", parameter.least,
                             parameter.most)
               : fmt::format("a number from {:g} to {:g}", parameter.least, parameter.most);
  }
  if (has_least) {
    return fmt::format("a number {} {:g}", parameter.above_least ? "above" : "of at least",
                       parameter.least);
  }
  return has_most ? fmt::format("a number of at most {:g}", parameter.most) : "a number";
}

std::optional<double> read_flag(const Value& value) {
  const Node& node = value.node();
  if (node.kind == Node::Kind::scalar) {
    for (const std::string_view yes : {"true", "True", "TRUE", "1"})
      if (node.text == yes) return 1;
    for (const std::string_view no : {"false", "False", "FALSE", "0"})
      if (node.text == no) return 0;
  }
  value.fault_expected("true or false");
  return std::nullopt;
}

std::optional<double> read_number(const Value& value, const method::Parameter& parameter) {
  if (parameter.is_flag) return read_flag(value);
  const auto number = value.number();
  if (!number) return std::nullopt;
  const bool is_high_enough =
      parameter.above_least ? *number > parameter.least : *number >= parameter.least;
  if (is_high_enough && *number <= parameter.most) return number;
  const std::string remedy =
      parameter.most == 1 && *number > 1 && *number <= 100
          ? fmt::format("{} % is written {:g}", value.node().text, *number / 100)
          : std::string();
  value.fault_expected(expected_number(parameter), remedy);
  return std::nullopt;
}

/// Local. A number, or numbers from the first layer to the last.
std::optional<std::vector<double>> read_numbers(const Value& value,
                                                const method::Parameter& parameter) {
  if (value.node().kind != Node::Kind::list || parameter.is_flag) {
    const auto number = read_number(value, parameter);
    return number ? std::optional(std::vector{*number}) : std::nullopt;
  }
  const auto items = value.items("a number, or a list of numbers from the first layer to the last");
  if (!items) return std::nullopt;
  std::vector<double> numbers;
  for (const Value& item : *items)
    if (const auto number = read_number(item, parameter)) numbers.push_back(*number);
  return numbers.size() == items->size() ? std::optional(std::move(numbers)) : std::nullopt;
}

std::optional<method::Setting::Case> read_case(const Value& value,
                                               const method::Parameter& parameter) {
  auto section = value.section("a map with filter and value, as the list's first item is");
  if (!section) return std::nullopt;
  method::Setting::Case read;
  std::optional<std::string> filter = std::string();
  if (const auto given = section->find_filled("filter"))
    filter = given->text("a part of tensors' names, or * for all tensors");
  if (filter && *filter != "*") read.filter = std::move(*filter);
  const auto given = section->require("value", expected_number(parameter));
  section->finish();
  auto numbers = given ? read_numbers(*given, parameter) : std::nullopt;
  if (!filter || !numbers) return std::nullopt;
  read.values = std::move(*numbers);
  return read;
}

std::optional<method::Setting> read_setting(const Value& value,
                                            const method::Parameter& parameter) {
  const auto& items = value.node().items;
  method::Setting setting;
  if (items.empty() || items.front().kind != Node::Kind::map) {
    auto numbers = read_numbers(value, parameter);
    if (!numbers) return std::nullopt;
    setting.cases.push_back({{}, std::move(*numbers)});
    return setting;
  }
  const auto cases = value.items("a list of filters and values");
  for (const Value& item : *cases)
    if (auto read = read_case(item, parameter)) setting.cases.push_back(std::move(*read));
  return setting.cases.size() == cases->size() ? std::optional(std::move(setting)) : std::nullopt;
}

bool fits_all_tensors(const method::Setting& setting) {
  return std::ranges::any_of(setting.cases,
                             [](const method::Setting::Case& each) { return each.filter.empty(); });
}

/// Reads the parameters of one method. What is faulty counts as given: one fault is enough.
class Reader {
 public:
  Reader(const method::Description& method, const method::Rules& rules)
      : method_(method), rules_(rules) {}

  void read(Section& section, const method::Parameter& parameter, Parameters& target) const {
    const auto value = section.find(parameter.name);
    if (!value) return;
    const auto setting = read_setting(*value, parameter);
    if (setting && parameter.name == "density" && !setting->constant() && trims_model()) {
      value->fault(
          "found a density that depends on the tensor; expected one number, because the trim is "
          "over the whole model; trim_scope: tensor trims each tensor by itself");
    }
    target.emplace(parameter.name, setting.value_or(method::Setting(0)));
  }

  /// Local. A parameter without fallback has to have a value for every tensor.
  void require(const Section& owner, const method::Parameter& parameter,
               const Shared& given) const {
    if (fallback(parameter, rules_.compat)) return;
    bool is_given = false;
    for (const Parameters* parameters : given) {
      const auto found = parameters->find(std::string(parameter.name));
      if (found == parameters->end()) continue;
      if (fits_all_tensors(found->second)) return;
      is_given = true;
    }
    if (is_given) {
      owner.fault("parameters", parameter.name,
                  "its filters leave tensors without a value; expected one for every tensor; add "
                  "`- value: NUMBER` at the end of the list");
      return;
    }
    const bool is_of_model = parameter.of == method::Parameter::Of::model;
    owner.fault("parameters", parameter.name,
                fmt::format("missing; expected {}, which {} cannot do without{}",
                            expected_number(parameter), method_.name,
                            is_of_model ? "; write it here, or in the job's own `parameters` for "
                                          "all models"
                                        : ""));
  }

 private:
  [[nodiscard]] bool trims_model() const {
    return concerns("trim_scope", method_) && rules_.trim_scope == method::TrimScope::model;
  }

  const method::Description& method_;
  const method::Rules& rules_;
};

/// Local. The section `parameters`, if there is one, with what mergekit's files may contain without
/// effect.
std::optional<Section> open_parameters(Section& owner, std::string_view expected) {
  const auto value = owner.find_filled("parameters");
  auto section = value ? value->section(expected) : std::nullopt;
  if (section) section->pass_over("int8_mask");
  return section;
}

std::string expected_map(const method::Description& method, bool of_merge) {
  std::vector<std::string_view> names;
  for (const method::Parameter& parameter : method.parameters)
    if (of_merge || parameter.of == method::Parameter::Of::model) names.push_back(parameter.name);
  return names.empty() ? "no parameters" : fmt::format("a map with {}", fmt::join(names, ", "));
}

}  // namespace

std::optional<double> fallback(const method::Parameter& parameter, method::Compat compat) {
  if (compat == method::Compat::mergekit && parameter.mergekit_fallback)
    return parameter.mergekit_fallback;
  return parameter.fallback;
}

Parameters read_merge_parameters(Section& owner, const method::Description& method,
                                 const method::Rules& rules) {
  const Reader reader(method, rules);
  Parameters parameters;
  if (auto section = open_parameters(owner, expected_map(method, true))) {
    for (const method::Parameter& parameter : method.parameters)
      reader.read(*section, parameter, parameters);
    section->finish(method.name);
  }
  return parameters;
}

void require_merge_parameters(const Section& owner, const method::Description& method,
                              const method::Rules& rules, const Shared& given) {
  const Reader reader(method, rules);
  for (const method::Parameter& parameter : method.parameters) {
    if (parameter.of == method::Parameter::Of::merge) reader.require(owner, parameter, given);
  }
}

Parameters read_model_parameters(Section& model, const method::Description& method,
                                 const method::Rules& rules, const Shared& shared) {
  const Reader reader(method, rules);
  Parameters parameters;
  if (auto section = open_parameters(model, expected_map(method, false))) {
    for (const method::Parameter& parameter : method.parameters) {
      if (parameter.of == method::Parameter::Of::model) {
        reader.read(*section, parameter, parameters);
      } else {
        section->refuse({parameter.name},
                        fmt::format("{} is one number for the whole merge; write it under the "
                                    "job's own `parameters`",
                                    parameter.name));
      }
    }
    section->finish(method.name);
  }
  Shared given = shared;
  given.push_back(&parameters);
  for (const method::Parameter& parameter : method.parameters) {
    if (parameter.of == method::Parameter::Of::model) reader.require(model, parameter, given);
  }
  return parameters;
}

}  // namespace mpimerge::job
