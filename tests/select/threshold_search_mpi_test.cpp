#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "mpimerge/base/index.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/kernel/bracket.hpp"
#include "mpimerge/select/bracket_sample.hpp"
#include "mpimerge/select/threshold_search.hpp"

#include "select/allreduce_counter.hpp"
#include "support/hash.hpp"
#include "support/world.hpp"

namespace mpimerge::select {
namespace {

using test::hash;
using test::uniform;
using test::world;

constexpr std::size_t kElements = 3001;

float float_of(std::uint64_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits));
}

// One way in which the values of a vector are spread: the same on every rank.
struct Distribution {
  const char* name;
  float (*value)(std::uint64_t index);

  std::vector<float> values(std::size_t count) const {
    std::vector<float> list(count);
    for (std::size_t i = 0; i < count; ++i) list[i] = value(i);
    return list;
  }
};

void PrintTo(const Distribution& distribution, std::ostream* out) { *out << distribution.name; }

float normal(std::uint64_t i) {
  const double radius = std::sqrt(-2 * std::log(1 - uniform(1, i)));
  return static_cast<float>(1e-3 * radius * std::cos(6.283185307179586 * uniform(2, i)));
}

// Of the differences of two bfloat16 numbers: many are equal, many are zero.
float bfloat_delta(std::uint64_t i) {
  const auto bfloat = [](float value) {
    return float_of(std::bit_cast<std::uint32_t>(value) & 0xffff0000U);
  };
  const float base = bfloat(normal(i) * 20);
  return bfloat(base + normal(i + 1'000'000) / 20) - base;
}

const Distribution kDistributions[] = {
    {"Normal", normal},
    {"Uniform", [](std::uint64_t i) { return static_cast<float>(2 * uniform(3, i) - 1); }},
    {"AllExponents",
     [](std::uint64_t i) {
       const std::uint64_t exponent = hash(4, i) % 255;
       return float_of((hash(5, i) & 0x807fffffU) | exponent << 23);
     }},
    {"NarrowExponents",
     [](std::uint64_t i) { return float_of(0x3f800000U | (hash(6, i) & 0x1ffU)); }},
    {"AllEqual", [](std::uint64_t) { return -0.125F; }},
    {"AllZero", [](std::uint64_t i) { return i % 2 == 0 ? 0.0F : -0.0F; }},
    {"TwoValues", [](std::uint64_t i) { return hash(7, i) % 3 == 0 ? 0.5F : -0.25F; }},
    {"TwoNeighbours", [](std::uint64_t i) { return float_of(0x3effffffU + hash(8, i) % 2); }},
    {"Bfloat16Deltas", bfloat_delta},
    {"MostlyZero", [](std::uint64_t i) { return hash(9, i) % 20 == 0 ? normal(i) : 0.0F; }},
    {"Denormals", [](std::uint64_t i) { return float_of(hash(10, i) & 0x807fffffU); }},
    {"SmallestDenormals", [](std::uint64_t i) { return float_of(hash(11, i) & 0x80000003U); }},
    {"MixedZeros",
     [](std::uint64_t i) {
       const float values[] = {0.0F, -0.0F, 0x1p-149F, -0x1p-149F, 1.0F};
       return values[hash(12, i) % 5];
     }},
    {"Infinities",
     [](std::uint64_t i) {
       const float infinity = std::numeric_limits<float>::infinity();
       return hash(13, i) % 10 != 0 ? normal(i) : i % 2 == 0 ? infinity : -infinity;
     }},
    {"NaNAndInfinities",
     [](std::uint64_t i) {
       const std::uint32_t specials[] = {0x7f800000U, 0xff800000U, 0x7fc00000U, 0xffc00000U,
                                         0x7f800001U, 0x7fffffffU, 0x7f7fffffU};
       return hash(14, i) % 3 != 0 ? normal(i) : float_of(specials[hash(15, i) % 7]);
     }},
    {"AnyBits", [](std::uint64_t i) { return float_of(hash(16, i)); }},
};

