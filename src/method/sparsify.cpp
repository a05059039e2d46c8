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
  const std::size_t all = tensor.models * tile.elements;
  drops_.resize(all);
  random_.resize(std::max(random_.size(), row));
  const bool needs_places = divides_by_own(tensor) || row > kernel::RowDrops::kLongest;
  if (needs_places) probability_.resize(all);
  for (std::size_t model = 0; model < tensor.models; ++model) {
    if (tensor.number(kDensity, model) >= 1) continue;
    const kernel::Uniform random(rules_.seed, tensor.numbers[model], tensor.name);
    if (!needs_places) set_by_place(tensor, model, row);
    for (std::size_t begin = 0; begin < tile.elements; begin += row) {
      const float* const values = tile.models[model] + begin;
      const float* const base = tile.base + begin;
      const std::size_t at = model * tile.elements + begin;
      random.fill(tile.first + begin, std::span(random_).first(row));
      if (needs_places) {
        rank_row(tensor, model, values, base, std::span(probability_).subspan(at, row));
        for (std::size_t i = 0; i < row; ++i)
          drops_[at + i] = random_[i] < probability_[at + i] ? 0.0F : 1.0F;
      } else {
        row_drops_.find(values, base, row, by_place_.data(), random_.data(), drops_.data() + at);
      }
    }
  }
}

// How likely a value is kept, by its place in the row, from 0 to 1.
float Sparsifier::probability_at(const Tensor& tensor, std::size_t model, double place) {
  const double density = tensor.number(kDensity, model);
  const double spread = tensor.number(kExtra, model);
  return static_cast<float>(std::clamp(density - spread + 2 * spread * place, 0.0, 1.0));
}

void Sparsifier::set_by_place(const Tensor& tensor, std::size_t model, std::size_t row) {
  by_place_.resize(row);
  for (std::size_t place = 0; place < row; ++place)
    by_place_[place] = probability_at(tensor, model, RowRanks::place(place, row));
}

void Sparsifier::rank_row(const Tensor& tensor, std::size_t model, const float* values,
                          const float* base, std::span<float> probabilities) {
  row_.resize(probabilities.size());
  places_.resize(probabilities.size());
  for (std::size_t i = 0; i < row_.size(); ++i) row_[i] = values[i] - base[i];
  row_ranks_.rank(row_.data(), row_.size(), places_.data());
  for (std::size_t i = 0; i < row_.size(); ++i)
    probabilities[i] = probability_at(tensor, model, places_[i]);
}

// Whether each value is divided by its own probability of being kept.
bool Sparsifier::divides_by_own(const Tensor& tensor) const {
  return rescales(tensor) && rules_.rescale == Rescale::density;
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

  if (kind_ == Sparsify::random) {
    random_.resize(std::max(random_.size(), elements));
    kernel::Uniform(rules_.seed, tensor.numbers[model], tensor.name)
        .fill(tile.first + begin, std::span(random_).first(elements));
    const auto probability = static_cast<float>(density);
    return kernel::keep_below(probability, random_.data(), kept, values, base, elements, row);
  }
  const float* const drops = drops_.data() + model * tile_elements_ + begin;
  if (!divides_by_own(tensor))
    return kernel::keep_below(0.5F, drops, kept, values, base, elements, row);
  const float* const probability = probability_.data() + model * tile_elements_ + begin;
  for (std::size_t i = 0; i < elements; ++i) {
    const float value = weight * (scale * (values[i] - base[i]) / probability[i]);
    row[i] = kernel::only_if(drops[i] == 0, value);
  }
}

}  // namespace mpimerge::method
