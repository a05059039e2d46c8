#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace mpimerge::method {

/// Elements that are worked on at once: few enough that all rows of some models stay in the
/// first-level cache.
inline constexpr std::size_t kStrip = 1024;

/// Local. Calls `visit(begin, elements)` for every strip of [begin, end).
template <class Visit>
void each_strip(std::size_t begin, std::size_t end, Visit visit) {
  for (; begin < end; begin += kStrip) visit(begin, std::min(kStrip, end - begin));
}

/// As many rows of one strip as there are models.
class Rows {
 public:
  /// Local. Values of all rows are lost.
  void make(std::size_t rows) {
    if (rows <= rows_.size()) return;
    memory_.resize(rows * kStrip);
    rows_.clear();
    for (std::size_t row = 0; row < rows; ++row) rows_.push_back(memory_.data() + row * kStrip);
  }
  [[nodiscard]] float* operator[](std::size_t row) const { return rows_[row]; }
  [[nodiscard]] std::span<float* const> first(std::size_t rows) const {
    return std::span(rows_).first(rows);
  }

 private:
  std::vector<float> memory_;
  std::vector<float*> rows_;
};

/// Local. Σ of rows, element by element, from +0 on and from left to right.
void sum_rows(std::span<float* const> rows, std::size_t elements, float* sum);

/// Local. The median of rows, of an even number of them the lower one; NaN where any is. Sorts the
/// rows.
void median_of_rows(std::span<float* const> rows, std::size_t elements, float* median);

/// Local. The value of largest magnitude, the first of equal ones; NaN where any is.
void largest_of_rows(std::span<float* const> rows, std::size_t elements, float* largest);

}  // namespace mpimerge::method
