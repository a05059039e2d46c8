#include "mpimerge/kernel/vectors.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "mpimerge/kernel/exponential.hpp"

namespace mpimerge::kernel {
namespace {

TEST(Vectors, GiveTheSameBits) {
  std::vector<double> expected;
  for (const Vectors most : {Vectors::any, Vectors::avx2, Vectors::avx512}) {
    limit_vectors(most);
    EXPECT_LE(vectors(), most);
    std::vector<double> found(1001);
    with_vectors([to = found.data(), elements = found.size()] {
      for (std::size_t i = 0; i < elements; ++i) {
        const double x = -0.01 * static_cast<double>(i * i % 977);
        to[i] = x * 0.3 + exp_of(x) * log_of_quotient(1 - x, 0.7 - 3 * x) / 3;
      }
    });
    if (expected.empty()) expected = found;
    EXPECT_EQ(found, expected);
  }
}

TEST(Exponential, IsThatOfTheLibrary) {
  for (double x = 0; x > -700; x = x * 1.01 - 0.001)
    EXPECT_NEAR(exp_of(x) / std::exp(x), 1, 1e-15) << x;
  EXPECT_EQ(exp_of(0), 1);
  EXPECT_LT(exp_of(-1e300), 1e-300);
  EXPECT_TRUE(std::isnan(exp_of(std::numeric_limits<double>::quiet_NaN())));
}

TEST(Logarithm, IsThatOfTheLibrary) {
  for (double p = 1e-8; p < 2; p *= 1.07) {
    for (double q = 1e-8; q < 2; q *= 1.13) {
      const double expected = std::log(p / q);
      EXPECT_NEAR(log_of_quotient(p, q), expected, 1e-15 * std::max(1.0, std::abs(expected)))
          << p << " / " << q;
    }
  }
  EXPECT_EQ(log_of_quotient(0.7, 0.7), 0);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(log_of_quotient(nan, 1)));
  EXPECT_TRUE(std::isnan(log_of_quotient(1, nan)));
}

}  // namespace
}  // namespace mpimerge::kernel
