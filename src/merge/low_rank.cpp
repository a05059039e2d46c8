#include "mpimerge/merge/low_rank.hpp"

#include <algorithm>
#include <array>

namespace mpimerge::merge {

void add_low_rank(const Factors& factors, std::uint64_t first, std::span<float> values) noexcept {
  std::array<float, 1024> sums;  // in the first-level cache
  while (!values.empty()) {
    const std::uint64_t row = first / factors.columns;
    const std::uint64_t column = first % factors.columns;
    const std::size_t elements = std::min<std::uint64_t>(
        {sums.size(), factors.columns - column, std::uint64_t{values.size()}});
    std::fill_n(sums.begin(), elements, 0.0F);
    for (std::uint64_t step = 0; step < factors.rank; ++step) {
      const float left = factors.left[row * factors.rank + step];
      const float* const right = factors.right.data() + step * factors.columns + column;
      for (std::size_t i = 0; i < elements; ++i) sums[i] += left * right[i];
    }
    for (std::size_t i = 0; i < elements; ++i) values[i] += factors.scaling * sums[i];
    first += elements;
    values = values.subspan(elements);
  }
}

std::vector<float> transposed(const std::vector<float>& matrix, std::uint64_t rows) {
  const std::uint64_t columns = rows == 0 ? 0 : matrix.size() / rows;
  std::vector<float> result(matrix.size());
  for (std::uint64_t row = 0; row < rows; ++row) {
    for (std::uint64_t column = 0; column < columns; ++column)
      result[column * rows + row] = matrix[row * columns + column];
  }
  return result;
}

}  // namespace mpimerge::merge
