#include "job/rules.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "job/paths.hpp"
#include "job/spelling.hpp"
#include "job/tree.hpp"

namespace mpimerge::job {
namespace {

using method::Aggregate;
using method::Compat;
using method::Elect;
using method::Rescale;
using method::SignTie;
using method::TrimScope;

struct Concern {
  std::string_view key;
  std::vector<std::string_view> methods;
};

const std::vector<Concern>& concerns_by_key() {
  static const std::vector<Concern> list = {
      {"trim_scope", {"ties", "perturb"}},
      {"elect", {"ties", "dare_ties", "breadcrumbs_ties", "della"}},
      {"sign_tie", {"ties", "dare_ties", "breadcrumbs_ties", "della"}},
      {"aggregate", {"ties", "average"}},
      {"checkpoints", {"average"}},
      {"rescale_by",
       {"ties", "dare_ties", "dare_linear", "breadcrumbs", "breadcrumbs_ties", "della",
        "della_linear"}},
      {"seed", {"dare_ties", "dare_linear", "della", "della_linear", "perturb"}},
  };
  return list;
}

/// Local. The value of a key, unless the method has no use for it, which is a fault.
std::optional<Value> find_choice(Section& root, std::string_view key,
                                 const method::Description& method) {
  auto value = root.find(key);
  if (!value || concerns(key, method)) return value;
  value->fault(fmt::format("{} has no use for {}; leave it out", method.name, key));
  return std::nullopt;
}

void read_elect(const Value& value, const std::filesystem::path& directory, Choices& choices) {
  const std::vector<std::pair<std::string_view, Elect>> words = {{"mass", Elect::mass},
                                                                 {"count", Elect::count},
                                                                 {"normfrac", Elect::normfrac},
                                                                 {"normmass", Elect::normmass},
                                                                 {"none", Elect::none}};
  std::vector<std::string_view> names;
  for (const auto& [name, meaning] : words) names.push_back(name);
  const std::string expected = fmt::format(
      "one of {}, or the path of a checkpoint whose signs to take", fmt::join(names, ", "));
  const auto text = read_path(value, expected);
  if (!text) return;
  const auto word = std::ranges::find(names, *text);
  if (word != names.end()) {
    choices.rules.elect = words[static_cast<std::size_t>(word - names.begin())].second;
    return;
  }
  if (const std::string meant = did_you_mean(*text, names); !meant.empty()) {
    return value.fault(fmt::format("found {}; expected {}{} a checkpoint of that name is ./{}",
                                   describe(value.node()), expected, meant, *text));
  }
  choices.rules.elect = Elect::given;
  if (auto signs = read_reference(value, directory)) choices.signs = std::move(*signs);
}

void read_aggregate(const Value& value, const method::Description& method, Aggregate& target) {
  if (method.name == "average") {
    return value.read_choice(target, {{"mean", Aggregate::mean},
                                      {"median", Aggregate::median},
                                      {"magnitude", Aggregate::magnitude}});
  }
  value.read_choice(target, {{"disjoint-mean", Aggregate::disjoint_mean},
                             {"disjoint-sum", Aggregate::disjoint_sum},
                             {"disjoint-max", Aggregate::disjoint_max},
                             {"mean", Aggregate::mean},
                             {"sum", Aggregate::sum},
                             {"median", Aggregate::median},
                             {"magnitude", Aggregate::magnitude}});
}

void read_seed(const Value& value, std::uint64_t& target) {
  const std::string expected = fmt::format("a whole number from 0 to {}", UINT64_MAX);
  const auto text = value.text(expected);
  if (!text) return;
  const char* const last = text->data() + text->size();
  const auto [end, status] = std::from_chars(text->data(), last, target);
  if (status != std::errc{} || end != last) value.fault_expected(expected);
}

}  // namespace

bool concerns(std::string_view key, const method::Description& method) {
  const auto found = std::ranges::find(concerns_by_key(), key, &Concern::key);
  return found != concerns_by_key().end() &&
         std::ranges::find(found->methods, method.name) != found->methods.end();
}

Choices read_rules(Section& root, const method::Description& method,
                   const std::filesystem::path& directory) {
  Choices choices;
  method::Rules& rules = choices.rules;
  if (const auto value = root.find("compat"))
    value->read_choice(rules.compat, {{"paper", Compat::paper}, {"mergekit", Compat::mergekit}});
  if (rules.compat == Compat::mergekit) {
    rules.trim_scope = TrimScope::tensor;
    rules.sign_tie = SignTie::positive;
  }
  if (method.name == "average") rules.aggregate = Aggregate::mean;
  if (const auto value = find_choice(root, "trim_scope", method)) {
    value->read_choice(rules.trim_scope,
                       {{"model", TrimScope::model}, {"tensor", TrimScope::tensor}});
  }
  if (const auto value = find_choice(root, "elect", method)) read_elect(*value, directory, choices);
  if (const auto value = find_choice(root, "sign_tie", method)) {
    value->read_choice(rules.sign_tie,
                       {{"majority", SignTie::majority}, {"positive", SignTie::positive}});
  }
  if (const auto value = find_choice(root, "aggregate", method))
    read_aggregate(*value, method, rules.aggregate);
  if (const auto value = find_choice(root, "rescale_by", method))
    value->read_choice(rules.rescale, {{"l1", Rescale::l1}, {"density", Rescale::density}});
  if (const auto value = find_choice(root, "seed", method)) read_seed(*value, rules.seed);
  return choices;
}

}  // namespace mpimerge::job
