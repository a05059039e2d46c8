#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace mpimerge::merge {

/// The two factors of what an adapter adds to a matrix, in float32.
struct Factors {
  std::uint64_t rank = 0;
  std::uint64_t columns = 0;  ///< of the matrix
  float scaling = 0;
  std::vector<float> left;   ///< [rows × rank]
  std::vector<float> right;  ///< [rank × columns]
};

/// Local. Adds scaling · (left · right) to elements of the matrix from `first` on, row by row. Each
/// product is a sum in float32 from the first rank to the last, so that a value is the same however
/// the matrix is cut.
void add_low_rank(const Factors& factors, std::uint64_t first, std::span<float> values) noexcept;

/// Local. The transpose of a matrix of so many rows.
std::vector<float> transposed(const std::vector<float>& matrix, std::uint64_t rows);

}  // namespace mpimerge::merge