// How the elements are dealt out to the ranks.
using Cut = std::uint64_t (*)(std::uint64_t index, std::uint64_t elements, std::uint64_t ranks);

std::uint64_t evenly(std::uint64_t index, std::uint64_t elements, std::uint64_t ranks) {
  return index * ranks / elements;
}
std::uint64_t unevenly(std::uint64_t index, std::uint64_t elements, std::uint64_t ranks) {
  // Rank 1 of several begins at 1/7 of the row, rank 2 at 4/7, others have nothing.
  return std::min<std::uint64_t>((index * 7 / elements + 2) / 3, ranks - 1);
}
std::uint64_t at_random(std::uint64_t index, std::uint64_t /*elements*/, std::uint64_t ranks) {
  return hash(17, index) % ranks;
}
std::uint64_t all_on_the_first(std::uint64_t, std::uint64_t, std::uint64_t) { return 0; }
std::uint64_t all_on_the_last(std::uint64_t, std::uint64_t, std::uint64_t ranks) {
  return ranks - 1;
}

constexpr Cut kCuts[] = {evenly, unevenly, at_random, all_on_the_first, all_on_the_last};

std::vector<float> my_part(const comm::Comm& comm, const std::vector<float>& values, Cut cut) {
  std::vector<float> part;
  for (std::uint64_t i = 0; i < values.size(); ++i) {
    const std::uint64_t owner = cut(i, values.size(), static_cast<std::uint64_t>(comm.ranks()));
    if (owner == static_cast<std::uint64_t>(comm.rank())) part.push_back(values[i]);
  }
  return part;
}

struct Task {
  std::vector<float> part;
  std::uint64_t position;
};

constexpr base::Bytes kPlenty{std::uint64_t{1} << 30};

// Gives the search a task's values, in pieces of `tile`.
void give(ThresholdSearch& search, std::size_t task, std::span<const float> part,
          std::size_t tile) {
  const std::vector<float> base(tile);
  std::vector<std::uint32_t> list(tile + kernel::kListPadding);
  for (std::size_t begin = 0; begin < part.size(); begin += tile) {
    const auto values = part.subspan(begin, std::min(tile, part.size() - begin));
    const kernel::BracketCount count = kernel::count_bracket(
        base::Dtype::f32, std::as_bytes(values),
        std::as_bytes(std::span(base).first(values.size())), search.bracket(task), list.data());
    search.add(task, count, std::span(list).first(count.listed));
  }
}

std::vector<std::uint32_t> magnitudes_of(std::span<const float> values) {
  std::vector<std::uint32_t> bits;
  for (const float value : values)
    bits.push_back(std::bit_cast<std::uint32_t>(value) & 0x7fffffffU);
  return bits;
}

// What the first look is narrowed by.
enum class Guess { none, from_sample, from_wrong_sample };

struct Looks {
  std::vector<std::uint32_t> thresholds;
  int rounds = 0;
  int passes = 0;  // rounds in which this rank's values were wanted
};

std::vector<BracketGuess> guesses_of(const comm::Comm& comm, const std::vector<Task>& tasks,
                                     std::uint64_t elements, Guess guess) {
  BracketSample sample(tasks.size());
  std::vector<std::uint64_t> positions;
  for (std::size_t task = 0; task < tasks.size(); ++task) {
    std::vector<std::uint32_t> magnitudes = magnitudes_of(tasks[task].part);
    if (guess == Guess::from_wrong_sample) {
      // Far to one side, or far to the other.
      for (std::uint32_t& magnitude : magnitudes)
        magnitude = task % 2 == 0 ? magnitude / 16 : std::min(magnitude * 2, 0x7fffffffU);
    }
    sample.add(task, magnitudes);
    positions.push_back(tasks[task].position);
  }
  return sample.brackets(comm, elements, positions, 1000);
}

