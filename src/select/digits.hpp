#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace mpimerge::select {

/// A part of the 31 bits of a magnitude.
struct Digit {
  unsigned shift;
  unsigned width;
  [[nodiscard]] constexpr std::size_t bins() const { return std::size_t{1} << width; }
};

/// The first digit is wide enough that few elements are left after it, and narrow enough that a
/// task's counters stay near the core.
inline constexpr std::array<Digit, 3> kDigits{Digit{18, 13}, Digit{9, 9}, Digit{0, 9}};

/// Local. Writes the magnitudes of `values` whose first digit is `digit` to `found`, in order.
/// @param found  room for values.size() elements and a vector more
/// @return how many
std::size_t find_first_digit(std::span<const float> values, std::uint32_t digit,
                             std::uint32_t* found) noexcept;

/// Local. Room that `find_first_digit` needs past the last element.
inline constexpr std::size_t kFoundPadding = 64;

}  // namespace mpimerge::select
