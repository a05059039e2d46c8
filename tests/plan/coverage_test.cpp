#include "mpimerge/plan/coverage.hpp"

#include <cstdint>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mpimerge::plan {
namespace {

using base::ElementRange;
using base::Elements;
using testing::ElementsAre;

ElementRange range(std::uint64_t begin, std::uint64_t end) {
  return {Elements{begin}, Elements{end}};
}

TEST(Coverage, JoinsWhatTouchesOrOverlaps) {
  Coverage coverage;
  coverage.add(1, range(4, 8));
  coverage.add(1, range(8, 10));
  coverage.add(1, range(0, 2));
  coverage.add(1, range(3, 3));
  coverage.add(0, range(2, 4));
  EXPECT_THAT(coverage.numbers(), ElementsAre(0, 2, 4, 1, 0, 2, 1, 4, 10));
  coverage.add(1, range(1, 9));
  EXPECT_THAT(coverage.numbers(), ElementsAre(0, 2, 4, 1, 0, 10));
  EXPECT_EQ(coverage.elements(), Elements{12});
}

// All sets of stretches of a short row against a row of flags.
TEST(Coverage, HasTheGapsOfARowOfFlags) {
  constexpr std::uint64_t kRow = 7;
  for (std::uint32_t picture = 0; picture < 1u << kRow; ++picture) {
    Coverage coverage;
    coverage.add(0, range(0, kRow));  // another group: of no concern
    coverage.add(2, range(0, kRow));
    for (std::uint64_t i = kRow; i-- > 0;)
      if ((picture >> i & 1u) != 0) coverage.add(1, range(i, i + 1));
    for (std::uint64_t begin = 0; begin <= kRow; ++begin) {
      for (std::uint64_t end = begin; end <= kRow; ++end) {
        std::vector<ElementRange> expected;
        for (std::uint64_t i = begin; i < end; ++i) {
          if ((picture >> i & 1u) != 0) continue;
          if (expected.empty() || expected.back().end != Elements{i})
            expected.push_back(range(i, i));
          expected.back().end = Elements{i + 1};
        }
        ASSERT_EQ(coverage.gaps(1, range(begin, end)), expected) << picture << begin << end;
        ASSERT_EQ(coverage.covers(1, range(begin, end)), expected.empty());
      }
    }
  }
}

TEST(Coverage, ComesBackFromItsNumbers) {
  Coverage coverage;
  EXPECT_EQ(Coverage::from_numbers(coverage.numbers()), coverage);
  coverage.add(0, range(5, 7));
  coverage.add(3, range(0, 1));
  EXPECT_EQ(Coverage::from_numbers(coverage.numbers()), coverage);
  Coverage both = coverage;
  both.add(coverage);
  EXPECT_EQ(both, coverage);
}

TEST(Coverage, RefusesNumbersOfNoStretches) {
  EXPECT_FALSE(Coverage::from_numbers(std::vector<std::uint64_t>{0, 1}));
  EXPECT_FALSE(Coverage::from_numbers(std::vector<std::uint64_t>{0, 1, 1}));
  EXPECT_FALSE(Coverage::from_numbers(std::vector<std::uint64_t>{0, 2, 1}));
}

TEST(Coverage, FitsAPlanWhoseGroupsHoldIt) {
  Plan plan;
  plan.groups.resize(1);
  plan.groups[0].elements = Elements{10};
  Coverage coverage;
  EXPECT_TRUE(coverage.fits(plan));
  coverage.add(0, range(4, 10));
  EXPECT_TRUE(coverage.fits(plan));
  Coverage longer = coverage;
  longer.add(0, range(10, 11));
  EXPECT_FALSE(longer.fits(plan));
  coverage.add(1, range(0, 1));
  EXPECT_FALSE(coverage.fits(plan));
}

}  // namespace
}  // namespace mpimerge::plan
