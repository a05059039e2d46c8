#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "mpimerge/method/sums.hpp"
#include "mpimerge/method/tile.hpp"

namespace mpimerge::method {

/// All scalar products of some vectors.
class Gram {
 public:
  /// Local. How many different ones there are.
  static constexpr std::size_t sums(std::size_t vectors) { return vectors * (vectors + 1) / 2; }
  /// Local. Where that of two vectors stands.
  static constexpr std::size_t place(std::size_t a, std::size_t b) {
    return a < b ? place(b, a) : a * (a + 1) / 2 + b;
  }

  explicit Gram(std::span<const double> products) : products_(products) {}
  [[nodiscard]] double operator()(std::size_t a, std::size_t b) const {
    return products_[place(a, b)];
  }
  [[nodiscard]] double norm(std::size_t vector) const;
  /// Local. The norm of Σ c_i v_i.
  [[nodiscard]] double norm(std::span<const double> coefficients) const;

 private:
  std::span<const double> products_;
};

/// The vectors of a tile: its models, or their differences from the base.
class TileVectors {
 public:
  /// Local. Valid until the next call.
  std::span<const float* const> differences(const Tile& tile);
  /// Local. Differences where there is a base, else the models themselves.
  std::span<const float* const> vectors(const Tile& tile) {
    return tile.base == nullptr ? tile.models : differences(tile);
  }

 private:
  std::vector<float> memory_;
  std::vector<const float*> vectors_;
};

/// Local. Adds a tile's part of all scalar products.
void add_gram(std::span<const float* const> vectors, Sums& sums);

/// Local. Scalar products of whole rows, in a fixed order of addition.
/// @param products  [Gram::sums(vectors)]
void gram_of_row(std::span<const float* const> vectors, std::size_t begin, std::size_t elements,
                 std::span<double> products);

/// Local. Σ c_t x_t over the models, from left to right in float32; with a base, θ_0 + Σ c_t δ_t.
void combine(std::span<const double> coefficients, const Tile& tile, std::size_t begin,
             std::size_t elements, float* merged);

/// How two vectors are weighted.
struct Pair {
  double first;
  double second;
};

/// Local. Both on the great circle between two vectors: weights of the first and of the second one.
Pair on_circle(double angle, double t);

}  // namespace mpimerge::method