Looks look_for(const comm::Comm& comm, std::uint64_t elements, const std::vector<Task>& tasks,
               std::size_t tile, base::Bytes memory, Guess guess) {
  std::vector<std::uint64_t> positions;
  for (const Task& task : tasks) positions.push_back(task.position);
  ThresholdSearch search(elements, positions, memory);
  if (guess != Guess::none) {
    const std::vector<BracketGuess> guesses = guesses_of(comm, tasks, elements, guess);
    for (std::size_t task = 0; task < tasks.size(); ++task)
      search.narrow(task, guesses[task].bracket);
  }
  Looks looks;
  while (!search.done()) {
    looks.passes += search.needs_values() ? 1 : 0;
    for (std::size_t task = 0; task < tasks.size(); ++task) {
      if (!search.wants(task)) continue;
      EXPECT_TRUE(search.needs_values());
      give(search, task, tasks[task].part, tile);
    }
    search.advance(comm);
    ++looks.rounds;
  }
  looks.thresholds = search.thresholds();
  return looks;
}

std::vector<std::uint32_t> search_for(const comm::Comm& comm, std::uint64_t elements,
                                      const std::vector<Task>& tasks, std::size_t tile,
                                      base::Bytes memory = kPlenty,
                                      Guess guess = Guess::from_sample) {
  const Looks looks = look_for(comm, elements, tasks, tile, memory, guess);
  EXPECT_LE(looks.rounds, guess == Guess::from_wrong_sample ? 4 : 3);
  return looks.thresholds;
}

std::vector<std::uint32_t> sorted_magnitudes(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits = magnitudes_of(values);
  std::sort(bits.begin(), bits.end());
  return bits;
}

std::uint32_t expected_threshold(const std::vector<std::uint32_t>& sorted, std::uint64_t position) {
  return position == 0 ? 0 : sorted[position - 1];
}

// The positions of the densities that matter, and both ends.
std::vector<std::uint64_t> positions_in(std::uint64_t elements) {
  std::vector<std::uint64_t> positions{1, elements, elements / 3 + 1};
  for (const double density : {1e-9, 0.01, 0.2, 0.5, 1.0}) {
    positions.push_back(elements -
                        static_cast<std::uint64_t>(static_cast<double>(elements) * density));
  }
  return positions;
}

// All positions of one vector at once, each as a task of its own.
void expect_equals_sort(const comm::Comm& comm, const std::vector<float>& values, Cut cut,
                        std::size_t tile, base::Bytes memory = kPlenty,
                        Guess guess = Guess::from_sample) {
  const std::vector<std::uint64_t> positions = positions_in(values.size());
  std::vector<Task> tasks;
  for (const std::uint64_t position : positions)
    tasks.push_back({my_part(comm, values, cut), position});

  const std::vector<std::uint32_t> found =
      search_for(comm, values.size(), tasks, tile, memory, guess);

  const std::vector<std::uint32_t> sorted = sorted_magnitudes(values);
  EXPECT_EQ(found.size(), positions.size());
  for (std::size_t task = 0; task < found.size(); ++task)
    EXPECT_EQ(found[task], expected_threshold(sorted, positions[task]))
        << "position " << positions[task] << " of " << values.size();
}

class Thresholds : public testing::TestWithParam<Distribution> {};

TEST_P(Thresholds, EqualSortForEveryDensityAndCut) {
  const std::vector<float> values = GetParam().values(kElements);
  for (std::size_t cut = 0; cut < std::size(kCuts); ++cut) {
    SCOPED_TRACE(cut);
    expect_equals_sort(world(), values, kCuts[cut], 256);
  }
}

TEST_P(Thresholds, EqualSortOfFewElementsWhateverTheNumberOfRanks) {
  for (const std::size_t elements : {1U, 2U, 5U, 8U}) {
    SCOPED_TRACE(elements);
    expect_equals_sort(world(), GetParam().values(elements), elements < 5 ? evenly : at_random, 2);
  }
}

TEST_P(Thresholds, EqualSortWhateverEachRankMayKeep) {
  const std::vector<float> values = GetParam().values(1000);
  const auto rank = static_cast<std::uint64_t>(world().rank());
  for (const std::uint64_t kibibytes : {std::uint64_t{0}, std::uint64_t{70}, 40 * rank}) {
    for (const Guess guess : {Guess::none, Guess::from_sample}) {
      SCOPED_TRACE(kibibytes);
      expect_equals_sort(world(), values, evenly, 64, base::Bytes{kibibytes << 10}, guess);
    }
  }
}

