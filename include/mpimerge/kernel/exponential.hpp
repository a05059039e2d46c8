#pragma once

#include <bit>
#include <cstdint>

namespace mpimerge::kernel {

// Functions of numbers in float64, within a few units in the last place, of additions,
// multiplications and divisions alone: the same bits on every processor and with every library, and
// loops over them become vectors.

/// Local. eˣ of x ≤ 0; below −700, where it is less than 10^-304, that of −700.
[[nodiscard]] constexpr double exp_of(double x) noexcept {
  constexpr double kLeast = -700;
  constexpr double kLog2E = 0x1.71547652b82fep+0;
  constexpr double kLn2High = 0x1.62e42feep-1;  // 32 bits: products with exponents are exact
  constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
  constexpr double kRounder = 0x1.8p+52;  // added, it leaves an integer in the lowest bits
  const double bounded = x < kLeast ? kLeast : x;
  const double shifted = bounded * kLog2E + kRounder;
  const double exponent = shifted - kRounder;
  const double r = (bounded - exponent * kLn2High) - exponent * kLn2Low;
  // |r| ≤ ln 2 / 2: the series' next term is below 10^-17.
  double series = 1.0 / 6227020800;
  series = series * r + 1.0 / 479001600;
  series = series * r + 1.0 / 39916800;
  series = series * r + 1.0 / 3628800;
  series = series * r + 1.0 / 362880;
  series = series * r + 1.0 / 40320;
  series = series * r + 1.0 / 5040;
  series = series * r + 1.0 / 720;
  series = series * r + 1.0 / 120;
  series = series * r + 1.0 / 24;
  series = series * r + 1.0 / 6;
  series = series * r + 0.5;
  series = series * r + 1;
  series = series * r + 1;
  const std::uint64_t scale = (std::bit_cast<std::uint64_t>(shifted) + 1023) << 52;
  return series * std::bit_cast<double>(scale);
}

/// Local. ln(p/q) of normal numbers above 0. NaN where either is.
[[nodiscard]] constexpr double log_of_quotient(double p, double q) noexcept {
  constexpr std::uint64_t kMantissa = (std::uint64_t{1} << 52) - 1;
  constexpr std::uint64_t kOne = std::uint64_t{1023} << 52;
  constexpr double kSqrt2 = 0x1.6a09e667f3bcdp+0;
  constexpr double kLn2 = 0x1.62e42fefa39efp-1;
  const auto p_bits = std::bit_cast<std::uint64_t>(p);
  const auto q_bits = std::bit_cast<std::uint64_t>(q);
  const double p_mantissa = std::bit_cast<double>((p_bits & kMantissa) | kOne);
  const double q_mantissa = std::bit_cast<double>((q_bits & kMantissa) | kOne);
  // Into [√½, √2], by a step of the exponent.
  const bool too_large = p_mantissa > kSqrt2 * q_mantissa;
  const bool too_small = kSqrt2 * p_mantissa < q_mantissa;
  const double a = too_large ? 0.5 * p_mantissa : p_mantissa;
  const double b = too_small ? 0.5 * q_mantissa : q_mantissa;
  // A difference of exponents as a double: an integer in the lowest bits of a large one.
  constexpr std::uint64_t kLarge = 0x4330000000000000u;
  const std::uint64_t difference = (p_bits >> 52) - (q_bits >> 52) + 4096;
  const double steps = (too_large ? 1.0 : 0.0) - (too_small ? 1.0 : 0.0);
  const double exponent = (std::bit_cast<double>(kLarge | difference) - (0x1p52 + 4096)) + steps;
  // ln(a/b) = 2 artanh(s): |s| ≤ 0.172, and the series' next term is below 10^-17.
  const double s = (a - b) / (a + b);
  const double z = s * s;
  double series = 1.0 / 21;
  series = series * z + 1.0 / 19;
  series = series * z + 1.0 / 17;
  series = series * z + 1.0 / 15;
  series = series * z + 1.0 / 13;
  series = series * z + 1.0 / 11;
  series = series * z + 1.0 / 9;
  series = series * z + 1.0 / 7;
  series = series * z + 1.0 / 5;
  series = series * z + 1.0 / 3;
  series = series * z + 1;
  const double logarithm = exponent * kLn2 + 2 * s * series;
  return p == p && q == q ? logarithm : p + q;
}

}  // namespace mpimerge::kernel
