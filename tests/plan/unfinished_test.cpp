#include "mpimerge/plan/unfinished.hpp"

#include <cstdint>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace mpimerge::plan {
namespace {

using base::ElementRange;
using base::Elements;

constexpr ElementRange range(std::uint64_t begin, std::uint64_t end) {
  return {Elements{begin}, Elements{end}};
}

// One group, nothing but numbers.
Plan plan_of(std::uint64_t elements, std::uint64_t block, std::uint64_t chunk,
             std::uint64_t ranks) {
  Plan plan;
  plan.ranks = ranks;
  Group group;
  group.elements = Elements{elements};
  group.block = Elements{block};
  group.chunk = Elements{chunk};
  plan.groups.push_back(group);
  return plan;
}

using Ranges = std::vector<ElementRange>;

TEST(Unfinished, OfNothingFinishedIsThePlan) {
  for (const std::uint64_t ranks : {1u, 2u, 3u, 7u, 200u}) {
    const Plan plan = plan_of(1000, 16, 64, ranks);

    const Unfinished left(plan, 0, {});

    EXPECT_EQ(left.elements(), Elements{1000});
    EXPECT_EQ(left.rounds(), plan.rounds(0)) << ranks;
    for (std::uint64_t rank = 0; rank < ranks; ++rank) {
      Ranges expected;
      for (std::uint64_t round = 0; round < plan.rounds(0); ++round) {
        if (const auto chunk = plan.chunk(0, rank, round); !chunk.empty())
          expected.push_back(chunk);
      }
      EXPECT_EQ(left.chunks(rank), expected) << rank << " of " << ranks;
    }
  }
}

TEST(Unfinished, IsDealtAnewAsInTheExample) {
  const Plan plan = plan_of(12, 1, 3, 2);

  const Unfinished left(plan, 0, {range(6, 9), range(0, 2)});

  EXPECT_EQ(left.elements(), Elements{7});
  EXPECT_EQ(left.chunks(0), (Ranges{range(2, 5), range(5, 6)}));
  EXPECT_EQ(left.chunks(1), (Ranges{range(9, 12)}));
  EXPECT_EQ(left.rounds(), 2);
}

TEST(Unfinished, OfEverythingFinishedIsNothing) {
  const Plan plan = plan_of(12, 1, 3, 3);

  const Unfinished left(plan, 0, {range(0, 7), range(5, 12)});

  EXPECT_EQ(left.elements(), Elements{0});
  EXPECT_EQ(left.rounds(), 0);
  for (std::uint64_t rank = 0; rank < 3; ++rank) EXPECT_TRUE(left.chunks(rank).empty());
}

TEST(Unfinished, OfAnEmptyGroupIsNothing) {
  const Unfinished left(plan_of(0, 16, 64, 3), 0, {});

  EXPECT_EQ(left.rounds(), 0);
  EXPECT_TRUE(left.chunks(2).empty());
}

TEST(Unfinished, CoversEachElementThatIsLeftOnceWhateverWasFinished) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 200; ++round) {
    const std::uint64_t elements = random() % 300;
    const std::uint64_t ranks = 1 + random() % 9;
    const Plan plan = plan_of(elements, 1 + random() % 20, 1 + random() % 50, ranks);
    std::vector<int> times(elements, 0);
    Ranges finished;
    for (std::uint64_t count = random() % 6; count > 0 && elements > 0; --count) {
      const std::uint64_t begin = random() % elements;
      finished.push_back(range(begin, begin + random() % (elements - begin + 1)));
      for (std::uint64_t i = begin; i < finished.back().end.value(); ++i) times[i] = 1;
    }
    const Unfinished left(plan, 0, finished);

    std::size_t most = 0;
    for (std::uint64_t rank = 0; rank < ranks; ++rank) {
      const Ranges chunks = left.chunks(rank);
      most = std::max(most, chunks.size());
      for (const ElementRange& chunk : chunks) {
        EXPECT_FALSE(chunk.empty());
        EXPECT_LE(chunk.count(), plan.groups[0].chunk);
        for (std::uint64_t i = chunk.begin.value(); i < chunk.end.value(); ++i) ++times[i];
      }
    }

    EXPECT_EQ(times, std::vector<int>(elements, 1)) << "round " << round;
    EXPECT_EQ(left.rounds(), most);
  }
}

TEST(Unfinished, CountsBeyond32Bits) {
  constexpr std::uint64_t kLarge = std::uint64_t{1} << 40;
  const Plan plan = plan_of(kLarge, 1 << 20, 1 << 22, 1000);

  const Unfinished left(plan, 0, {range(0, kLarge / 2)});

  EXPECT_EQ(left.elements(), Elements{kLarge / 2});
  EXPECT_EQ(left.chunks(999).back().end, Elements{kLarge});
  EXPECT_EQ(left.rounds(), (kLarge / 2 / (1 << 20) + 999) / 1000 / 4 + 1);
}

}  // namespace
}  // namespace mpimerge::plan
