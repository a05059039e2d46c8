#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mpimerge::method {

/// Ranks the values of rows by magnitude.
class RowRanks {
 public:
  /// Local. Place of each value among all, from 0, the smallest magnitude, to 1, the largest; of
  /// equal ones the left one comes first. A value alone stands in the middle.
  /// @param values  [elements]
  /// @param places  [elements]
  void rank(const float* values, std::size_t elements, double* places);

  /// Local. The same for the value of 0-based rank `rank`.
  static double place(std::size_t rank, std::size_t elements) {
    if (elements == 1) return 0.5;
    return static_cast<double>(rank) / static_cast<double>(elements - 1);
  }

 private:
  struct Item {
    std::uint32_t magnitude;
    std::size_t element;
  };
  std::vector<Item> items_;
  std::vector<Item> other_;
};

}  // namespace mpimerge::method
