#include "mpimerge/method/setting.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace mpimerge::method {
namespace {

double interpolate(const std::vector<double>& values, double depth) {
  if (values.size() == 1) return values.front();
  const double place = depth * static_cast<double>(values.size() - 1);
  const auto left = std::min(static_cast<std::size_t>(place), values.size() - 2);
  const double share = place - static_cast<double>(left);
  return (1 - share) * values[left] + share * values[left + 1];
}

}  // namespace

std::optional<double> Setting::at(std::string_view tensor, double depth) const {
  for (const Case& each : cases) {
    if (tensor.find(each.filter) != std::string_view::npos) return interpolate(each.values, depth);
  }
  return std::nullopt;
}

std::optional<double> Setting::constant() const {
  if (cases.size() != 1 || !cases.front().filter.empty() || cases.front().values.size() != 1)
    return std::nullopt;
  return cases.front().values.front();
}

}  // namespace mpimerge::method
