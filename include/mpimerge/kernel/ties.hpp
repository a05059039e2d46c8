#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "mpimerge/base/dtype.hpp"

namespace mpimerge::kernel {

/// Which of the values that have the elected sign make up the merged one.
enum class Disjoint : std::uint8_t { mean, sum, max };

/// What is known of every element of a tile while task vectors pass one after another: the same few
/// floats whether 4 or 400 tasks are merged.
struct TiesTile {
  explicit TiesTile(std::size_t elements);
  /// Local. Ready for the first task of another tile.
  void clear() noexcept;

  std::vector<float> sum;              ///< Σ w·τ̂, whose sign is elected
  std::vector<float> positive;         ///< Σ (or largest) of the positive w·τ̂
  std::vector<float> negative;         ///< Σ (or smallest) of the negative w·τ̂
  std::vector<float> positive_weight;  ///< Σ of their w
  std::vector<float> negative_weight;
  std::vector<std::uint32_t> seen;  ///< bits of TiesSeen
};

/// What occurred at an element, over all tasks.
enum TiesSeen : std::uint32_t {
  kPositiveBefore = 1,  ///< τ > 0
  kNegativeBefore = 2,  ///< τ < 0
  kPositiveAfter = 4,   ///< τ̂ > 0
  kNegativeAfter = 8,   ///< τ̂ < 0
  kTouched = 16,        ///< w·τ̂ ≠ 0
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

/// Local. Trims τ against its threshold and adds w·τ̂ to the tile, in the order of the calls.
///
/// @param tau        [elements] f32, at most the tile's
/// @param threshold  bits of the float32 threshold: |τ| ≥ threshold is kept, ties included; 0 keeps
///                   all
/// @param weight     w of the task
/// @return how many elements were kept (zeros at or above the threshold included)
/// Source: TIES-Merging, Yadav et al. 2023, section 3: trim.
std::uint64_t add_task(TiesTile& tile, std::span<const float> tau, std::uint32_t threshold,
                       float weight, Disjoint disjoint) noexcept;

/// Local. Counts the first `elements` of a tile that every task has been added to.
TiesCounts count(const TiesTile& tile, std::size_t elements) noexcept;

/// Local. The merged parameters of a tile that every task has been added to.
///
/// @param cancelled_sign  +1, −1 or 0: what a sum of exactly zero takes. 0 acts as negative, and for
///                        Disjoint::max gives 0, as in the published code
/// @param merged          [elements] f32: the base, becomes fl(base + fl(λ·τ_merged)), two roundings
/// NaN in any task gives NaN. A sum of weights of exactly 0 divides by 1.
/// Source: TIES-Merging, Yadav et al. 2023, section 3: elect, disjoint merge.
void finish(const TiesTile& tile, Disjoint disjoint, int cancelled_sign, float lambda,
            std::span<float> merged) noexcept;

}  // namespace mpimerge::kernel
