#include "mpimerge/kernel/convert.hpp"

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "support/reference/formats.hpp"

namespace mpimerge::kernel {
namespace {

using base::Dtype;
using test::reference::Format;
using test::reference::kBfloat;
using test::reference::kHalf;
using test::reference::kSingle;
using test::reference::nearest;
using test::reference::value_of;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }
float float_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }

// A 16-bit format beside the functions that convert it.
struct Narrow {
  const char* name;
  Dtype dtype;
  Format format;
  float (*widen)(std::uint16_t bits) noexcept;
  std::uint16_t (*round)(float value) noexcept;

  bool is_nan(std::uint16_t bits) const { return (bits & 0x7fffU) > format.infinity(); }

  // Half-way from a magnitude to the next; the last is where rounding to infinity begins.
  float midpoint_above(std::uint32_t magnitude) const {
    const double low = value_of(format, magnitude);
    const double high = magnitude + 1 < format.infinity()
                            ? value_of(format, magnitude + 1)
                            : std::ldexp(1.0, format.largest_exponent + 1);
    const auto midpoint = static_cast<float>((low + high) / 2);
    EXPECT_EQ(static_cast<double>(midpoint), (low + high) / 2) << "a float32 holds it";
    return midpoint;
  }
};

void PrintTo(const Narrow& narrow, std::ostream* out) { *out << narrow.name; }

class Converts : public testing::TestWithParam<Narrow> {};

TEST_P(Converts, EveryPatternToItsExactValue) {
  for (std::uint32_t pattern = 0; pattern <= 0xffff; ++pattern) {
    const auto bits = static_cast<std::uint16_t>(pattern);
    const float found = GetParam().widen(bits);
    if (GetParam().is_nan(bits)) {
      EXPECT_TRUE(std::isnan(found)) << pattern;
      continue;
    }
    const double expected = value_of(GetParam().format, pattern);
    EXPECT_EQ(static_cast<double>(found), expected) << pattern;
    EXPECT_EQ(std::signbit(found), std::signbit(expected)) << pattern;
  }
}

TEST_P(Converts, EveryPatternThereAndBack) {
  for (std::uint32_t pattern = 0; pattern <= 0xffff; ++pattern) {
    const auto bits = static_cast<std::uint16_t>(pattern);
    const std::uint16_t back = GetParam().round(GetParam().widen(bits));
    if (GetParam().is_nan(bits))
      EXPECT_TRUE(GetParam().is_nan(back)) << pattern;
    else
      EXPECT_EQ(back, bits) << pattern;
  }
}

void expect_rounds(const Narrow& narrow, float value) {
  const std::uint16_t found = narrow.round(value);
  if (std::isnan(value)) {
    EXPECT_TRUE(narrow.is_nan(found)) << std::hex << bits_of(value);
  } else {
    EXPECT_EQ(found, nearest(narrow.format, value)) << std::hexfloat << value;
  }
}

TEST_P(Converts, EveryMidpointToItsEvenNeighbourAndWhatIsBesideItToTheNearer) {
  for (std::uint32_t below = 0; below < GetParam().format.infinity(); ++below) {
    const float midpoint = GetParam().midpoint_above(below);
    const auto even = static_cast<std::uint16_t>(below + (below & 1U));
    const auto sign = static_cast<std::uint16_t>(0x8000);
    EXPECT_EQ(GetParam().round(midpoint), even) << below;
    EXPECT_EQ(GetParam().round(-midpoint), even | sign) << below;
    EXPECT_EQ(GetParam().round(std::nextafter(midpoint, 0.0F)), below) << below;
    EXPECT_EQ(GetParam().round(-std::nextafter(midpoint, 0.0F)), below | sign) << below;
    EXPECT_EQ(GetParam().round(std::nextafter(midpoint, kInfinity)), below + 1) << below;
    EXPECT_EQ(GetParam().round(-std::nextafter(midpoint, kInfinity)), (below + 1) | sign) << below;
  }
}

