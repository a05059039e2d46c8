#include "mpimerge/kernel/row_ranks.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace mpimerge::kernel {
namespace {

using Floats = std::vector<float>;

std::uint32_t magnitude(float value) { return std::bit_cast<std::uint32_t>(value) & 0x7fffffffu; }

// By sorting.
Floats plain_drops(const Floats& values, const Floats& base, const Floats& probabilities,
                   const Floats& random) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return magnitude(values[a] - base[a]) < magnitude(values[b] - base[b]);
  });
  Floats drops(values.size());
  for (std::size_t place = 0; place < order.size(); ++place)
    drops[order[place]] = random[order[place]] < probabilities[place] ? 0.0F : 1.0F;
  return drops;
}

class RowDropsTest : public testing::Test {
 protected:
  // Of `make(i)`, less a base of zeros.
  template <class Make>
  void expect_plain(const std::string& what, std::size_t elements, Make make) {
    Floats values(elements + 1);
    Floats base(elements, 0.0F);
    Floats random(elements);
    Floats probabilities(elements);
    std::uniform_real_distribution<float> uniform;
    for (std::size_t i = 0; i < elements; ++i) {
      values[i] = make(i);
      random[i] = uniform(numbers_);
      probabilities[i] = 0.2F + 0.6F * static_cast<float>(i) / static_cast<float>(elements);
    }
    values.resize(elements);
    Floats drops(elements + 1, 77.0F);
    find_.find(values.data(), base.data(), elements, probabilities.data(), random.data(),
               drops.data());
    EXPECT_EQ(drops[elements], 77.0F) << what;
    drops.resize(elements);
    EXPECT_EQ(drops, plain_drops(values, base, probabilities, random))
        << what << ", " << elements << " elements";
  }

  std::mt19937 numbers_{20240917};
  RowDrops find_;
};

TEST_F(RowDropsTest, AreThoseOfASortedRow) {
  std::normal_distribution<float> normal;
  std::uniform_int_distribution<int> few(-3, 3);
  for (const std::size_t elements : {1U, 2U, 15U, 64U, 65U, 100U, 1000U, 1537U, 5000U}) {
    expect_plain("normal", elements, [&](std::size_t) { return normal(numbers_); });
    expect_plain("few values", elements,
                 [&](std::size_t) { return static_cast<float>(few(numbers_)); });
    expect_plain("equal", elements, [&](std::size_t i) { return i % 2 == 0 ? 1.0F : -1.0F; });
    expect_plain("rising", elements, [&](std::size_t i) { return static_cast<float>(i); });
    expect_plain("falling", elements,
                 [&](std::size_t i) { return -static_cast<float>(elements - i); });
    expect_plain("mostly zero", elements, [&](std::size_t i) {
      return i % 7 == 3 ? normal(numbers_) : std::copysign(0.0F, normal(numbers_));
    });
  }
}

TEST_F(RowDropsTest, TakeNaNForTheLargest) {
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  const float all_ones = std::bit_cast<float>(0xffffffffu);
  expect_plain("NaN", 300, [&](std::size_t i) {
    return i % 5 == 0 ? kNaN : i % 7 == 0 ? all_ones : static_cast<float>(i);
  });
}

TEST_F(RowDropsTest, RankDifferencesFromTheBase) {
  const Floats values{1, 5, 3, 9};
  const Floats base{0, 5, -3, 8};
  const Floats probabilities{0.1F, 0.2F, 0.3F, 0.4F};
  const Floats random{0.25F, 0.05F, 0.35F, 0.25F};
  Floats drops(4);

  find_.find(values.data(), base.data(), 4, probabilities.data(), random.data(), drops.data());

  // Differences 1, 0, 6, 1: of the two equal ones the left one has the lower place.
  EXPECT_EQ(drops, (Floats{1, 0, 0, 0}));
}

TEST_F(RowDropsTest, OfNothingAreNone) {
  find_.find(nullptr, nullptr, 0, nullptr, nullptr, nullptr);
}

}  // namespace
}  // namespace mpimerge::kernel
