#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "mpimerge/base/dtype.hpp"

namespace mpimerge::kernel {

/// A range of magnitudes [low, high) in which a threshold is sought, as bits of float32 without
/// sign: those sort as the magnitudes do.
struct Bracket {
  static constexpr std::uint32_t kEnd = 0x80000000u;  ///< above every magnitude, NaN included
  static constexpr std::size_t kMostAtoms = 4;

  std::uint32_t low = 0;
  std::uint32_t high = kEnd;
  /// Magnitudes inside that many elements have: they are counted, not listed.
  std::array<std::uint32_t, kMostAtoms> atoms{};
  std::size_t atom_count = 0;
};

/// What `count_bracket` found.
struct BracketCount {
  std::uint64_t above = 0;  ///< elements at or above `high`
  std::array<std::uint64_t, Bracket::kMostAtoms> atoms{};
  std::size_t listed = 0;     ///< elements inside that are no atom
  std::uint32_t largest = 0;  ///< magnitude of all; at least 0x7f800000: some τ is not finite
};

/// Local. Room that `count_bracket` and `count_listed` need in lists, past the elements.
inline constexpr std::size_t kListPadding = 256;

/// Local. Counts the magnitudes of a task vector τ = task − base by a bracket and lists those
/// inside.
///
/// @param task  [elements] of a floating `dtype`, any alignment
/// @param base  [elements] of the same type, any alignment
/// @param list  room for [elements + kListPadding]: the magnitudes inside that are no atoms, in any
///              order
/// Cost: one vectorised read; the list grows branch-free.
BracketCount count_bracket(base::Dtype dtype, std::span<const std::byte> task,
                           std::span<const std::byte> base, const Bracket& bracket,
                           std::uint32_t* list) noexcept;

/// Local. The same for magnitudes that `count_bracket` has listed for a wider bracket: several
/// thresholds of a task are sought in one read of its values.
///
/// @param magnitudes  [elements + kListPadding], the padding may be overwritten
/// @return what the bracket has of them, but for `largest`
BracketCount count_listed(std::uint32_t* magnitudes, std::size_t elements, const Bracket& bracket,
                          std::uint32_t* list) noexcept;

}  // namespace mpimerge::kernel