TEST_P(Converts, RandomFloatsToTheNearest) {
  std::mt19937_64 random(20);
  for (int i = 0; i < 300'000; ++i)
    expect_rounds(GetParam(), float_of(static_cast<std::uint32_t>(random())));
}

TEST_P(Converts, RandomFloatsOfItsRangeToTheNearest) {
  std::mt19937_64 random(21);
  const int lowest = GetParam().format.smallest_exponent - GetParam().format.mantissa_bits - 3;
  const int highest = std::min(GetParam().format.largest_exponent + 2, 127);
  std::uniform_int_distribution<int> exponent(std::max(lowest, -149), highest);
  for (int i = 0; i < 300'000; ++i) {
    const auto mantissa = static_cast<std::uint32_t>(random()) >> 9;
    const float value = std::ldexp(float_of(0x3f800000U | mantissa), exponent(random));
    expect_rounds(GetParam(), value);
    expect_rounds(GetParam(), -value);
  }
}

constexpr std::uint32_t kBordersOfFloat32[] = {
    0x00000000U, 0x00000001U, 0x00000002U, 0x00007fffU, 0x00008000U, 0x00008001U, 0x0000ffffU,
    0x00018000U, 0x007fffffU, 0x00800000U, 0x00800001U, 0x7f7f7fffU, 0x7f7f8000U, 0x7f7fffffU,
    0x7f800000U, 0x7f800001U, 0x7f80ffffU, 0x7fbfffffU, 0x7fc00000U, 0x7fffffffU};

TEST_P(Converts, TheBordersOfFloat32) {
  for (const std::uint32_t magnitude : kBordersOfFloat32) {
    expect_rounds(GetParam(), float_of(magnitude));
    expect_rounds(GetParam(), float_of(magnitude | 0x80000000U));
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, Converts,
                         testing::Values(Narrow{"half", Dtype::f16, kHalf, f16_to_f32, f32_to_f16},
                                         Narrow{"bfloat16", Dtype::bf16, kBfloat, bf16_to_f32,
                                                f32_to_bf16}),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(Half, RoundsToInfinityFrom65520) {
  EXPECT_EQ(f32_to_f16(65504.0F), 0x7bff);
  EXPECT_EQ(f32_to_f16(65519.996F), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0F), 0x7c00);
  EXPECT_EQ(f32_to_f16(-65519.996F), 0xfbff);
  EXPECT_EQ(f32_to_f16(-65520.0F), 0xfc00);
  EXPECT_EQ(f32_to_f16(kInfinity), 0x7c00);
}

TEST(Half, RoundsToZeroUpToHalfOfItsSmallest) {
  constexpr float kSmallest = 0x1p-24F;
  EXPECT_EQ(f32_to_f16(kSmallest), 0x0001);
  EXPECT_EQ(f32_to_f16(kSmallest / 2), 0x0000);
  EXPECT_EQ(f32_to_f16(std::nextafter(kSmallest / 2, 1.0F)), 0x0001);
  EXPECT_EQ(f32_to_f16(-kSmallest / 2), 0x8000);
  EXPECT_EQ(f32_to_f16(1.5F * kSmallest), 0x0002);
  EXPECT_EQ(f32_to_f16(float_of(1)), 0x0000);
}

TEST(Bfloat16, RoundsToInfinityOnlyBeyondItsRange) {
  EXPECT_EQ(f32_to_bf16(float_of(0x7f7f7fff)), 0x7f7f);
  EXPECT_EQ(f32_to_bf16(float_of(0x7f7f8000)), 0x7f80);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::lowest()), 0xff80);
}

TEST(Reference, AgreesWithTheProcessorOnFloat32) {
  std::mt19937_64 random(22);
  for (int i = 0; i < 100'000; ++i) {
    const auto value = std::bit_cast<double>(random());
    if (std::isnan(value)) continue;
    EXPECT_EQ(nearest(kSingle, value), bits_of(static_cast<float>(value)))
        << std::hexfloat << value;
    const auto bits = static_cast<std::uint32_t>(random());
    if (std::isnan(float_of(bits))) continue;
    EXPECT_EQ(value_of(kSingle, bits), static_cast<double>(float_of(bits)));
  }
}

