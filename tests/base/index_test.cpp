#include "mpimerge/base/index.hpp"

#include <concepts>
#include <cstdint>

#include <gtest/gtest.h>

namespace mpimerge::base {
namespace {

template <class A, class B>
concept Addable = requires(A a, B b) {
  a + b;
};
template <class A, class B>
concept Comparable = requires(A a, B b) {
  a < b;
};

static_assert(Addable<Elements, Elements>);
static_assert(!Addable<Elements, Bytes>);
static_assert(!Comparable<Elements, Bytes>);
static_assert(!Addable<Elements, std::uint64_t>);
static_assert(!std::convertible_to<std::uint64_t, Elements>);
static_assert(!std::convertible_to<Elements, std::uint64_t>);

constexpr ElementRange range(std::uint64_t begin, std::uint64_t end) {
  return {Elements{begin}, Elements{end}};
}

TEST(Index, StartsAtZero) { EXPECT_EQ(Elements{}.value(), 0U); }

TEST(Index, CalculatesBeyond32Bits) {
  const Elements many{std::uint64_t{1} << 62};

  EXPECT_EQ((many + Elements{1}).value(), (std::uint64_t{1} << 62) + 1);
  EXPECT_EQ((many - Elements{1}).value(), (std::uint64_t{1} << 62) - 1);
  EXPECT_LT(Elements{1}, many);
}

TEST(Range, CountsWithoutItsEnd) {
  EXPECT_EQ(range(3, 7).count(), Elements{4});
  EXPECT_FALSE(range(3, 7).empty());
  EXPECT_TRUE(range(7, 7).empty());
}

TEST(Range, IntersectionIsWhatBothHold) {
  EXPECT_EQ(intersect(range(0, 10), range(5, 20)), range(5, 10));
  EXPECT_EQ(intersect(range(5, 20), range(0, 10)), range(5, 10));
  EXPECT_EQ(intersect(range(0, 10), range(2, 4)), range(2, 4));
  EXPECT_EQ(intersect(range(2, 4), range(2, 4)), range(2, 4));
}

TEST(Range, IntersectionOfNeighboursAndStrangersIsEmpty) {
  EXPECT_TRUE(intersect(range(0, 5), range(5, 9)).empty());
  EXPECT_TRUE(intersect(range(0, 2), range(5, 9)).empty());
  EXPECT_TRUE(intersect(range(5, 9), range(0, 2)).empty());
  EXPECT_TRUE(intersect(range(4, 4), range(0, 9)).empty());
}

}  // namespace
}  // namespace mpimerge::base
