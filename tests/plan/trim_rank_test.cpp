#include <cstdint>

#include <gtest/gtest.h>

#include "mpimerge/plan/build.hpp"

namespace mpimerge::plan {
namespace {

TEST(TrimRank, IsWhatThePublishedCodesDoubleProductGives) {
  struct Row {
    std::uint64_t parameters;
    double density;
    std::uint64_t rank;
  };
  const Row table[] = {
      {100, 0.2, 20},  {10, 0.2, 2},   {100, 0.29, 28},  // 28.999999999999996
      {100, 0.57, 56},                                   // 56.99999999999999
      {100, 0.58, 57},                                   // 57.99999999999999
      {100, 0.07, 7},                                    // 7.000000000000001
      {100, 0.14, 14}, {64, 0.33, 21},                   // 21.12
      {50, 0.01, 0},                                     // 0.5
      {3, 1.0 / 3, 1}, {1, 0.999, 0},  {1'000'000'000, 1e-9, 1}, {999'999'999, 1e-9, 0},
  };
  for (const auto& [parameters, density, rank] : table)
    EXPECT_EQ(trim_rank(base::Elements{parameters}, density), rank)
        << density << " of " << parameters;
}

TEST(TrimRank, OfDensityOneIsAll) {
  constexpr std::uint64_t kTenTrillion = 10'000'000'000'000;
  for (const std::uint64_t parameters :
       {std::uint64_t{1}, std::uint64_t{100}, kTenTrillion, (std::uint64_t{1} << 53) + 1})
    EXPECT_LE(parameters - trim_rank(base::Elements{parameters}, 1.0), parameters >> 53);
  EXPECT_EQ(trim_rank(base::Elements{kTenTrillion}, 1.0), kTenTrillion);
}

TEST(TrimRank, NeverExceedsTheParameters) {
  // As double, 2^53 + 3 is 2^53 + 4.
  const std::uint64_t parameters = (std::uint64_t{1} << 53) + 3;

  EXPECT_EQ(trim_rank(base::Elements{parameters}, 1.0), parameters);
}

TEST(TrimRank, OfATinyDensityIsNothing) {
  EXPECT_EQ(trim_rank(base::Elements{1'000'000}, 1e-9), 0U);
  EXPECT_EQ(trim_rank(base::Elements{10'000'000'000'000}, 5e-324), 0U);
}

TEST(TrimRank, CountsBeyond32Bits) {
  EXPECT_EQ(trim_rank(base::Elements{10'000'000'000'000}, 0.2), 2'000'000'000'000U);
  EXPECT_EQ(trim_rank(base::Elements{10'000'000'000'000}, 0.5), 5'000'000'000'000U);
}

}  // namespace
}  // namespace mpimerge::plan
