#include "mpimerge/kernel/uniform.hpp"

#include <array>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace mpimerge::kernel {
namespace {

using Words = std::array<std::uint32_t, 4>;

std::vector<float> numbers(const Uniform& uniform, std::uint64_t first, std::size_t count) {
  // From an odd float on; behind the end stands what must stay.
  std::vector<float> memory(count + 2, 77.0F);
  uniform.fill(first, std::span(memory).subspan(1, count));
  EXPECT_EQ(memory.front(), 77.0F);
  EXPECT_EQ(memory.back(), 77.0F);
  return {memory.begin() + 1, memory.end() - 1};
}

// The known answers that come with the authors' Random123.
TEST(Philox, GivesTheKnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
  EXPECT_EQ(
      philox({0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu}, {0xffffffffu, 0xffffffffu}),
      (Words{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
  EXPECT_EQ(
      philox({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}),
      (Words{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}));
}

TEST(Uniform, VectorsGiveTheNumbersOfSingleElements) {
  const Uniform uniform(7, 3, "layers.0.weight");
  for (const std::uint64_t first : {0ULL, 1ULL, 6ULL, 1000003ULL, (1ULL << 34) - 10, 1ULL << 45}) {
    for (const std::size_t count : {0U, 1U, 3U, 64U, 301U}) {
      const std::vector<float> filled = numbers(uniform, first, count);
      for (std::size_t i = 0; i < count; ++i)
        ASSERT_EQ(filled[i], uniform.at(first + i)) << first << " + " << i;
    }
  }
}

TEST(Uniform, DependsOnSeedModelAndName) {
  const std::vector<float> some = numbers(Uniform(1, 0, "a"), 0, 16);
  EXPECT_EQ(numbers(Uniform(1, 0, "a"), 0, 16), some);
  EXPECT_NE(numbers(Uniform(2, 0, "a"), 0, 16), some);
  EXPECT_NE(numbers(Uniform(1ULL << 32, 0, "a"), 0, 16), numbers(Uniform(0, 0, "a"), 0, 16));
  EXPECT_NE(numbers(Uniform(1, 1, "a"), 0, 16), some);
  EXPECT_NE(numbers(Uniform(1, 0, "b"), 0, 16), some);
}

TEST(Uniform, IsUniformInZeroToOne) {
  const std::size_t count = 1 << 20;
  std::array<std::size_t, 64> bins{};
  for (const float number : numbers(Uniform(5, 0, "t"), 0, count)) {
    ASSERT_GE(number, 0);
    ASSERT_LT(number, 1);
    ++bins[static_cast<std::size_t>(number * 64)];
  }
  // 16,384 in each, with a standard deviation of 127.
  for (const std::size_t found : bins) EXPECT_NEAR(static_cast<double>(found), 16384.0, 700.0);
}

}  // namespace
}  // namespace mpimerge::kernel
