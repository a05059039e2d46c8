#include "mpimerge/kernel/task_vector.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

namespace mpimerge::kernel {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Finite floats of every magnitude.
std::vector<float> random_floats(std::uint64_t seed, std::size_t count) {
  std::mt19937_64 random(seed);
  std::vector<float> values;
  while (values.size() < count) {
    const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (std::isfinite(value)) values.push_back(value);
  }
  return values;
}

TEST(SubtractBase, RoundsEveryDifferenceOnce) {
  for (std::size_t elements = 0; elements <= 70; ++elements) {
    const std::vector<float> base = random_floats(1, elements);
    const std::vector<float> task = random_floats(2, elements);
    std::vector<float> tau = task;

    subtract_base(tau, base);

    for (std::size_t i = 0; i < elements; ++i) {
      // Exact in double but for the far smaller of the two, which then cannot turn the rounding.
      const double exact = static_cast<double>(task[i]) - static_cast<double>(base[i]);
      EXPECT_EQ(tau[i], static_cast<float>(exact)) << i << " of " << elements;
    }
  }
}

TEST(SubtractBase, TakesAnyAddressAndTouchesNothingBehindTheEnd) {
  for (std::size_t elements = 0; elements <= 40; ++elements) {
    for (std::size_t shift = 0; shift < 4; ++shift) {
      std::vector<float> task(elements + 20, 5.0F);
      const std::vector<float> base(elements + shift, 2.0F);

      subtract_base(std::span(task).subspan(1, elements), std::span(base).subspan(shift));

      for (std::size_t i = 0; i < task.size(); ++i)
        EXPECT_EQ(task[i], i >= 1 && i <= elements ? 3.0F : 5.0F) << i << " of " << elements;
    }
  }
}

TEST(SubtractBase, OfEqualsIsPositiveZero) {
  const std::vector<float> base{1.5F, -1.5F, 0.0F, -0.0F, 0x1p-149F};
  std::vector<float> tau = base;

  subtract_base(tau, base);

  for (const float value : tau) EXPECT_EQ(std::bit_cast<std::uint32_t>(value), 0U);
}

TEST(SubtractBase, KeepsDenormalDifferences) {
  const std::vector<float> base{0x1.000002p-126F, 0x1p-149F};
  std::vector<float> tau{0x1p-126F, 0.0F};

  subtract_base(tau, base);

  EXPECT_EQ(tau[0], -0x1p-149F);
  EXPECT_EQ(tau[1], -0x1p-149F);
}

TEST(FirstNonFinite, IsNothingInFiniteValues) {
  for (std::size_t elements = 0; elements <= 70; ++elements)
    EXPECT_EQ(first_non_finite(random_floats(3, elements)), std::nullopt) << elements;

  const std::vector<float> extremes{std::numeric_limits<float>::max(),
                                    std::numeric_limits<float>::lowest(), 0x1p-149F, -0.0F};
  EXPECT_EQ(first_non_finite(extremes), std::nullopt);
}

TEST(FirstNonFinite, FindsEveryKindAtEveryPosition) {
  const float kinds[] = {kInfinity,
                         -kInfinity,
                         kNaN,
                         -kNaN,
                         std::bit_cast<float>(0x7f800001U),
                         std::bit_cast<float>(0xffffffffU)};
  for (const float kind : kinds) {
    for (std::size_t elements = 1; elements <= 40; ++elements) {
      for (std::size_t at = 0; at < elements; ++at) {
        std::vector<float> values = random_floats(4, elements);
        values[at] = kind;
        EXPECT_EQ(first_non_finite(values), std::optional(at)) << elements;
        const std::span<const float> without_first = std::span(values).subspan(1);
        if (at > 0) {
          EXPECT_EQ(first_non_finite(without_first), std::optional(at - 1)) << elements;
        }
      }
    }
  }
}

TEST(FirstNonFinite, OfSeveralFindsTheFirst) {
  std::vector<float> values(100, 1.0F);
  values[99] = kNaN;
  values[63] = kInfinity;
  values[62] = -kInfinity;

  EXPECT_EQ(first_non_finite(values), std::optional<std::size_t>(62));
  EXPECT_EQ(first_non_finite(std::span(values).subspan(64)), std::optional<std::size_t>(35));
}

}  // namespace
}  // namespace mpimerge::kernel
