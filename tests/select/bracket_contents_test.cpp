#include "select/bracket_contents.hpp"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

namespace mpimerge::select {
namespace {

using kernel::Bracket;

constexpr std::uint64_t kPlenty = std::uint64_t{1} << 40;

std::vector<std::uint32_t> magnitudes(const Bracket& bracket, std::size_t count,
                                      std::uint32_t step) {
  std::mt19937 random(3);
  std::vector<std::uint32_t> list;
  for (std::size_t i = 0; i < count; ++i)
    list.push_back(bracket.low + static_cast<std::uint32_t>(random()) %
                                     (bracket.high - bracket.low) / step * step);
  return list;
}

std::vector<std::uint64_t> counted_plainly(const std::vector<std::uint32_t>& list,
                                           const Bracket& bracket) {
  std::vector<std::uint64_t> counts(BracketContents::kBins);
  for (const std::uint32_t magnitude : list) {
    if (magnitude >= bracket.low && magnitude < bracket.high)
      ++counts[(magnitude - bracket.low) >> BracketContents::bin_shift(bracket)];
  }
  return counts;
}

std::vector<std::uint64_t> counted(const BracketContents& contents, const Bracket& bracket) {
  std::vector<std::uint64_t> counts(BracketContents::kBins);
  contents.count(bracket, counts);
  return counts;
}

const Bracket kBrackets[] = {{0x39c00000U, 0x39c00001U, {}, 0},
                             {0x39c00000U, 0x39c02000U, {}, 0},
                             {0x39c00000U, 0x39e40000U, {}, 0},
                             {0x38000000U, 0x41000000U, {}, 0},
                             {0, Bracket::kEnd, {}, 0}};

TEST(BracketContents, CountsAsPlainCountingDoesInAnyForm) {
  for (const Bracket& bracket : kBrackets) {
    for (const std::uint64_t memory : {kPlenty, std::uint64_t{0}, std::uint64_t{200'000}}) {
      const auto list = magnitudes(bracket, 40'000, 1);
      std::uint64_t left = memory;
      BracketContents contents;
      contents.open(bracket, left);
      for (std::size_t begin = 0; begin < list.size(); begin += 1000)
        contents.add(std::span(list).subspan(begin, 1000), left);

      EXPECT_EQ(counted(contents, bracket), counted_plainly(list, bracket));
      if (contents.exact()) {
        const Bracket part{
            bracket.low, bracket.low + (bracket.high - bracket.low + 99) / 100, {}, 0};
        EXPECT_EQ(counted(contents, part), counted_plainly(list, part));
      }
      EXPECT_LE(left, memory);
      contents.close(left);
      EXPECT_EQ(left, memory);
    }
  }
}

TEST(BracketContents, IsExactWithMemoryAndNotWithout) {
  const Bracket& bracket = kBrackets[2];
  const auto many = magnitudes(bracket, 5000, 1);
  for (const bool enough : {true, false}) {
    std::uint64_t left = enough ? kPlenty : 160'000;
    BracketContents contents;
    contents.open(bracket, left);
    contents.add(many, left);
    EXPECT_EQ(contents.exact(), enough);
  }
}

TEST(BracketContents, FewDistinctMagnitudesNeedLittleMemory) {
  const Bracket& bracket = kBrackets[2];
  const auto few = magnitudes(bracket, 50'000, 1U << 18);
  std::uint64_t left = 160'000;
  BracketContents contents;
  contents.open(bracket, left);
  contents.add(few, left);
  EXPECT_TRUE(contents.exact());
}

TEST(BracketContents, OpenForgetsWhatWasBefore) {
  std::uint64_t left = kPlenty;
  BracketContents contents;
  contents.open(kBrackets[2], left);
  contents.add(magnitudes(kBrackets[2], 100, 1), left);
  contents.open(kBrackets[3], left);
  EXPECT_EQ(left, kPlenty);
  EXPECT_EQ(counted(contents, kBrackets[3]), std::vector<std::uint64_t>(BracketContents::kBins));
}

#ifdef NDEBUG  // seconds where the compiler optimises, minutes where it does not
TEST(BracketContents, CountsOneMagnitudeBeyond32Bits) {
  const Bracket& bracket = kBrackets[1];
  const std::vector<std::uint32_t> same(std::size_t{1} << 20, bracket.low + 5);
  constexpr std::uint64_t kTimes = 4097;
  std::uint64_t left = kPlenty;
  BracketContents contents;
  contents.open(bracket, left);
  for (std::uint64_t times = 0; times < kTimes; ++times) contents.add(same, left);
  EXPECT_EQ(counted(contents, bracket)[5], kTimes << 20);

  contents.open(bracket, left);
  EXPECT_EQ(counted(contents, bracket)[5], 0U);
}
#endif

TEST(BracketContents, BinsAreNoMoreThanTheyMayBe) {
  for (const Bracket& bracket : kBrackets) {
    const unsigned shift = BracketContents::bin_shift(bracket);
    const std::uint32_t last = bracket.high - 1 - bracket.low;
    EXPECT_LT(last >> shift, BracketContents::kBins);
    EXPECT_TRUE(shift == 0 || last >> (shift - 1) >= BracketContents::kBins);
  }
}

TEST(BracketContents, ComesBackFromItsWordsInAnyForm) {
  for (const Bracket& bracket : kBrackets) {
    const Bracket part{bracket.low, bracket.low + (bracket.high - bracket.low + 1) / 2, {}, 0};
    const auto list = magnitudes(bracket, 20'000, 64);
    std::uint64_t left = kPlenty;
    BracketContents contents;
    contents.open(bracket, left);
    contents.add(list, left);
    for (const std::uint64_t memory : {kPlenty, std::uint64_t{100'000}, std::uint64_t{0}}) {
      std::uint64_t left_there = memory;
      BracketContents there;
      there.open(part, left_there);
      contents.put(part, [&](std::span<const std::uint64_t> words) {
        for (const std::uint64_t word : words) {
          const auto [magnitude, times] = BracketContents::unpack(word);
          there.add(magnitude, times, left_there);
        }
      });
      EXPECT_EQ(counted(there, part), counted_plainly(list, part));
      there.close(left_there);
      EXPECT_EQ(left_there, memory);
    }
  }
}

TEST(BracketContents, TakesMoreThan32BitsOfOneMagnitude) {
  constexpr std::uint64_t kMany = BracketContents::kMostTimes - 1;
  // In counters, with a carry; in bins, after what a list of the wide bracket has room for.
  for (const Bracket& bracket : {kBrackets[1], kBrackets[4]}) {
    std::uint64_t left = std::uint64_t{1} << 20;
    BracketContents contents;
    contents.open(bracket, left);
    contents.add(bracket.low + 5, 3, left);
    contents.add(bracket.low + 5, kMany, left);
    contents.add(bracket.low + 5, kMany, left);
    const auto counts = counted(contents, bracket);
    EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}), 3 + 2 * kMany);
    const auto [magnitude, times] = BracketContents::unpack(BracketContents::pack({7, kMany}));
    EXPECT_EQ(magnitude, 7u);
    EXPECT_EQ(times, kMany);
  }
}

TEST(BracketContents, TakesBinsOfOthers) {
  std::uint64_t left = kPlenty;
  BracketContents contents;
  contents.open(kBrackets[2], left);
  contents.add(kBrackets[2].low, 1, left);
  std::vector<std::uint64_t> bins(BracketContents::kBins, 2);
  contents.add_bins(bins, left);
  contents.add(kBrackets[2].low, 1, left);
  bins[0] += 2;
  EXPECT_FALSE(contents.exact());
  EXPECT_EQ(counted(contents, kBrackets[2]), bins);
}

}  // namespace
}  // namespace mpimerge::select