// `values` as the bytes of a file, from an odd address on.
template <class Element>
class AtOddAddress {
 public:
  explicit AtOddAddress(const std::vector<Element>& values)
      : bytes_(values.size() * sizeof(Element) + 1) {
    if (!values.empty())
      std::memcpy(bytes_.data() + 1, values.data(), values.size() * sizeof(Element));
  }
  std::span<std::byte> span() { return std::span(bytes_).subspan(1); }
  std::vector<Element> values() const {
    std::vector<Element> copy((bytes_.size() - 1) / sizeof(Element));
    if (!copy.empty()) std::memcpy(copy.data(), bytes_.data() + 1, bytes_.size() - 1);
    return copy;
  }

 private:
  std::vector<std::byte> bytes_;
};

std::vector<float> widened(Dtype dtype, std::span<const std::byte> from, std::size_t elements) {
  // One more than asked for: nobody may write behind the end.
  std::vector<float> to(elements + 1, 77.0F);
  to_f32(dtype, from, std::span(to).first(elements));
  EXPECT_EQ(to.back(), 77.0F);
  to.pop_back();
  return to;
}

template <class Element>
std::vector<Element> rounded(Dtype dtype, const std::vector<float>& from) {
  std::vector<Element> to(from.size() + 1, Element{77});
  AtOddAddress<Element> target(to);
  from_f32(dtype, from, target.span().first(from.size() * sizeof(Element)));
  to = target.values();
  EXPECT_EQ(to.back(), Element{77});
  to.pop_back();
  return to;
}

TEST_P(Converts, VectorsWidenEveryPatternAsTheFunctionDoes) {
  std::vector<std::uint16_t> patterns(0x10000);
  std::iota(patterns.begin(), patterns.end(), std::uint16_t{0});

  const auto found = widened(GetParam().dtype, AtOddAddress(patterns).span(), patterns.size());

  for (std::size_t i = 0; i < patterns.size(); ++i)
    EXPECT_EQ(bits_of(found[i]), bits_of(GetParam().widen(patterns[i]))) << patterns[i];
}

TEST_P(Converts, VectorsRoundMidpointsAndSpecialsAsTheFunctionDoes) {
  std::vector<float> values;
  const auto append = [&](float value) {
    values.push_back(value);
    values.push_back(-value);
  };
  for (const std::uint32_t magnitude : kBordersOfFloat32) append(float_of(magnitude));
  for (std::uint32_t below = 0; below < GetParam().format.infinity(); ++below) {
    const float midpoint = GetParam().midpoint_above(below);
    for (const float value :
         {midpoint, std::nextafter(midpoint, 0.0F), std::nextafter(midpoint, kInfinity)})
      append(value);
  }

  const auto found = rounded<std::uint16_t>(GetParam().dtype, values);

  for (std::size_t i = 0; i < values.size(); ++i)
    EXPECT_EQ(found[i], GetParam().round(values[i])) << std::hexfloat << values[i];
}

std::vector<std::uint64_t> random_patterns(std::size_t count) {
  std::mt19937_64 random(23);
  std::vector<std::uint64_t> patterns;
  while (patterns.size() < count) {
    const std::uint64_t pattern = random();
    // No NaN in any of the types, so that == compares.
    if (std::isnan(std::bit_cast<double>(pattern))) continue;
    if (std::isnan(float_of(static_cast<std::uint32_t>(pattern)))) continue;
    if ((pattern & 0x7c00U) == 0x7c00U || (pattern & 0x7f80U) == 0x7f80U) continue;
    patterns.push_back(pattern);
  }
  return patterns;
}

constexpr std::size_t kLongest = 70;

TEST(ToF32, WidensAnyLengthFromAnyAddress) {
  const auto patterns = random_patterns(kLongest);
  for (std::size_t elements = 0; elements <= kLongest; ++elements) {
    std::vector<std::uint16_t> narrow;
    std::vector<float> single;
    std::vector<double> wide;
    for (std::size_t i = 0; i < elements; ++i) {
      narrow.push_back(static_cast<std::uint16_t>(patterns[i]));
      single.push_back(float_of(static_cast<std::uint32_t>(patterns[i])));
      wide.push_back(std::bit_cast<double>(patterns[i]));
    }
    AtOddAddress<std::uint16_t> narrow_bytes(narrow);
    const auto from_half = widened(Dtype::f16, narrow_bytes.span(), elements);
    const auto from_bfloat = widened(Dtype::bf16, narrow_bytes.span(), elements);
    const auto from_single = widened(Dtype::f32, AtOddAddress(single).span(), elements);
    const auto from_wide = widened(Dtype::f64, AtOddAddress(wide).span(), elements);
    for (std::size_t i = 0; i < elements; ++i) {
      EXPECT_EQ(from_half[i], value_of(kHalf, narrow[i])) << i << " of " << elements;
      EXPECT_EQ(from_bfloat[i], value_of(kBfloat, narrow[i])) << i << " of " << elements;
      EXPECT_EQ(bits_of(from_single[i]), bits_of(single[i])) << i << " of " << elements;
      EXPECT_EQ(bits_of(from_wide[i]), nearest(kSingle, wide[i])) << i << " of " << elements;
    }
  }
}

