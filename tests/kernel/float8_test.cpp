// The 8-bit float formats: every pattern, and what rounds to it, by the definition of the formats.
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "mpimerge/kernel/convert.hpp"

namespace mpimerge::kernel {
namespace {

struct Case {
  const char* name;
  base::Dtype dtype;
  Float8 format;
  int mantissa_bits;
  int bias;
  int largest;        // magnitude bits of the largest number
  int after_largest;  // what the number above it would be rounded to
};

void PrintTo(const Case& tested, std::ostream* out) { *out << tested.name; }

const Case kCases[] = {{"E5M2", base::Dtype::f8_e5m2, kE5M2, 2, 15, 0x7b, 0x7c},
                       {"E4M3", base::Dtype::f8_e4m3, kE4M3, 3, 7, 0x7e, 0x7f}};

// Of a magnitude, as if the format went on above its largest number.
double value_of(const Case& tested, int magnitude) {
  const int mantissa = magnitude & ((1 << tested.mantissa_bits) - 1);
  const int exponent = magnitude >> tested.mantissa_bits;
  const double fraction = std::ldexp(mantissa, -tested.mantissa_bits);
  return exponent == 0 ? std::ldexp(fraction, 1 - tested.bias)
                       : std::ldexp(1 + fraction, exponent - tested.bias);
}

class Float8s : public testing::TestWithParam<Case> {};

TEST_P(Float8s, EveryPatternHasItsExactValue) {
  for (int magnitude = 0; magnitude < 0x80; ++magnitude) {
    for (const int sign : {0, 0x80}) {
      const auto bits = static_cast<std::uint8_t>(magnitude | sign);
      const float found = f8_to_f32(GetParam().format, bits);
      EXPECT_EQ(std::signbit(found), sign != 0) << magnitude;
      if (magnitude <= GetParam().largest)
        EXPECT_EQ(std::abs(static_cast<double>(found)), value_of(GetParam(), magnitude));
      else if (GetParam().dtype == base::Dtype::f8_e5m2 && magnitude == 0x7c)
        EXPECT_TRUE(std::isinf(found));
      else
        EXPECT_TRUE(std::isnan(found)) << magnitude;
    }
  }
}

TEST_P(Float8s, MidpointsGoToTheEvenNeighbourAndWhatIsBesideThemToTheNearer) {
  for (int below = 0; below <= GetParam().largest; ++below) {
    const auto midpoint =
        static_cast<float>((value_of(GetParam(), below) + value_of(GetParam(), below + 1)) / 2);
    const int above = below == GetParam().largest ? GetParam().after_largest : below + 1;
    const int even = below % 2 == 0 ? below : above;
    const auto round = [&](float value) { return f32_to_f8(GetParam().format, value); };
    EXPECT_EQ(round(midpoint), even) << below;
    EXPECT_EQ(round(-midpoint), even | 0x80) << below;
    EXPECT_EQ(round(std::nextafter(midpoint, 0.0F)), below) << below;
    EXPECT_EQ(round(std::nextafter(midpoint, 1e9F)), above) << below;
    EXPECT_EQ(round(static_cast<float>(value_of(GetParam(), below))), below);
  }
}

TEST_P(Float8s, WhatIsFarTooLargeOrNotANumberOverflows) {
  const auto round = [&](float value) { return f32_to_f8(GetParam().format, value); };
  for (const float large : {1e6F, 3e38F, std::numeric_limits<float>::infinity()}) {
    EXPECT_EQ(round(large), GetParam().after_largest);
    EXPECT_EQ(round(-large), GetParam().after_largest | 0x80);
  }
  EXPECT_EQ(round(std::numeric_limits<float>::quiet_NaN()) & 0x7f, 0x7f);
  EXPECT_EQ(round(std::bit_cast<float>(0x7f800001U)) & 0x7f, 0x7f);
  EXPECT_EQ(round(1e-30F), 0);
  EXPECT_EQ(round(-0.0F), 0x80);
}

TEST_P(Float8s, VectorsEqualTheFunctionsForEveryLength) {
  std::mt19937 random(8);
  for (std::size_t elements = 0; elements < 80; ++elements) {
    std::vector<float> values(elements);
    for (float& value : values) {
      const auto bits = static_cast<std::uint32_t>(random());
      // Half of them where the format has its numbers.
      value = random() % 2 == 0 ? std::bit_cast<float>(bits)
                                : std::ldexp(static_cast<float>(bits % 1000), -14);
    }
    std::vector<std::byte> rounded(elements + 1);
    from_f32(GetParam().dtype, values, std::span(rounded).subspan(1));
    for (std::size_t i = 0; i < elements; ++i)
      EXPECT_EQ(static_cast<std::uint8_t>(rounded[i + 1]), f32_to_f8(GetParam().format, values[i]));

    std::vector<std::byte> patterns(elements);
    for (std::byte& pattern : patterns) pattern = static_cast<std::byte>(random());
    std::vector<float> widened(elements);
    to_f32(GetParam().dtype, patterns, widened);
    for (std::size_t i = 0; i < elements; ++i) {
      const float expected = f8_to_f32(GetParam().format, static_cast<std::uint8_t>(patterns[i]));
      EXPECT_EQ(std::bit_cast<std::uint32_t>(widened[i]), std::bit_cast<std::uint32_t>(expected));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, Float8s, testing::ValuesIn(kCases),
                         [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace mpimerge::kernel
