#include "mpimerge/job/numbers.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <system_error>

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

/// A tensor's place in the model: which row of layers, and which of them.
struct Layer {
  std::string_view row;  ///< the name before the number
  std::uint64_t number = 0;
};

std::optional<Layer> layer_of(std::string_view tensor) {
  for (std::size_t begin = 0; begin < tensor.size();) {
    const std::size_t end = std::min(tensor.find('.', begin), tensor.size());
    const char* const last = tensor.data() + end;
    Layer layer{tensor.substr(0, begin), 0};
    const auto [stop, status] = std::from_chars(tensor.data() + begin, last, layer.number);
    if (status == std::errc{} && stop == last) return layer;
    begin = end + 1;
  }
  return std::nullopt;
}

}  // namespace

Numbers numbers(const Job& job, const method::Description& method, std::string_view tensor,
                double depth) {
  const std::size_t models = job.tasks.size();
  Numbers numbers;
  numbers.of_merge.assign(method.parameters.size(), 0);
  numbers.of_models.assign(method.parameters.size() * models, 0);
  for (std::size_t i = 0; i < method.parameters.size(); ++i) {
    const method::Parameter& parameter = method.parameters[i];
    const double of_merge = at(job.parameters, parameter.name, tensor, depth)
                                .value_or(fallback(parameter, job.rules.compat).value_or(0));
    if (parameter.of == method::Parameter::Of::merge) {
      numbers.of_merge[i] = of_merge;
      continue;
    }
    for (std::size_t model = 0; model < models; ++model) {
      numbers.of_models[i * models + model] =
          at(job.tasks[model].parameters, parameter.name, tensor, depth).value_or(of_merge);
    }
  }
  return numbers;
}

std::vector<double> depths(const std::vector<std::string_view>& tensors) {
  std::map<std::string_view, std::uint64_t> last_layers;
  std::vector<std::optional<Layer>> layers;
  for (const std::string_view tensor : tensors) {
    layers.push_back(layer_of(tensor));
    if (!layers.back()) continue;
    std::uint64_t& last = last_layers[layers.back()->row];
    last = std::max(last, layers.back()->number);
  }
  std::vector<double> depths;
  for (const auto& layer : layers) {
    const std::uint64_t last = layer ? last_layers[layer->row] : 0;
    const double only_layer = layer ? 1 : 0;
    depths.push_back(last == 0 ? only_layer
                               : static_cast<double>(layer->number) / static_cast<double>(last));
  }
  return depths;
}

std::optional<double> constant(const Job& job, std::string_view parameter, std::size_t task) {
  if (task < job.tasks.size()) {
    if (const auto* const own = find(job.tasks[task].parameters, parameter)) return own->constant();
  }
  if (const auto* const of_merge = find(job.parameters, parameter)) return of_merge->constant();
  const method::Description* const method = method::find(job.method);
  if (method == nullptr) return std::nullopt;
  const auto known = std::ranges::find(method->parameters, parameter, &method::Parameter::name);
  return known == method->parameters.end() ? std::nullopt : fallback(*known, job.rules.compat);
}

}  // namespace mpimerge::job
