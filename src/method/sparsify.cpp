#include "method/sparsify.hpp"

#include <algorithm>
#include <bit>
#include <span>

#include "mpimerge/kernel/choose.hpp"
#include "mpimerge/kernel/uniform.hpp"

namespace mpimerge::method {
namespace {

std::uint64_t part_of(std::uint64_t elements, double share) {
  return static_cast<std::uint64_t>(static_cast<double>(elements) * share);
}

// Bits of a magnitude that was found. One that is NaN, of many, is no limit to the others: each of
// them has to reach its sum.
std::uint32_t limit_of(double found) {
  constexpr std::uint32_t kSmallestNaN = 0x7f800001u;
  return std::min(std::bit_cast<std::uint32_t>(static_cast<float>(found)) & 0x7fffffffu,
                  kSmallestNaN);
}

}  // namespace

std::vector<Pass> Sparsifier::passes() const {
  if (trims_model()) return {{Pass::Kind::model_trim}};
  if (kind_ == Sparsify::magnitude || kind_ == Sparsify::outliers) return {{Pass::Kind::ranks}};
  return {};
}

std::size_t Sparsifier::facts(const Tensor& tensor) const {
  if (kind_ == Sparsify::outliers) return 2 * tensor.models;
  return kind_ == Sparsify::magnitude && !trims_model() ? tensor.models : 0;
}

Sparsifier::Places Sparsifier::places(const Tensor& tensor, std::size_t model) const {
  const double density = tensor.number(kDensity, model);
  const std::uint64_t all = tensor.elements;
  if (density >= 1 || all == 0) return {};
  const bool mergekit = rules_.compat == Compat::mergekit;
  const std::uint64_t kept = part_of(all, density);
  if (kind_ == Sparsify::magnitude) {
    // The published code keeps one more than it is asked for.
    return {.low = mergekit ? all - std::max<std::uint64_t>(kept, 1) + 1 : all - kept};
  }
  const std::uint64_t wanted = mergekit ? kept : std::max<std::uint64_t>(kept, 1);
  const std::uint64_t most_above = std::min(part_of(all, tensor.number(kExtra, model)), all);
  // mergekit's range ends before its beginning where no outlier is dropped.
  if (wanted == 0 || (mergekit && most_above == 0)) return {.keeps_nothing = true};
  const std::uint64_t above = std::min(most_above, all - wanted);
  const std::uint64_t below = all - wanted - above;
  return {.low = below == 0 ? 0 : below + 1, .high = above == 0 ? 0 : all - above};
}

std::vector<Method::Rank> Sparsifier::ranks(const Tensor& tensor) const {
  std::vector<Method::Rank> list;
  for (std::size_t model = 0; model < tensor.models; ++model)
    list.push_back({model, places(tensor, model).low});
  for (std::size_t model = 0; kind_ == Sparsify::outliers && model < tensor.models; ++model)
    list.push_back({model, places(tensor, model).high});
  return list;
}

kernel::Kept Sparsifier::range(const Tensor& tensor, std::size_t model) const {
  if (trims_model()) return {.low = limit_of(tensor.model_facts[tensor.numbers[model]])};
  const Places limits = places(tensor, model);
  if (limits.keeps_nothing) return {.low = 1, .high = 0};
  kernel::Kept kept;
  if (limits.low > 0) kept.low = limit_of(tensor.facts[model]);
  if (limits.high > 0) kept.high = limit_of(tensor.facts[tensor.models + model]);
  return kept;
}

bool Sparsifier::rescales(const Tensor& tensor) {
  if (!tensor.flag(kRescale)) return false;
  for (std::size_t model = 0; model < tensor.models; ++model) {
    if (tensor.number(kDensity, model) < 1) return true;
  }
  return false;
}

float Sparsifier::density_scale(const Tensor& tensor, std::size_t model) const {
  if (!rescales(tensor) || kind_ == Sparsify::by_rank) return 1;
  return static_cast<float>(1 / tensor.number(kDensity, model));
}

void Sparsifier::look_at_rows(const Tensor& tensor, const Tile& tile) {
  if (kind_ != Sparsify::by_rank) return;
  const auto row = static_cast<std::size_t>(tensor.row());
  tile_elements_ = tile.elements;
  probability_.resize(tensor.models * tile.elements);
  row_.resize(row);
  places_.resize(row);
  for (std::size_t model = 0; model < tensor.models; ++model) {
    const double density = tensor.number(kDensity, model);
    const double spread = tensor.number(kExtra, model);
    for (std::size_t begin = 0; begin < tile.elements; begin += row) {
      for (std::size_t i = 0; i < row; ++i)
        row_[i] = tile.models[model][begin + i] - tile.base[begin + i];
      row_ranks_.rank(row_.data(), row, places_.data());
      float* const probability = probability_.data() + model * tile.elements + begin;
      for (std::size_t i = 0; i < row; ++i) {
        probability[i] =
            static_cast<float>(std::clamp(density - spread + 2 * spread * places_[i], 0.0, 1.0));
      }
    }
  }
}

void Sparsifier::keep(const Tensor& tensor, const Tile& tile, std::size_t model, float scale,
                      float weight, std::size_t begin, std::size_t elements, float* row) {
  const float* const base = tile.base + begin;
  const float* const values = tile.models[model] + begin;
  const double density = tensor.number(kDensity, model);
  const bool by_range = kind_ == Sparsify::magnitude || kind_ == Sparsify::outliers;
  kernel::Kept kept = by_range ? range(tensor, model) : kernel::Kept{};
  kept.scale = scale;
  kept.weight = weight;
  if (by_range || density >= 1) return kernel::keep_range(kept, values, base, elements, row);

  random_.resize(std::max(random_.size(), elements));
  float* const random = random_.data();
  kernel::Uniform(rules_.seed, tensor.numbers[model], tensor.name)
      .fill(tile.first + begin, std::span(random, elements));
  if (kind_ == Sparsify::random) {
    const auto probability = static_cast<float>(density);
    return kernel::keep_below(probability, random, kept, values, base, elements, row);
  }
  // Each value's own probability.
  const float* const probability = probability_.data() + model * tile_elements_ + begin;
  const bool divides = rescales(tensor) && rules_.rescale == Rescale::density;
  for (std::size_t i = 0; i < elements; ++i) {
    const float divisor = kernel::choose(divides, probability[i], 1);
    const float value = weight * (scale * (values[i] - base[i]) / divisor);
    row[i] = kernel::only_if(random[i] < probability[i], value);
  }
}

}  // namespace mpimerge::method