TEST(FromF32, RoundsAnyLengthToAnyAddress) {
  const auto patterns = random_patterns(kLongest);
  for (std::size_t elements = 0; elements <= kLongest; ++elements) {
    std::vector<float> values;
    for (std::size_t i = 0; i < elements; ++i)
      values.push_back(float_of(static_cast<std::uint32_t>(patterns[i])));
    const auto half = rounded<std::uint16_t>(Dtype::f16, values);
    const auto bfloat = rounded<std::uint16_t>(Dtype::bf16, values);
    const auto single = rounded<float>(Dtype::f32, values);
    const auto wide = rounded<double>(Dtype::f64, values);
    for (std::size_t i = 0; i < elements; ++i) {
      EXPECT_EQ(half[i], nearest(kHalf, values[i])) << i << " of " << elements;
      EXPECT_EQ(bfloat[i], nearest(kBfloat, values[i])) << i << " of " << elements;
      EXPECT_EQ(bits_of(single[i]), bits_of(values[i])) << i << " of " << elements;
      EXPECT_EQ(wide[i], static_cast<double>(values[i])) << i << " of " << elements;
    }
  }
}

float from_f64(double value) {
  float rounded = 0;
  to_f32(Dtype::f64, std::as_bytes(std::span(&value, 1)), std::span(&rounded, 1));
  return rounded;
}

TEST(ToF32, RoundsF64ToNearestEven) {
  constexpr float kMax = std::numeric_limits<float>::max();
  EXPECT_EQ(from_f64(1 + 0x1p-24), 1.0F);
  EXPECT_EQ(from_f64(1 + 0x1p-24 + 0x1p-52), 1 + 0x1p-23F);
  EXPECT_EQ(from_f64(1 + 3 * 0x1p-24), 1 + 0x1p-22F);
  EXPECT_EQ(from_f64(0x1.fffffefffffffp127), kMax);
  EXPECT_EQ(from_f64(0x1.ffffffp127), kInfinity);
  EXPECT_EQ(from_f64(-1e300), -kInfinity);
  EXPECT_EQ(bits_of(from_f64(0x1p-150)), 0U);
  EXPECT_EQ(bits_of(from_f64(-0x1p-150)), 0x80000000U);
  EXPECT_EQ(bits_of(from_f64(0x1.0000000000001p-150)), 1U);
  EXPECT_EQ(bits_of(from_f64(3 * 0x1p-150)), 2U);
  EXPECT_EQ(bits_of(from_f64(-0.0)), 0x80000000U);
  EXPECT_TRUE(std::isnan(from_f64(std::numeric_limits<double>::quiet_NaN())));
}

TEST(ToF32, KeepsNaN) {
  std::vector<float> to(1);
  constexpr std::uint16_t kHalves[] = {0x7c01, 0x7e00, 0xffff};
  for (const std::uint16_t half : kHalves) {
    to_f32(Dtype::f16, std::as_bytes(std::span(&half, 1)), to);
    EXPECT_TRUE(std::isnan(to[0])) << half;
  }
  constexpr std::uint16_t kBfloats[] = {0x7f81, 0x7fc0, 0xffff};
  for (const std::uint16_t bfloat : kBfloats) {
    to_f32(Dtype::bf16, std::as_bytes(std::span(&bfloat, 1)), to);
    EXPECT_TRUE(std::isnan(to[0])) << bfloat;
  }
}

}  // namespace
}  // namespace mpimerge::kernel
