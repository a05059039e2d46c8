#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "mpimerge/kernel/rows.hpp"
#include "mpimerge/kernel/vectors.hpp"
#include "mpimerge/method/exact_sum.hpp"
#include "mpimerge/method/tile.hpp"

namespace mpimerge::method {

/// Sums over a tensor, or over the model, that come out the same however it is cut: within units of
/// some hundred elements, whose bounds are the same at every number of ranks, doubles are added in a
/// fixed order; the units' sums are added exactly.
class Sums {
 public:
  /// Local.
  /// @param sums   one for each number that the method asked for
  /// @param unit   elements of a unit: a power of two, at least kLanes
  /// @param place  of the tile's first element in the row of units
  Sums(std::span<ExactSum> sums, const Tile& tile, std::uint64_t unit, std::uint64_t place)
      : sums_(sums), begin_(tile.own_begin), end_(tile.own_end), unit_(unit), place_(place) {}

  /// Local. Adds `value(i)`, a double that depends on nothing but element i, over the tile's own
  /// elements to sum `number`.
  template <class Value>
  void add(std::size_t number, Value&& value) {
    each_unit([&](std::size_t begin, std::size_t end, std::size_t lane) {
      sums_[number].add(sum_of(begin, end, lane, value));
    });
  }

  /// Local. The same for what is added up most, by kernels: a·b; |a − b|; |a|.
  void add_products(std::size_t number, const float* a, const float* b) {
    each_unit([&](std::size_t begin, std::size_t end, std::size_t lane) {
      sums_[number].add(kernel::sum_products(a + begin, b + begin, end - begin, lane));
    });
  }
  void add_distances(std::size_t number, const float* a, const float* b) {
    each_unit([&](std::size_t begin, std::size_t end, std::size_t lane) {
      sums_[number].add(kernel::sum_distances(a + begin, b + begin, end - begin, lane));
    });
  }
  void add_magnitudes(std::size_t number, const float* a) {
    each_unit([&](std::size_t begin, std::size_t end, std::size_t lane) {
      sums_[number].add(kernel::sum_magnitudes(a + begin, end - begin, lane));
    });
  }

  /// Local. Adds one number, of any own element: exact, and slower.
  void add_one(std::size_t number, double value) { sums_[number].add(value); }

  [[nodiscard]] std::size_t begin() const { return begin_; }
  [[nodiscard]] std::size_t end() const { return end_; }

  static constexpr std::size_t kLanes = kernel::kSumLanes;

 private:
  // Units end at the same places of the group, wherever the tile begins.
  template <class Visit>
  void each_unit(Visit visit) const {
    for (std::size_t begin = begin_; begin < end_;) {
      const std::uint64_t inside = (place_ + begin) % unit_;
      const std::size_t end =
          begin + static_cast<std::size_t>(std::min<std::uint64_t>(unit_ - inside, end_ - begin));
      visit(begin, end, static_cast<std::size_t>(inside % kLanes));
      begin = end;
    }
  }

  template <class Value>
  static double sum_of(std::size_t begin, std::size_t end, std::size_t lane, Value& value) {
    double sum = 0;
    kernel::with_vectors([=, &value, &sum] {
      std::array<double, kLanes> lanes{};
      std::size_t i = begin;
      for (std::size_t k = lane; k != 0 && i < end; ++i, k = (k + 1) % kLanes) lanes[k] += value(i);
      for (; i + kLanes <= end; i += kLanes) {
        for (std::size_t k = 0; k < kLanes; ++k) lanes[k] += value(i + k);
      }
      for (std::size_t k = 0; i < end; ++i, ++k) lanes[k] += value(i);
      sum = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
            ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
    });
    return sum;
  }

  std::span<ExactSum> sums_;
  std::size_t begin_;
  std::size_t end_;
  std::uint64_t unit_;
  std::uint64_t place_;
};

}  // namespace mpimerge::method
