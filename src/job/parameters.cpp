#include "job/parameters.hpp"

#include <optional>
#include <string>

#include <fmt/format.h>

#include "job/tree.hpp"

namespace mpimerge::job {
namespace {

/// Local. A number that mergekit also lets depend on the layer or the tensor's name.
std::optional<double> read_setting(const Value& value) {
  if (value.node().kind != Node::Kind::list) return value.number();
  const auto& items = value.node().items;
  const bool is_filtered = !items.empty() && items.front().kind == Node::Kind::map;
  value.fault(fmt::format("found {}; {} not supported by this version; give one number",
                          describe(value.node()),
                          is_filtered ? "filters are" : "a gradient (a list of numbers) is"));
  return std::nullopt;
}

void read_density(const Value& value, double& target) {
  const auto density = read_setting(value);
  if (!density) return;
  if (*density > 0 && *density <= 1) {
    target = *density;
    return;
  }
  const std::string remedy =
      *density > 1 && *density <= 100
          ? fmt::format("{} % is written {:g}", value.node().text, *density / 100)
          : std::string();
  value.fault_expected("a number above 0 and at most 1", remedy);
}

void read_weight(const Value& value, double& target) {
  if (const auto weight = read_setting(value)) target = *weight;
}

void read_density_and_weight(Section& parameters, Setting& setting) {
  if (const auto value = parameters.find("density")) read_density(*value, setting.density);
  if (const auto value = parameters.find("weight")) read_weight(*value, setting.weight);
}

void refuse_mergekit_parameters(Section& parameters) {
  parameters.refuse(
      {"normalize"},
      "not supported by this version; aggregate: disjoint-mean is what mergekit calls "
      "normalize: true, aggregate: disjoint-sum is normalize: false");
  parameters.refuse({"rescale"},
                    "not supported by this version; leave it out, nothing is rescaled");
  parameters.refuse({"int8_mask"},
                    "not supported by this version; leave it out, it saves no memory here");
}

}  // namespace

Setting read_global_parameters(Section& root, Job& job) {
  Setting setting;
  const auto value = root.find_filled("parameters");
  auto parameters = value ? value->section("a map with density, lambda, weight") : std::nullopt;
  if (!parameters) return setting;
  read_density_and_weight(*parameters, setting);
  if (const auto lambda = parameters->find("lambda")) {
    if (const auto number = read_setting(*lambda)) job.lambda = *number;
  }
  refuse_mergekit_parameters(*parameters);
  parameters->finish();
  return setting;
}

Setting read_own_parameters(Section& model, const Setting& global) {
  Setting setting = global;
  const auto value = model.find_filled("parameters");
  auto parameters = value ? value->section("a map with density, weight") : std::nullopt;
  if (!parameters) return setting;
  read_density_and_weight(*parameters, setting);
  parameters->refuse(
      {"lambda"},
      "lambda is one number for the whole merge; write it under the job's own `parameters`");
  refuse_mergekit_parameters(*parameters);
  parameters->finish();
  return setting;
}

}  // namespace mpimerge::job
