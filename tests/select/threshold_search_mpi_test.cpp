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

// Gives the search what it asks for, in pieces of `tile`.
std::vector<std::uint32_t> search_for(const comm::Comm& comm, const std::vector<Task>& tasks,
                                      std::size_t tile, base::Bytes memory = kPlenty) {
  std::vector<std::uint64_t> positions;
  for (const Task& task : tasks) positions.push_back(task.position);
  ThresholdSearch search(positions, memory);
  int rounds = 0;
  while (!search.done()) {
    for (std::size_t task = 0; task < tasks.size(); ++task) {
      if (!search.wants(task)) continue;
      EXPECT_TRUE(search.needs_values());
      const std::span<const float> part(tasks[task].part);
      for (std::size_t begin = 0; begin < part.size(); begin += tile)
        search.count(task, part.subspan(begin, std::min(tile, part.size() - begin)));
    }
    search.advance(comm);
    ++rounds;
  }
  EXPECT_LE(rounds, 4);
  return search.thresholds();
}

std::vector<std::uint32_t> sorted_magnitudes(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits;
  for (const float value : values)
    bits.push_back(std::bit_cast<std::uint32_t>(value) & 0x7fffffffU);
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
                        std::size_t tile, base::Bytes memory = kPlenty) {
  const std::vector<std::uint64_t> positions = positions_in(values.size());
  std::vector<Task> tasks;
  for (const std::uint64_t position : positions)
    tasks.push_back({my_part(comm, values, cut), position});

  const std::vector<std::uint32_t> found = search_for(comm, tasks, tile, memory);

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
  for (const std::uint64_t bytes : {std::uint64_t{0}, std::uint64_t{400}, 300 * rank}) {
    SCOPED_TRACE(bytes);
    expect_equals_sort(world(), values, evenly, 64, base::Bytes{bytes});
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

  const std::vector<std::uint32_t> found = search_for(world(), tasks, 7);

  for (std::uint64_t position = 0; position <= values.size(); ++position)
    EXPECT_EQ(found[position], expected_threshold(sorted, position)) << position;
}

TEST(ThresholdSearch, KeepsTasksOfDifferentKindsApart) {
  std::vector<Task> tasks;
  std::vector<std::uint32_t> expected;
  for (const Distribution& distribution : kDistributions) {
    const std::size_t elements = 500 + 37 * tasks.size();
    const std::vector<float> values = distribution.values(elements);
    const std::uint64_t position = elements * (tasks.size() % 5) / 4;
    tasks.push_back({my_part(world(), values, at_random), position});
    expected.push_back(expected_threshold(sorted_magnitudes(values), position));
  }

  EXPECT_EQ(search_for(world(), tasks, 64), expected);
}

TEST(ThresholdSearch, DependsNeitherOnTilesNorOnTheOrderOfElements) {
  const std::vector<float> values = kDistributions[0].values(kElements);
  const std::uint64_t position = kElements / 2;
  std::vector<float> part = my_part(world(), values, evenly);
  const auto once = search_for(world(), {{part, position}}, kElements);
  std::reverse(part.begin(), part.end());

  EXPECT_EQ(search_for(world(), {{part, position}}, 1), once);
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
  ThresholdSearch search({0, 0});
  EXPECT_TRUE(search.done());
  EXPECT_FALSE(search.wants(0));
  EXPECT_EQ(search.thresholds(), (std::vector<std::uint32_t>{0, 0}));

  EXPECT_TRUE(ThresholdSearch({}).done());
  EXPECT_TRUE(ThresholdSearch({}).thresholds().empty());
}

TEST(ThresholdSearch, WantsOnlyTheTasksThatAsk) {
  ThresholdSearch search({0, 1});
  EXPECT_FALSE(search.wants(0));
  EXPECT_TRUE(search.wants(1));
  const std::vector<float> one{2.0F};
  while (!search.done()) {
    search.count(0, one);  // unasked, and without effect
    if (world().is_root()) search.count(1, one);
    search.advance(world());
  }
  EXPECT_FALSE(search.wants(1));
  EXPECT_EQ(search.thresholds(),
            (std::vector<std::uint32_t>{0, std::bit_cast<std::uint32_t>(2.0F)}));
}

TEST(ThresholdSearch, LooksAtTheValuesTwiceWhereWhatIsLeftFitsTheMemory) {
  const std::vector<float> part = my_part(world(), kDistributions[1].values(kElements), evenly);
  for (const std::uint64_t memory : {0U, 1U << 20}) {
    ThresholdSearch search({kElements / 2}, base::Bytes{memory});
    int looks = 0;
    while (!search.done()) {
      looks += search.needs_values() ? 1 : 0;
      search.count(0, part);
      search.advance(world());
    }
    EXPECT_EQ(looks, memory == 0 ? 3 : 2);
  }
}

TEST(ThresholdSearch, APositionBeyondTheElementsFailsOnAllRanks) {
  const std::vector<float> values = kDistributions[0].values(100);

  EXPECT_THROW(search_for(world(), {{my_part(world(), values, evenly), 101}}, 100),
               std::logic_error);
}

TEST(ThresholdSearch, WorksOnASplitCommunicator) {
  const comm::Comm part = world().split(world().rank() % 2);
  const std::size_t elements = world().rank() % 2 == 0 ? 1000 : 777;

  expect_equals_sort(part, kDistributions[2].values(elements), at_random, 100);
}

TEST(ThresholdSearch, MakesThreeAllreducesOf72KibibytesPerTaskWhateverTheElements) {
  for (const std::size_t elements : {1U, 100U, 20'000U}) {
    const std::vector<float> values = kDistributions[2].values(elements);
    for (const std::size_t count : {1U, 5U}) {
      const Task task{my_part(world(), values, evenly), elements / 2 + 1};

      test::reset_allreduces();
      search_for(world(), std::vector<Task>(count, task), 1000);

      EXPECT_EQ(test::allreduces().calls, 3U);
      EXPECT_EQ(test::allreduces().bytes, count * 72 * 1024);
    }
  }
}

}  // namespace
}  // namespace mpimerge::select
