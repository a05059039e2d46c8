#include "mpimerge/job/numbers.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "mpimerge/base/layer_name.hpp"

#include "job/parameters.hpp"

namespace mpimerge::job {
namespace {

const method::Setting* find(const Parameters& parameters, std::string_view name) {
  const auto found = parameters.find(std::string(name));
  return found == parameters.end() ? nullptr : &found->second;
}

std::optional<double> at(const Parameters& parameters, std::string_view name,
                         std::string_view tensor, double depth) {
  const method::Setting* const setting = find(parameters, name);
  return setting == nullptr ? std::nullopt : setting->at(tensor, depth);
}

/// Where parameters are looked for, the nearest first.
using Levels = std::vector<const Parameters*>;

std::optional<double> first_of(const Levels& levels, std::string_view name, std::string_view tensor,
                               double depth) {
  for (const Parameters* level : levels)
    if (const auto value = at(*level, name, tensor, depth)) return value;
  return std::nullopt;
}

Levels levels_of_merge(const Job& job, const Slice* slice) {
  return slice == nullptr ? Levels{&job.parameters} : Levels{&slice->parameters, &job.parameters};
}

Levels levels_of_task(const Job& job, const Slice* slice, std::size_t task) {
  Levels levels = levels_of_merge(job, slice);
  if (slice == nullptr) {
    levels.insert(levels.begin(), &job.tasks[task].parameters);
  } else if (task < slice->sources.size()) {
    levels.insert(levels.begin(), &slice->sources[task].parameters);
  }
  return levels;
}

/// A slice of the job, and how many layers come before it.
struct SlicePlace {
  const Slice* slice = nullptr;
  std::uint64_t first_layer = 0;
};

/// Local. The slice that a tensor belongs to: outside of the layers the first or the last.
SlicePlace slice_of(const Job& job, std::string_view tensor) {
  if (job.slices.empty()) return {};
  const auto name = base::layer_name(tensor);
  if (!name && base::is_before_layers(tensor)) return {&job.slices.front(), 0};
  SlicePlace place;
  std::uint64_t layers = 0;
  for (const Slice& slice : job.slices) {
    place = {&slice, layers};
    layers += slice.layers();
    if (name && name->number < layers) break;
  }
  return place;
}

/// Local. What a tensor of the output is called in the model that a task stands for. Filters of
/// numbers of models see that name, as in mergekit.
std::string name_in_model(std::string_view tensor, const SlicePlace& place, std::size_t task) {
  const auto name = base::layer_name(tensor);
  if (!name || place.slice == nullptr || task >= place.slice->sources.size())
    return std::string(tensor);
  return name->of_layer(place.slice->sources[task].first_layer + name->number - place.first_layer);
}

/// Local. A number that is the same for all tensors; nothing if it depends on them.
std::optional<double> constant_of(const Levels& levels, const method::Parameter& parameter,
                                  method::Compat compat) {
  for (const Parameters* level : levels)
    if (const auto* const setting = find(*level, parameter.name)) return setting->constant();
  return fallback(parameter, compat);
}

double depth_of(std::uint64_t layer, std::uint64_t layers) {
  return layers == 1 ? 1 : static_cast<double>(layer) / static_cast<double>(layers - 1);
}

}  // namespace

Numbers numbers(const Job& job, const method::Description& method, std::string_view tensor,
                double depth) {
  const std::size_t models = job.tasks.size();
  const SlicePlace place = slice_of(job, tensor);
  const Slice* const slice = place.slice;
  std::vector<std::string> names;
  for (std::size_t model = 0; model < models; ++model)
    names.push_back(name_in_model(tensor, place, model));
  Numbers numbers;
  numbers.of_merge.assign(method.parameters.size(), 0);
  numbers.of_models.assign(method.parameters.size() * models, 0);
  for (std::size_t i = 0; i < method.parameters.size(); ++i) {
    const method::Parameter& parameter = method.parameters[i];
    const double otherwise = fallback(parameter, job.rules.compat).value_or(0);
    if (parameter.of == method::Parameter::Of::merge) {
      numbers.of_merge[i] =
          first_of(levels_of_merge(job, slice), parameter.name, tensor, depth).value_or(otherwise);
      continue;
    }
    for (std::size_t model = 0; model < models; ++model) {
      numbers.of_models[i * models + model] =
          first_of(levels_of_task(job, slice, model), parameter.name, names[model], depth)
              .value_or(otherwise);
    }
  }
  return numbers;
}

std::vector<double> depths(const std::vector<std::string_view>& tensors) {
  std::map<std::string_view, std::uint64_t> last_layers;
  std::vector<std::optional<base::LayerName>> layers;
  for (const std::string_view tensor : tensors) {
    layers.push_back(base::layer_name(tensor));
    if (!layers.back()) continue;
    std::uint64_t& last = last_layers[layers.back()->row];
    last = std::max(last, layers.back()->number);
  }
  std::vector<double> depths;
  for (const auto& layer : layers)
    depths.push_back(layer ? depth_of(layer->number, last_layers[layer->row] + 1) : 0);
  return depths;
}

std::vector<double> depths(const Job& job, const std::vector<std::string_view>& tensors) {
  if (job.slices.empty()) return depths(tensors);
  std::vector<double> depths;
  for (const std::string_view tensor : tensors) {
    const SlicePlace place = slice_of(job, tensor);
    const auto layer = base::layer_name(tensor);
    depths.push_back(layer ? depth_of(layer->number - place.first_layer, place.slice->layers())
                           : 0);
  }
  return depths;
}

std::optional<double> constant(const Job& job, std::string_view parameter, std::size_t task) {
  const method::Description* const method = method::find(job.method);
  if (method == nullptr) return std::nullopt;
  const auto known = std::ranges::find(method->parameters, parameter, &method::Parameter::name);
  if (known == method->parameters.end()) return std::nullopt;
  std::vector<Levels> places;
  const auto add = [&](const Slice* slice) {
    places.push_back(task < job.tasks.size() ? levels_of_task(job, slice, task)
                                             : levels_of_merge(job, slice));
  };
  for (const Slice& slice : job.slices) add(&slice);
  if (job.slices.empty()) add(nullptr);
  std::optional<double> common;
  for (const Levels& levels : places) {
    const auto value = constant_of(levels, *known, job.rules.compat);
    if (!value || (common && *common != *value)) return std::nullopt;
    common = value;
  }
  return common;
}

}  // namespace mpimerge::job
