#include "mpimerge/method/exact_sum.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "mpimerge/method/sums.hpp"

namespace mpimerge::method {
namespace {

double sum_of(const std::vector<double>& values) {
  ExactSum sum;
  for (const double value : values) sum.add(value);
  return sum.value();
}

// Products of float32 of any size, and such that almost cancel.
std::vector<double> products(std::size_t count) {
  std::mt19937 random(7);
  std::vector<double> values;
  while (values.size() < count) {
    const auto number = [&] {
      const std::uint32_t bits = static_cast<std::uint32_t>(random());
      return static_cast<double>(std::bit_cast<float>((bits & 0xbfffffffu) | 0x10000000u));
    };
    const double product = number() * number();
    if (!std::isfinite(product)) continue;
    values.push_back(product);
    values.push_back(-product * (1 + 0x1p-20));
  }
  return values;
}

TEST(ExactSum, DoesNotDependOnTheOrder) {
  std::vector<double> values = products(2000);
  const double sum = sum_of(values);
  ASSERT_NE(sum, 0);
  std::mt19937 random(11);
  for (int round = 0; round < 20; ++round) {
    std::shuffle(values.begin(), values.end(), random);
    ASSERT_EQ(sum_of(values), sum);
  }
}

TEST(ExactSum, DoesNotDependOnHowItIsDivided) {
  const std::vector<double> values = products(500);
  for (const std::size_t parts : {1U, 2U, 7U, 500U}) {
    std::vector<ExactSum> sums(parts);
    for (std::size_t i = 0; i < values.size(); ++i) sums[i % parts].add(values[i]);
    ExactSum total;
    for (const ExactSum& part : sums) total.add(part);
    EXPECT_EQ(total.value(), sum_of(values)) << parts;
  }
}

TEST(ExactSum, KeepsWhatLargeNumbersWouldSwallow) {
  EXPECT_EQ(sum_of({0x1p300, 1, -0x1p300}), 1);
  EXPECT_EQ(sum_of({0x1p250, 0x1p-250, -0x1p250}), 0x1p-250);
  EXPECT_EQ(sum_of({-0x1p300, -0x1p-310, 0x1p300}), -0x1p-310);
  EXPECT_EQ(sum_of({}), 0);
  EXPECT_EQ(sum_of({3, -3}), 0);
}

TEST(ExactSum, HoldsTheProductsOfTheLargestAndTheSmallestFloats) {
  const double largest = std::numeric_limits<float>::max();
  const double smallest = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(sum_of({largest * largest, smallest * smallest, -largest * largest}),
            smallest * smallest);
  EXPECT_EQ(sum_of({largest * largest, largest * largest}), 2 * largest * largest);
}

TEST(ExactSum, AddsUpManyNumbersOfOneSign) {
  ExactSum sum;
  const int count = 1 << 20;
  for (int i = 0; i < count; ++i) sum.add(-0x1.fffffffffffffp0);
  EXPECT_EQ(sum.value(), -0x1.fffffffffffffp20);
}

TEST(ExactSum, IsNaNWhereAnyNumberIsNotFinite) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double value : {std::nan(""), infinity, -infinity, 0x1p1000}) {
    EXPECT_TRUE(std::isnan(sum_of({1, value, 2}))) << value;
    ExactSum total;
    ExactSum part;
    part.add(value);
    total.add(part);
    EXPECT_TRUE(std::isnan(total.value()));
  }
}

// As ranks do it: all parts as integers, summed.
TEST(ExactSum, SurvivesStoringSummingAndLoading) {
  const std::vector<double> values = products(300);
  std::array<std::int64_t, ExactSum::kNumbers> total{};
  for (std::size_t rank = 0; rank < 3; ++rank) {
    ExactSum part;
    for (std::size_t i = rank; i < values.size(); i += 3) part.add(values[i]);
    std::array<std::int64_t, ExactSum::kNumbers> numbers{};
    part.store(numbers);
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += numbers[i];
  }
  ExactSum sum;
  sum.load(total);
  EXPECT_EQ(sum.value(), sum_of(values));

  ExactSum nan;
  nan.add(std::nan(""));
  nan.store(total);
  ExactSum loaded;
  loaded.load(total);
  EXPECT_TRUE(std::isnan(loaded.value()));
}

TEST(Sums, AreTheSameWhereverUnitsAreDividedAmongTiles) {
  constexpr std::size_t kUnit = 16;
  std::vector<double> values = products(100);
  values.resize(100);
  const std::uint64_t place = 40;  // of the first one, in the middle of a unit
  const auto total = [&](std::size_t cut) {
    std::array<ExactSum, 1> sum;
    for (std::size_t begin = 0; begin < values.size();) {
      const std::size_t end = std::min(values.size(), begin + cut - (place + begin) % cut);
      Tile tile;
      tile.elements = values.size();
      tile.own_begin = begin;
      tile.own_end = end;
      Sums(sum, tile, kUnit, place).add(0, [&](std::size_t i) { return values[i]; });
      begin = end;
    }
    return sum[0].value();
  };
  const double whole = total(1024);
  for (const std::size_t cut : {16U, 32U, 48U}) EXPECT_EQ(total(cut), whole) << cut;
}

}  // namespace
}  // namespace mpimerge::method
