#include "method/gram.hpp"

#include <algorithm>
#include <cmath>

#include "mpimerge/kernel/rows.hpp"
#include "mpimerge/kernel/vectors.hpp"

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
    kernel::with_vectors([=, base = tile.base, elements = tile.elements] {
      for (std::size_t i = 0; i < elements; ++i) delta[i] = values[i] - base[i];
    });
    vectors_.push_back(delta);
  }
  return vectors_;
}

void add_gram(std::span<const float* const> vectors, Sums& sums) {
  for (std::size_t a = 0; a < vectors.size(); ++a) {
    for (std::size_t b = 0; b <= a; ++b) {
      sums.add_products(Gram::place(a, b), vectors[a], vectors[b]);
    }
  }
}

void gram_of_row(std::span<const float* const> vectors, std::size_t begin, std::size_t elements,
                 std::span<double> products) {
  for (std::size_t a = 0; a < vectors.size(); ++a) {
    for (std::size_t b = 0; b <= a; ++b)
      products[Gram::place(a, b)] =
          kernel::sum_products(vectors[a] + begin, vectors[b] + begin, elements, 0);
  }
}

void combine(std::span<const double> coefficients, const Tile& tile, std::size_t begin,
             std::size_t elements, float* merged) {
  std::fill_n(merged, elements, 0.0F);
  const float* const base = tile.base == nullptr ? nullptr : tile.base + begin;
  for (std::size_t model = 0; model < tile.models.size(); ++model) {
    const auto coefficient = static_cast<float>(coefficients[model]);
    const float* const values = tile.models[model] + begin;
    kernel::with_vectors([=] {
      if (base == nullptr) {
        for (std::size_t i = 0; i < elements; ++i) merged[i] += coefficient * values[i];
      } else {
        for (std::size_t i = 0; i < elements; ++i) merged[i] += coefficient * (values[i] - base[i]);
      }
    });
  }
  if (base != nullptr) kernel::add_row(base, elements, merged);
}

Pair on_circle(double angle, double t) {
  return {std::sin((1 - t) * angle) / std::sin(angle), std::sin(t * angle) / std::sin(angle)};
}

}  // namespace mpimerge::method
