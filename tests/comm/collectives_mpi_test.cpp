#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "mpimerge/comm/collectives.hpp"

#include "support/world.hpp"

namespace mpimerge::comm {
namespace {

using test::world;

std::uint64_t rank_of(const Comm& comm) { return static_cast<std::uint64_t>(comm.rank()); }
std::uint64_t ranks_of(const Comm& comm) { return static_cast<std::uint64_t>(comm.ranks()); }

// 0 + 1 + … + (ranks − 1)
std::uint64_t sum_of_ranks(const Comm& comm) { return ranks_of(comm) * (ranks_of(comm) - 1) / 2; }

TEST(AllReduce, SumsElementByElementBeyond32Bits) {
  constexpr std::uint64_t kLarge = std::uint64_t{1} << 50;
  std::vector<std::uint64_t> values{1, rank_of(world()), kLarge * rank_of(world())};

  all_reduce_sum(world(), std::span(values));

  EXPECT_EQ(values, (std::vector<std::uint64_t>{ranks_of(world()), sum_of_ranks(world()),
                                                kLarge * sum_of_ranks(world())}));
}

TEST(AllReduce, SumsSignedNumbers) {
  const auto rank = static_cast<std::int64_t>(world().rank());
  std::vector<std::int64_t> values{-1, -rank, rank};

  all_reduce_sum(world(), std::span(values));

  const auto sum = static_cast<std::int64_t>(sum_of_ranks(world()));
  EXPECT_EQ(values, (std::vector<std::int64_t>{-world().ranks(), -sum, sum}));
}

TEST(AllReduce, FindsTheExtremesElementByElement) {
  const std::uint64_t last = ranks_of(world()) - 1;
  // The last would be negative if it were signed.
  const std::vector<std::uint64_t> mine{rank_of(world()), last - rank_of(world()), 7,
                                        world().is_root() ? UINT64_MAX : 1};

  std::vector<std::uint64_t> largest = mine;
  all_reduce_max(world(), std::span(largest));
  EXPECT_EQ(largest, (std::vector<std::uint64_t>{last, last, 7, UINT64_MAX}));

  std::vector<std::uint64_t> smallest = mine;
  all_reduce_min(world(), std::span(smallest));
  EXPECT_EQ(smallest, (std::vector<std::uint64_t>{0, 0, 7, world().ranks() == 1 ? UINT64_MAX : 1}));
}

TEST(AllReduce, OfNothingIsNothing) {
  all_reduce_sum(world(), std::span<std::uint64_t>{});
  all_reduce_sum(world(), std::span<std::int64_t>{});
  all_reduce_max(world(), std::span<std::uint64_t>{});
  all_reduce_min(world(), std::span<std::uint64_t>{});

  EXPECT_EQ(all_reduce_sum(world(), std::uint64_t{1}), ranks_of(world())) << "ranks out of step";
}

TEST(AllReduce, TakesOneNumber) {
  EXPECT_EQ(all_reduce_sum(world(), rank_of(world())), sum_of_ranks(world()));
  EXPECT_EQ(all_reduce_max(world(), rank_of(world()) + 5), ranks_of(world()) + 4);
  EXPECT_EQ(all_reduce_max(world(), -0.5 * world().rank() - 1), -1.0);
}

TEST(AllReduce, StaysWithinASplitCommunicator) {
  const Comm part = world().split(world().rank() % 2);

  EXPECT_EQ(all_reduce_sum(part, std::uint64_t{1}), ranks_of(part));
  EXPECT_EQ(all_reduce_sum(part, rank_of(part)), sum_of_ranks(part));
}

TEST(GatherBytes, ComeInTheOrderOfTheRanksAndToRankZeroOnly) {
  // As many bytes as its rank says: none of rank 0.
  const std::vector<char> mine(rank_of(world()), static_cast<char>('a' + world().rank()));

  const std::vector<char> all = gather_bytes(world(), mine);

  std::vector<char> expected;
  for (int rank = 0; rank < world().ranks() && world().is_root(); ++rank)
    expected.insert(expected.end(), static_cast<std::size_t>(rank), static_cast<char>('a' + rank));
  EXPECT_EQ(all, expected);
}

TEST(Barrier, LetsNobodyOnBeforeTheLastCame) {
  // One machine, one clock.
  const auto now = [] {
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  };
  const bool is_last = world().rank() == world().ranks() - 1;
  if (is_last) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const std::uint64_t came = now();

  barrier(world());

  const std::uint64_t went = now();
  EXPECT_GE(went, all_reduce_max(world(), came));
}

TEST(BcastBytes, ReplacesWhatOtherRanksHad) {
  const std::vector<char> sent{'a', '\0', 'z'};
  std::vector<char> bytes = world().is_root() ? sent : std::vector<char>(100, 'x');

  bcast_bytes(world(), bytes);
  EXPECT_EQ(bytes, sent);

  if (world().is_root()) bytes.clear();
  bcast_bytes(world(), bytes);
  EXPECT_TRUE(bytes.empty());
}

}  // namespace
}  // namespace mpimerge::comm
