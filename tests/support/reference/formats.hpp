#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace mpimerge::test::reference {

/// A binary floating-point format of IEEE 754's kind.
struct Format {
  int mantissa_bits;
  int smallest_exponent;  ///< of normal numbers
  int largest_exponent;

  /// Local. The exponent field of infinities and NaN: all ones.
  std::uint32_t special_exponent() const {
    return static_cast<std::uint32_t>(largest_exponent - smallest_exponent + 2);
  }
  std::uint32_t infinity() const { return special_exponent() << mantissa_bits; }
  std::uint32_t sign_bit() const { return (special_exponent() + 1) << mantissa_bits; }
};
inline constexpr Format kHalf{10, -14, 15};
inline constexpr Format kBfloat{7, -126, 127};
inline constexpr Format kSingle{23, -126, 127};

/// Local. The value of the bits, step by step as the standard defines it.
inline double value_of(const Format& format, std::uint32_t bits) {
  const double sign = (bits & format.sign_bit()) != 0 ? -1.0 : 1.0;
  const std::uint32_t magnitude = bits & (format.sign_bit() - 1);
  if (magnitude > format.infinity()) return std::numeric_limits<double>::quiet_NaN();
  if (magnitude == format.infinity()) return sign * std::numeric_limits<double>::infinity();
  const auto exponent_field = static_cast<int>(magnitude >> format.mantissa_bits);
  const std::uint32_t implicit = std::uint32_t{1} << format.mantissa_bits;
  const std::uint32_t fraction = magnitude & (implicit - 1);
  if (exponent_field == 0)
    return sign * std::ldexp(fraction, format.smallest_exponent - format.mantissa_bits);
  return sign * std::ldexp(fraction + implicit,
                           format.smallest_exponent + exponent_field - 1 - format.mantissa_bits);
}

/// Local. The bits of the number of the format that is nearest to `value`, ties to even; some NaN
/// for NaN.
inline std::uint32_t nearest(const Format& format, double value) {
  const std::uint32_t sign = std::signbit(value) ? format.sign_bit() : 0;
  if (std::isnan(value)) return sign | (format.infinity() + 1);
  if (std::isinf(value)) return sign | format.infinity();
  if (value == 0) return sign;
  const int exponent = std::max(std::ilogb(value), format.smallest_exponent);
  // In units of the last place; nearbyint rounds to nearest even.
  const double units = std::nearbyint(std::ldexp(std::abs(value), format.mantissa_bits - exponent));
  const std::uint32_t implicit = std::uint32_t{1} << format.mantissa_bits;
  // A mantissa that was rounded up to twice `implicit` carries into the exponent by itself.
  const auto steps = static_cast<std::uint64_t>(exponent - format.smallest_exponent) * implicit;
  const std::uint64_t magnitude = steps + static_cast<std::uint64_t>(units);
  return sign | static_cast<std::uint32_t>(std::min<std::uint64_t>(magnitude, format.infinity()));
}

}  // namespace mpimerge::test::reference
