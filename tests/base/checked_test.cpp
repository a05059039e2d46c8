#include "mpimerge/base/checked.hpp"

#include <cstdint>
#include <limits>
#include <optional>

#include <gtest/gtest.h>

namespace mpimerge::base {
namespace {

constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

TEST(Checked, MultipliesUpToTheLast64BitNumber) {
  EXPECT_EQ(checked_multiply(0, kMost), 0U);
  EXPECT_EQ(checked_multiply(kMost, 1), kMost);
  EXPECT_EQ(checked_multiply(1ULL << 32, (1ULL << 32) - 1), kMost - ((1ULL << 32) - 1));
}

TEST(Checked, RefusesAProductThatDoesNotFit) {
  EXPECT_EQ(checked_multiply(1ULL << 32, 1ULL << 32), std::nullopt);
  EXPECT_EQ(checked_multiply(kMost, 2), std::nullopt);
}

TEST(Checked, AddsUpToTheLast64BitNumber) {
  EXPECT_EQ(checked_add(kMost, 0), kMost);
  EXPECT_EQ(checked_add(kMost - 1, 1), kMost);
}

TEST(Checked, RefusesASumThatDoesNotFit) {
  EXPECT_EQ(checked_add(kMost, 1), std::nullopt);
  EXPECT_EQ(checked_add(1ULL << 63, 1ULL << 63), std::nullopt);
}

}  // namespace
}  // namespace mpimerge::base
