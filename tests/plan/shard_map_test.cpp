#include "mpimerge/plan/shard_map.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace mpimerge::plan {
namespace {

using base::ElementRange;
using base::Elements;

constexpr ElementRange range(std::uint64_t begin, std::uint64_t end) {
  return {Elements{begin}, Elements{end}};
}

struct Cut {
  std::uint64_t elements;
  std::uint64_t block;
  std::uint64_t ranks;

  ShardMap map() const { return {Elements{elements}, Elements{block}, ranks}; }
};

void PrintTo(const Cut& cut, std::ostream* out) {
  *out << cut.elements << " elements in blocks of " << cut.block << " over " << cut.ranks;
}

class ShardMapOf : public testing::TestWithParam<Cut> {};

TEST_P(ShardMapOf, CoversEveryElementOnceInOrder) {
  const ShardMap map = GetParam().map();
  Elements next{0};
  for (std::uint64_t rank = 0; rank < GetParam().ranks; ++rank) {
    const ElementRange shard = map.shard(rank);
    EXPECT_EQ(shard.begin, next) << "rank " << rank;
    EXPECT_LE(shard.begin, shard.end) << "rank " << rank;
    next = shard.end;
  }
  EXPECT_EQ(next, Elements{GetParam().elements});
}

TEST_P(ShardMapOf, BeginsShardsAtBlocks) {
  const ShardMap map = GetParam().map();
  for (std::uint64_t rank = 0; rank < GetParam().ranks; ++rank) {
    const ElementRange shard = map.shard(rank);
    if (shard.empty()) continue;
    EXPECT_EQ(shard.begin.value() % GetParam().block, 0U) << "rank " << rank;
  }
}

TEST_P(ShardMapOf, IsAsEvenAsBlocksAllow) {
  const ShardMap map = GetParam().map();
  const std::uint64_t block = GetParam().block;
  std::uint64_t fewest = UINT64_MAX;
  std::uint64_t most = 0;
  for (std::uint64_t rank = 0; rank < GetParam().ranks; ++rank) {
    const std::uint64_t blocks = (map.shard(rank).count().value() + block - 1) / block;
    fewest = std::min(fewest, blocks);
    most = std::max(most, blocks);
    EXPECT_LE(map.shard(rank).count(), map.longest()) << "rank " << rank;
  }
  EXPECT_LE(most - fewest, 1U);
  EXPECT_EQ(map.longest(), map.shard(0).count());
}

TEST_P(ShardMapOf, OwnerIsTheInverseOfShard) {
  const ShardMap map = GetParam().map();
  for (std::uint64_t rank = 0; rank < GetParam().ranks; ++rank) {
    const ElementRange shard = map.shard(rank);
    // Whole shards where they are short, else their ends and a few within.
    const std::uint64_t step = std::max<std::uint64_t>(shard.count().value() / 97, 1);
    for (std::uint64_t at = shard.begin.value(); at < shard.end.value(); at += step)
      EXPECT_EQ(map.owner(Elements{at}), rank) << "element " << at;
    if (!shard.empty()) {
      EXPECT_EQ(map.owner(shard.end - Elements{1}), rank);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cuts, ShardMapOf,
    testing::Values(Cut{10, 2, 3}, Cut{10, 2, 7}, Cut{0, 16, 4}, Cut{1, 16, 5}, Cut{16, 16, 1},
                    Cut{17, 16, 1}, Cut{17, 16, 2}, Cut{100, 1, 7}, Cut{7, 1, 100},
                    Cut{1000, 16, 63}, Cut{1008, 16, 63}, Cut{1009, 16, 63}, Cut{999, 10, 1000},
                    Cut{1'000'003, 16, 512}, Cut{(std::uint64_t{1} << 44) + 5, 524'288, 1000},
                    Cut{10'000'000'000'000, 524'288, 4096}, Cut{UINT64_MAX / 2, 16, 3}));

TEST(ShardMap, CutsAsItsWorkedExampleSays) {
  const ShardMap three = Cut{10, 2, 3}.map();
  EXPECT_EQ(three.shard(0), range(0, 4));
  EXPECT_EQ(three.shard(1), range(4, 8));
  EXPECT_EQ(three.shard(2), range(8, 10));

  const ShardMap seven = Cut{10, 2, 7}.map();
  for (std::uint64_t rank = 0; rank < 5; ++rank)
    EXPECT_EQ(seven.shard(rank), range(2 * rank, 2 * rank + 2));
  EXPECT_TRUE(seven.shard(5).empty());
  EXPECT_TRUE(seven.shard(6).empty());
}

TEST(ShardMap, LeavesOnlyTheLastBlockShort) {
  const ShardMap map = Cut{35, 16, 2}.map();

  EXPECT_EQ(map.shard(0), range(0, 32));
  EXPECT_EQ(map.shard(1), range(32, 35));
}

TEST(ShardMap, GivesNobodyAnythingOfAnEmptyRow) {
  const ShardMap map = Cut{0, 16, 3}.map();
  for (std::uint64_t rank = 0; rank < 3; ++rank) EXPECT_EQ(map.shard(rank), range(0, 0));
}

TEST(ShardMap, AnElementFurtherNeverHasALowerOwner) {
  for (std::uint64_t ranks = 1; ranks <= 40; ++ranks) {
    const ShardMap map = Cut{333, 4, ranks}.map();
    std::uint64_t owner = 0;
    for (std::uint64_t element = 0; element < 333; ++element) {
      EXPECT_GE(map.owner(Elements{element}), owner);
      owner = map.owner(Elements{element});
    }
    EXPECT_LT(owner, ranks);
  }
}

}  // namespace
}  // namespace mpimerge::plan
