#include "method/gram.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace mpimerge::method {

double Gram::norm(std::size_t vector) const { return std::sqrt((*this)(vector, vector)); }

double Gram::norm(std::span<const double> coefficients) const {
  double square = 0;
  for (std::size_t a = 0; a < coefficients.size(); ++a) {
    for (std::size_t b = 0; b < coefficients.size(); ++b)
      square += coefficients[a] * coefficients[b] * (*this)(a, b);
  }
  // What cancels may come out below nothing.
  return std::sqrt(std::max(square, 0.0));
}

std::span<const float* const> TileVectors::differences(const Tile& tile) {
  memory_.resize(tile.models.size() * tile.elements);
  vectors_.clear();
  for (std::size_t model = 0; model < tile.models.size(); ++model) {
    float* const delta = memory_.data() + model * tile.elements;
    const float* const values = tile.models[model];
    for (std::size_t i = 0; i < tile.elements; ++i) delta[i] = values[i] - tile.base[i];
    vectors_.push_back(delta);
  }
  return vectors_;
}

void add_gram(std::span<const float* const> vectors, Sums& sums) {
  for (std::size_t a = 0; a < vectors.size(); ++a) {
    for (std::size_t b = 0; b <= a; ++b) {
      const float* const x = vectors[a];
      const float* const y = vectors[b];
      sums.add(Gram::place(a, b), [=](std::size_t i) {
        return static_cast<double>(x[i]) * static_cast<double>(y[i]);
      });
    }
  }
}

double dot(const float* a, const float* b, std::size_t elements) {
  constexpr std::size_t kLanes = 8;
  std::array<double, kLanes> lanes{};
  std::size_t i = 0;
  for (; i + kLanes <= elements; i += kLanes) {
    for (std::size_t k = 0; k < kLanes; ++k)
      lanes[k] += static_cast<double>(a[i + k]) * static_cast<double>(b[i + k]);
  }
  double sum = 0;
  for (; i < elements; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  for (const double lane : lanes) sum += lane;
  return sum;
}

void gram_of_row(std::span<const float* const> vectors, std::size_t begin, std::size_t elements,
                 std::span<double> products) {
  for (std::size_t a = 0; a < vectors.size(); ++a) {
    for (std::size_t b = 0; b <= a; ++b)
      products[Gram::place(a, b)] = dot(vectors[a] + begin, vectors[b] + begin, elements);
  }
}

void combine(std::span<const double> coefficients, const Tile& tile, std::size_t begin,
             std::size_t elements, float* merged) {
  std::fill_n(merged, elements, 0.0F);
  const float* const base = tile.base == nullptr ? nullptr : tile.base + begin;
  for (std::size_t model = 0; model < tile.models.size(); ++model) {
    const auto coefficient = static_cast<float>(coefficients[model]);
    const float* const values = tile.models[model] + begin;
    if (base == nullptr) {
      for (std::size_t i = 0; i < elements; ++i) merged[i] += coefficient * values[i];
    } else {
      for (std::size_t i = 0; i < elements; ++i) merged[i] += coefficient * (values[i] - base[i]);
    }
  }
  if (base == nullptr) return;
  for (std::size_t i = 0; i < elements; ++i) merged[i] += base[i];
}

Pair on_circle(double angle, double t) {
  return {std::sin((1 - t) * angle) / std::sin(angle), std::sin(t * angle) / std::sin(angle)};
}

}  // namespace mpimerge::method
