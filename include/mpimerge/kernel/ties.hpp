#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mpimerge/base/dtype.hpp"

namespace mpimerge::kernel {

/// Which of the values that have the elected sign make up the merged one.
enum class Disjoint : std::uint8_t { mean, sum, max };

/// What is the same for every element of a merge.
struct TiesRule {
  Disjoint disjoint = Disjoint::mean;
  /// +1, −1 or 0: what a sum of exactly zero takes. 0 acts as negative, and for Disjoint::max gives
  /// 0, as in the published code.
  int cancelled_sign = 1;
  float lambda = 1;
  bool may_have_nan = false;  ///< else no τ is NaN, and the arithmetic is faster
  bool gives_vector = false;  ///< `merge_tile` leaves the base and λ out: its result is τ_merged
};

/// One task's part of a tile.
struct TiesTask {
  const std::byte* values = nullptr;  ///< [elements] of the tile's type, any alignment
  /// Bits of the float32 threshold: |τ| ≥ threshold is kept, ties included; 0 keeps all.
  std::uint32_t threshold = 0;
  float weight = 1;
  std::uint64_t kept =
      0;  ///< grows by the elements kept (zeros at or above the threshold included)
};

/// Counts over elements; sums over tiles, chunks and ranks.
struct TiesCounts {
  std::uint64_t positive = 0;   ///< elected sign +
  std::uint64_t negative = 0;   ///< elected sign −
  std::uint64_t cancelled = 0;  ///< something was kept, and it sums to exactly zero
  std::uint64_t untouched = 0;  ///< nothing was kept
  std::uint64_t conflicts_before_trim = 0;
  std::uint64_t conflicts_after_trim = 0;
};

/// Local. Adds counts to counts.
TiesCounts& operator+=(TiesCounts& total, const TiesCounts& part) noexcept;

/// The memory that `merge_tile` needs besides its arguments: flat, whatever the number of tasks.
class TiesScratch {
 public:
  explicit TiesScratch(std::size_t most_elements);
  /// Local. One of `kRows` rows, each as long as the tile.
  [[nodiscard]] float* row(std::size_t number) noexcept {
    return memory_.data() + number * elements_;
  }
  static constexpr std::size_t kRows = 9;

 private:
  std::size_t elements_;
  std::vector<float> memory_;
};

/// Local. Trims, elects and merges one tile: all tasks, element by element, in the order of
/// `tasks`. Few tasks at a time run through registers, so the memory does not grow with their
/// number.
///
/// @param dtype   of the base's and every task's values: F32, BF16 or F16; others are widened first
/// @param base    [elements] of that type, any alignment
/// @param tasks   in job order
/// @param scratch for tiles of at least these elements
/// @param merged  [elements] f32: fl(base + fl(λ·τ_merged)), two roundings; may be the base itself
/// NaN in any task gives NaN there. A sum of weights of exactly 0 divides by 1.
/// Source: TIES-Merging, Yadav et al. 2023, section 3: trim, elect, disjoint merge.
TiesCounts merge_tile(const TiesRule& rule, base::Dtype dtype, std::span<const std::byte> base,
                      std::span<TiesTask> tasks, TiesScratch& scratch, std::span<float> merged);

/// Local. The last step of `merge_tile` by itself, for several λ: fl(base + fl(λ·τ_merged)).
/// @param vector  [elements] τ_merged
/// @param merged  [elements]
void move_base(base::Dtype dtype, std::span<const std::byte> base, float lambda,
               std::span<const float> vector, std::span<float> merged);

/// Local. Only elects: how many more elements of a tile have a positive sign than a negative one.
/// Arguments as of `merge_tile`.
std::int64_t count_signs(base::Dtype dtype, std::span<const std::byte> base,
                         std::span<TiesTask> tasks, TiesScratch& scratch);

}  // namespace mpimerge::kernel