TEST_P(Thresholds, EqualSortWhateverTheGuess) {
  const std::vector<float> values = GetParam().values(1000);
  for (const Guess guess : {Guess::none, Guess::from_wrong_sample}) {
    expect_equals_sort(world(), values, evenly, 64, kPlenty, guess);
    expect_equals_sort(world(), values, at_random, 100, base::Bytes{}, guess);
  }
}

INSTANTIATE_TEST_SUITE_P(Distributions, Thresholds, testing::ValuesIn(kDistributions),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(ThresholdSearch, FindsEveryPositionOfASmallVector) {
  const std::vector<float> values = kDistributions[8].values(60);
  const std::vector<std::uint32_t> sorted = sorted_magnitudes(values);
  std::vector<Task> tasks;
  for (std::uint64_t position = 0; position <= values.size(); ++position)
    tasks.push_back({my_part(world(), values, evenly), position});

  const std::vector<std::uint32_t> found = search_for(world(), values.size(), tasks, 7);

  for (std::uint64_t position = 0; position <= values.size(); ++position)
    EXPECT_EQ(found[position], expected_threshold(sorted, position)) << position;
}

TEST(ThresholdSearch, KeepsTasksOfDifferentKindsApart) {
  constexpr std::size_t kEach = 800;
  std::vector<Task> tasks;
  std::vector<std::uint32_t> expected;
  // More tasks than share an Allreduce.
  for (std::uint64_t number = 0; number < 3 * std::size(kDistributions); ++number) {
    const Distribution& distribution = kDistributions[number % std::size(kDistributions)];
    const std::vector<float> values = distribution.values(kEach);
    const std::uint64_t position = kEach * (number % 5) / 4;
    tasks.push_back({my_part(world(), values, at_random), position});
    expected.push_back(expected_threshold(sorted_magnitudes(values), position));
  }

  EXPECT_EQ(search_for(world(), kEach, tasks, 64), expected);
}

TEST(ThresholdSearch, DependsNeitherOnTilesNorOnTheOrderOfElements) {
  const std::vector<float> values = kDistributions[0].values(kElements);
  const std::uint64_t position = kElements / 2;
  std::vector<float> part = my_part(world(), values, evenly);
  const auto once = search_for(world(), kElements, {{part, position}}, kElements);
  std::reverse(part.begin(), part.end());

  EXPECT_EQ(search_for(world(), kElements, {{part, position}}, 1), once);
}

TEST(ThresholdSearch, FindsTheSameOnEveryVectorUnitOfTheProcessor) {
  // Each target is one bit.
  for (std::int64_t rest = hwy::SupportedTargets() & HWY_TARGETS; rest != 0; rest &= rest - 1) {
    SCOPED_TRACE(hwy::TargetName(rest & -rest));
    hwy::SetSupportedTargetsForTest(rest & -rest);
    for (const Distribution& distribution :
         {kDistributions[1], kDistributions[8], kDistributions[15]}) {
      expect_equals_sort(world(), distribution.values(333), evenly, 7);
      expect_equals_sort(world(), distribution.values(333), all_on_the_last, 100);
    }
    hwy::SetSupportedTargetsForTest(0);
  }
}

TEST(ThresholdSearch, PositionZeroAsksForNothing) {
  ThresholdSearch search(10, {0, 0});
  EXPECT_TRUE(search.done());
  EXPECT_FALSE(search.wants(0));
  EXPECT_EQ(search.thresholds(), (std::vector<std::uint32_t>{0, 0}));

  EXPECT_TRUE(ThresholdSearch(0, {}).done());
  EXPECT_TRUE(ThresholdSearch(0, {}).thresholds().empty());
}

TEST(ThresholdSearch, WantsOnlyTheTasksThatAsk) {
  // Memory for one list of magnitudes.
  ThresholdSearch search(1, {0, 1}, base::Bytes{std::uint64_t{64} << 10});
  EXPECT_FALSE(search.wants(0));
  EXPECT_TRUE(search.wants(1));
  const std::vector<float> one{2.0F};
  int passes = 0;
  while (!search.done()) {
    passes += search.wants(1) ? 1 : 0;
    give(search, 0, one, 1);  // unasked, and without effect: it takes no memory either
    if (world().is_root()) give(search, 1, one, 1);
    search.advance(world());
  }
  EXPECT_EQ(passes, 1);
  EXPECT_FALSE(search.wants(1));
  EXPECT_EQ(search.thresholds(),
            (std::vector<std::uint32_t>{0, std::bit_cast<std::uint32_t>(2.0F)}));
}

// Looks at 20,001 values.
int passes(float (*value)(std::uint64_t), base::Bytes memory, Guess guess) {
  constexpr std::size_t kMany = 20'001;
  const Task task{my_part(world(), Distribution{"", value}.values(kMany), evenly), kMany / 5 * 4};
  return look_for(world(), kMany, {task}, 1000, memory, guess).passes;
}

TEST(ThresholdSearch, LooksAtTheValuesOnceAfterAGoodGuess) {
  for (const Distribution& distribution : kDistributions) {
    SCOPED_TRACE(distribution.name);
    EXPECT_EQ(passes(distribution.value, kPlenty, Guess::from_sample), 1);
  }
}

TEST(ThresholdSearch, LooksOnceAtFewDistinctValuesWithLittleMemory) {
  // Counters of a few stretches of magnitudes.
  constexpr base::Bytes kLittle{std::uint64_t{64} << 10};
  EXPECT_EQ(passes(bfloat_delta, kLittle, Guess::from_sample), 1);
  EXPECT_EQ(passes([](std::uint64_t) { return 0.5F; }, base::Bytes{}, Guess::from_sample), 1);
}

TEST(ThresholdSearch, LooksOnceMoreWhereTheMemoryEndsOrTheGuessMissed) {
  EXPECT_EQ(passes(normal, base::Bytes{}, Guess::from_sample), 2);
  EXPECT_EQ(passes(normal, kPlenty, Guess::from_wrong_sample), 2);
}

TEST(ThresholdSearch, TakesBracketsWithAnyEdges) {
  const std::vector<float> values = kDistributions[14].values(60);
  const std::vector<std::uint32_t> sorted = sorted_magnitudes(values);
  const std::vector<float> part = my_part(world(), values, evenly);
  // Not whole bins: the last of them goes beyond the largest NaN.
  for (const std::uint32_t width : {3U, 8'193U, 24'577U, 0x00765433U}) {
    for (const base::Bytes memory : {base::Bytes{}, kPlenty}) {
      std::vector<std::uint64_t> positions(values.size());
      std::iota(positions.begin(), positions.end(), std::uint64_t{1});
      ThresholdSearch search(values.size(), positions, memory);
      for (std::size_t task = 0; task < positions.size(); ++task)
        search.narrow(task, {kernel::Bracket::kEnd - width, kernel::Bracket::kEnd, {}, 0});
      while (!search.done()) {
        for (std::size_t task = 0; task < positions.size(); ++task) give(search, task, part, 16);
        search.advance(world());
      }
      EXPECT_EQ(search.thresholds(), sorted) << width;
    }
  }
}

TEST(ThresholdSearch, GivesTheMemoryOfATaskBackWhenItsThresholdIsFound) {
  // The first task's counters, of 128 stretches of magnitudes, take all; then the other has them.
  constexpr base::Bytes kCounters{128 * (4 + 64 * 4)};
  constexpr std::uint32_t kLow = 0x3f800000U;
  std::vector<float> narrow;
  for (std::uint32_t number = 0; number < 128; ++number)
    narrow.push_back(float_of(kLow + 64 * number));
  const std::vector<float> wide(narrow.size(), 0.5F);
  const auto ranks = static_cast<std::uint64_t>(world().ranks());
  ThresholdSearch search(ranks * narrow.size(), {1, 1}, kCounters);
  search.narrow(0, {kLow, kLow + 128 * 64, {}, 0});
  int passes_of_wide = 0;
  while (!search.done()) {
    passes_of_wide += search.wants(1) ? 1 : 0;
    give(search, 0, narrow, 100);
    give(search, 1, wide, 100);
    search.advance(world());
  }

  EXPECT_EQ(passes_of_wide, 2);
  EXPECT_EQ(search.thresholds(), (std::vector<std::uint32_t>{kLow, 0x3f000000U}));
}

TEST(ThresholdSearch, APositionBeyondTheElementsIsRefused) {
  EXPECT_THROW(ThresholdSearch(100, {101}), std::logic_error);
}

TEST(ThresholdSearch, MoreOrFewerElementsThanToldFailOnAllRanks) {
  const std::vector<float> values = kDistributions[0].values(100);
  const std::vector<float> part = my_part(world(), values, evenly);

  for (const std::uint64_t told : {99U, 101U}) {
    EXPECT_THROW(search_for(world(), told, {{part, 1}}, 100, kPlenty, Guess::none),
                 std::logic_error);
  }
}

TEST(ThresholdSearch, MoreElementsThanToldFailWhereTheGuessHasThemToo) {
  std::vector<float> values(102, 1.0F);
  values[0] = values[101] = 0.25F;  // below the bracket: the position is among them
  ThresholdSearch search(99, {1});
  search.narrow(0, {std::bit_cast<std::uint32_t>(0.5F), kernel::Bracket::kEnd, {}, 0});
  give(search, 0, my_part(world(), values, evenly), 10);

  EXPECT_THROW(search.advance(world()), std::logic_error);
}

TEST(BracketSample, NamesTheMostFrequentMagnitudesAndGuessesTheThreshold) {
  // In bins of their own: magnitude n, n times, and last a bin of two magnitudes.
  const auto magnitude = [](std::uint32_t number) { return 0x3f800123U + (number << 18); };
  std::vector<std::uint32_t> magnitudes;
  for (std::uint32_t number = 1; number <= 5; ++number)
    magnitudes.insert(magnitudes.end(), number, magnitude(number));
  magnitudes.insert(magnitudes.end(), 4, magnitude(6));
  magnitudes.insert(magnitudes.end(), 4, magnitude(6) + 1);
  BracketSample sample(2);
  if (world().is_root()) {  // few: everything is inside
    sample.add(0, std::vector<std::uint32_t>(10, 7));
    sample.add(1, magnitudes);
  }

  const std::vector<BracketGuess> guesses =
      sample.brackets(world(), 230, std::vector<std::uint64_t>{1, 85}, world().is_root() ? 1 : 0);

  EXPECT_EQ(guesses[0].threshold, 7U);
  EXPECT_EQ(guesses[0].bracket.atom_count, world().is_root() ? 1U : 0U);
  EXPECT_EQ(guesses[0].bracket.atoms[0], world().is_root() ? 7U : 0U);
  EXPECT_EQ(guesses[1].threshold, magnitude(4));
  EXPECT_EQ(guesses[1].bracket.low, 0U);
  EXPECT_EQ(guesses[1].bracket.high, kernel::Bracket::kEnd);
  // Atoms are what the rank itself has sampled.
  EXPECT_EQ(guesses[1].bracket.atom_count, world().is_root() ? 4U : 0U);
  const std::uint32_t atoms[] = {magnitude(5), magnitude(6) + 1, magnitude(6), magnitude(4)};
  for (std::size_t atom = 0; atom < guesses[1].bracket.atom_count; ++atom)
    EXPECT_EQ(guesses[1].bracket.atoms[atom], atoms[atom]);
}

// The guess from 1,000 magnitudes in 1,000 bins of the sample, from 100 blocks, dealt out to the ranks.
BracketGuess guess_of_a_thousand_bins(std::uint32_t first_bin, std::uint64_t position) {
  std::vector<std::uint32_t> mine;
  for (std::uint32_t number = 0; number < 1000; ++number) {
    if (number % static_cast<std::uint32_t>(world().ranks()) ==
        static_cast<std::uint32_t>(world().rank()))
      mine.push_back(((first_bin + number) << 18) + number);
  }
  BracketSample sample(1);
  sample.add(0, mine);
  return sample.brackets(world(), 1000, std::vector<std::uint64_t>{position},
                         world().is_root() ? 100 : 0)[0];
}

TEST(BracketSample, ReachesAsFarToEitherSideAsTheSampleCanErr) {
  constexpr std::uint32_t kFirst = 3000;
  // 0.4 / √100 + 2 / √1000 = 0.1032 of the elements.
  struct Row {
    std::uint64_t position;
    std::uint32_t low;
    std::uint32_t high;
  };
  const Row table[] = {{500, (kFirst + 396) << 18, (kFirst + 604) << 18},
                       {50, 0, (kFirst + 154) << 18},
                       {970, (kFirst + 866) << 18, kernel::Bracket::kEnd}};
  for (const Row& row : table) {
    const BracketGuess guess = guess_of_a_thousand_bins(kFirst, row.position);

    EXPECT_EQ(guess.bracket.low, row.low) << row.position;
    EXPECT_EQ(guess.bracket.high, row.high) << row.position;
    const auto number = static_cast<std::uint32_t>(row.position - 1);
    EXPECT_EQ(guess.threshold, ((kFirst + number) << 18) + number);
  }
}

TEST(BracketSample, RareMagnitudesAreNoAtoms) {
  BracketSample sample(1);
  std::vector<std::uint32_t> magnitudes(2, 0x3f800000U);
  for (std::uint32_t other = 0; other < 1000; ++other) magnitudes.push_back(0x3f800001U + other);
  sample.add(0, magnitudes);

  const auto guesses = sample.brackets(world(), 1'000'000, std::vector<std::uint64_t>{500'000}, 1);

  EXPECT_EQ(guesses[0].bracket.atom_count, 0U);
}

TEST(BracketSample, AHeapAmongItsNeighboursIsAnAtomHoweverManyMagnitudesAreSampled) {
  BracketSample sample(1);
  constexpr std::uint32_t kHeap = 0x3f812345U;
  for (std::uint32_t block = 0; block < 100; ++block) {
    std::vector<std::uint32_t> magnitudes(1000, kHeap);
    for (std::uint32_t other = 0; other < 1000; ++other)
      magnitudes[2 * other % 1000 + other / 500] = 0x3f800000U + block * 1000 + other;
    for (std::uint32_t heap = 0; heap < 1000; heap += 50) magnitudes[heap] = kHeap;  // 2 %
    sample.add(0, magnitudes);
    sample.end_block();
  }

  const auto guesses =
      sample.brackets(world(), 1'000'000, std::vector<std::uint64_t>{500'000}, 100);

  ASSERT_EQ(guesses[0].bracket.atom_count, 1U);
  EXPECT_EQ(guesses[0].bracket.atoms[0], kHeap);
}

// Blocks of 1,000 magnitudes, one in each of 1,000 bins from `shift(block)` on.
template <class Shift>
BracketGuess guess_of_blocks(std::uint64_t blocks, Shift shift) {
  constexpr std::uint32_t kFirst = 3000;
  BracketSample sample(1);
  for (std::uint32_t block = 0; block < blocks; ++block) {
    std::vector<std::uint32_t> magnitudes;
    for (std::uint32_t number = 0; number < 1000; ++number)
      magnitudes.push_back((kFirst + number + shift(block)) << 18);
    sample.add(0, magnitudes);
    sample.end_block();
  }
  return sample.brackets(world(), 1'000'000, std::vector<std::uint64_t>{500'000}, blocks)[0];
}

std::uint32_t bins_of(const BracketGuess& guess) {
  return (guess.bracket.high - guess.bracket.low) >> 18;
}

TEST(BracketSample, BlocksThatAreAlikeAllowANarrowBracket) {
  const auto alike = [](std::uint32_t) { return 0U; };
  // 0.5 / √(1000 · 100 · ranks) of 1,000 bins, to either side, and whole bins.
  EXPECT_LE(bins_of(guess_of_blocks(100, alike)), 5U);
  // Too few to tell: 0.4 / √blocks + 2 / √(1000 · blocks) to either side.
  const auto ranks = static_cast<std::uint64_t>(world().ranks());
  if (ranks <= 4) {
    EXPECT_GE(bins_of(guess_of_blocks(8, alike)), 120U);
  }
}

TEST(BracketSample, TheBracketGrowsWithTheDifferenceBetweenNeighbouringBlocks) {
  // Every other block is 20 bins further up: 20 elements more or less are below any magnitude. The
  // total of n blocks then has the variance n · 20² / 2, so 5 standard deviations are
  // 5 · 20 / √2 / √n of 1,000 elements.
  const auto ranks = static_cast<double>(world().ranks());
  const BracketGuess guess =
      guess_of_blocks(100, [](std::uint32_t block) { return block % 2 * 20; });
  const double half =
      5 * 20 / std::sqrt(2.0) / std::sqrt(100 * ranks) + 0.5 / std::sqrt(1000 * 100 * ranks) * 1000;

  EXPECT_NEAR(bins_of(guess), 2 * half, 2.5);
}

TEST(BracketSample, ADriftFromTheFirstBlockToTheLastDoesNotWidenTheBracket) {
  const auto drifting = [](std::uint32_t block) { return block; };
  const BracketGuess guess = guess_of_blocks(100, drifting);

  // 1 element between neighbours: 5 / √2 / √n of 1,000 to either side.
  EXPECT_LE(bins_of(guess), 5U);
}

TEST(BracketSample, BlocksOfUnlikeLengthsAreNotCompared) {
  BracketSample sample(1);
  for (std::uint32_t block = 0; block < 100; ++block) {
    sample.add(0, std::vector<std::uint32_t>(1000 + block % 2, 3000U << 18));
    sample.add(0, std::vector<std::uint32_t>(1000, 3400U << 18));
    sample.end_block();
  }

  const auto guesses =
      sample.brackets(world(), 1'000'000, std::vector<std::uint64_t>{510'000}, 100);

  EXPECT_EQ(guesses[0].bracket.low, 3000U << 18);  // as far as it reaches at worst
}

TEST(BracketSample, GuessesWithinABinOfSeveralMagnitudesByItsShare) {
  constexpr std::uint32_t kBin = 3000U << 18;
  BracketSample sample(1);
  if (world().is_root()) {
    sample.add(0, std::vector<std::uint32_t>(50, kBin - 1));
    sample.add(0, std::vector<std::uint32_t>(50, kBin));
    sample.add(0, std::vector<std::uint32_t>(50, kBin + 0x3ffff));
  }

  const auto guesses = sample.brackets(world(), 150, std::vector<std::uint64_t>{75}, 1);

  EXPECT_EQ(guesses[0].threshold, kBin + 0x3ffff / 4);
}

TEST(ThresholdSearch, WorksOnASplitCommunicator) {
  const comm::Comm part = world().split(world().rank() % 2);
  const std::size_t elements = world().rank() % 2 == 0 ? 1000 : 777;

  expect_equals_sort(part, kDistributions[2].values(elements), at_random, 100);
}

TEST(ThresholdSearch, MakesAFewAllreducesOfAFewHundredKibibytesPerTaskWhateverTheElements) {
  for (const std::size_t elements : {1U, 100U, 20'000U}) {
    const std::vector<float> values = kDistributions[0].values(elements);
    for (const std::size_t count : {1U, 5U}) {
      const Task task{my_part(world(), values, evenly), elements / 2 + 1};

      test::reset_allreduces();
      search_for(world(), elements, std::vector<Task>(count, task), 1000);

      // A sample of a few elements leaves a wide bracket, and a round more.
      const std::uint64_t rounds = elements < 1000 ? 3 : 2;
      EXPECT_LE(test::allreduces().calls, 1 + rounds);
      EXPECT_LE(test::allreduces().bytes,
                16 + count * (BracketSample::kBytesPerTask + rounds * (64 * 1024 + 8)));
    }
  }
}

}  // namespace
}  // namespace mpimerge::select
