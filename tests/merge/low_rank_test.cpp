#include "mpimerge/merge/low_rank.hpp"

#include <cstdint>
#include <span>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/hash.hpp"

namespace mpimerge::merge {
namespace {

using testing::ElementsAre;

// Numbers whose sums depend on their order.
std::vector<float> some(std::uint64_t seed, std::size_t elements) {
  std::vector<float> values(elements);
  for (std::size_t i = 0; i < elements; ++i)
    values[i] = static_cast<float>(test::hash(seed, i) % 2001) / 700.0F - 1.4F;
  return values;
}

struct Case {
  std::uint64_t rows;
  std::uint64_t columns;
  std::uint64_t rank;
};

Factors factors_of(const Case& of) {
  return {of.rank, of.columns, 1.5F, some(1, of.rows * of.rank), some(2, of.rank * of.columns)};
}

// Element by element, from the first rank to the last.
std::vector<float> expected(const Case& of, const Factors& factors, std::vector<float> values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    float sum = 0;
    for (std::size_t step = 0; step < of.rank; ++step)
      sum += factors.left[i / of.columns * of.rank + step] *
             factors.right[step * of.columns + i % of.columns];
    values[i] += factors.scaling * sum;
  }
  return values;
}

// Rows shorter and longer than the sums that are formed at once.
constexpr Case kCases[] = {{1, 1, 1},    {7, 5, 3},    {3, 1024, 2},
                           {3, 1025, 4}, {2, 2500, 8}, {900, 3, 5}};

TEST(AddLowRank, AddsTheProductOfTheFactors) {
  for (const Case& of : kCases) {
    const Factors factors = factors_of(of);
    std::vector<float> values = some(3, of.rows * of.columns);
    const std::vector<float> wanted = expected(of, factors, values);
    add_low_rank(factors, 0, values);
    EXPECT_EQ(values, wanted) << of.rows << " x " << of.columns;
  }
}

TEST(AddLowRank, GivesTheSameBitsHoweverTheMatrixIsCut) {
  for (const Case& of : kCases) {
    const Factors factors = factors_of(of);
    std::vector<float> whole = some(3, of.rows * of.columns);
    std::vector<float> cut = whole;
    add_low_rank(factors, 0, whole);
    for (std::size_t begin = 0, number = 0; begin < cut.size(); ++number) {
      const std::size_t length =
          std::min<std::size_t>(1 + test::hash(4, number) % 700, cut.size() - begin);
      add_low_rank(factors, begin, std::span(cut).subspan(begin, length));
      begin += length;
    }
    EXPECT_EQ(cut, whole) << of.rows << " x " << of.columns;
  }
}

TEST(AddLowRank, LeavesNothingAsItIs) { add_low_rank(factors_of({2, 3, 1}), 4, {}); }

TEST(Transposed, HasColumnsForRows) {
  EXPECT_THAT(transposed({1, 2, 3, 4, 5, 6}, 2), ElementsAre(1, 4, 2, 5, 3, 6));
  EXPECT_THAT(transposed({}, 0), ElementsAre());
}

}  // namespace
}  // namespace mpimerge::merge
