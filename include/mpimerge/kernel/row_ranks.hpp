#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mpimerge::kernel {

/// Drops values of rows at random, with a probability that depends on a value's place among the
/// magnitudes of its row. All local.
///
/// No row is sorted: some magnitudes of a row cut it into parts, whose places are known by counting.
/// Most random numbers are decided by the part alone. For the others the exact place is counted, in
/// the part.
class RowDrops {
 public:
  /// The drops of one row. Of equal magnitudes the left one comes first.
  /// @param values, base   [elements] the row is values − base
  /// @param probabilities  [elements] by place, from the smallest magnitude on, never falling: of
  ///                       being kept
  /// @param random         [elements]
  /// @param drops          [elements] 0 where `random` is below the probability, else 1
  /// Cost: O(elements) as a rule; the square of it where most magnitudes lie between two of the few
  /// that cut them, and differ: rows of more than kLongest elements are better sorted.
  void find(const float* values, const float* base, std::size_t elements,
            const float* probabilities, const float* random, float* drops);

  static constexpr std::size_t kLongest = 65536;

 private:
  std::vector<std::int32_t> memory_;
};

}  // namespace mpimerge::kernel
