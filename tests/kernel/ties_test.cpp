#include "mpimerge/kernel/ties.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "support/reference/ties.hpp"

namespace mpimerge::kernel {
namespace {

using test::reference::TiesResult;
using test::reference::TiesTask;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr std::uint32_t kInfinityBits = 0x7f800000U;

std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }

test::reference::Disjoint reference_of(Disjoint disjoint) {
  switch (disjoint) {
    case Disjoint::mean: return test::reference::Disjoint::mean;
    case Disjoint::sum: return test::reference::Disjoint::sum;
    case Disjoint::max: return test::reference::Disjoint::max;
  }
  return test::reference::Disjoint::mean;
}

// A copy that begins one element off any vector's alignment and ends with its allocation.
class Unaligned {
 public:
  explicit Unaligned(const std::vector<float>& values) : memory_(values.size() + 1) {
    std::copy(values.begin(), values.end(), memory_.begin() + 1);
  }
  std::span<float> span() { return std::span(memory_).subspan(1); }
  std::vector<float> values() const { return {memory_.begin() + 1, memory_.end()}; }

 private:
  std::vector<float> memory_;
};

// What the kernels make of whole vectors, through a tile that is larger than they are.
TiesResult through_a_tile(const std::vector<float>& base, const std::vector<TiesTask>& tasks,
                          Disjoint disjoint, int cancelled_sign, float lambda) {
  TiesTile tile(base.size() + 5);
  TiesResult result;
  for (const TiesTask& task : tasks) {
    Unaligned tau(task.tau);
    result.kept.push_back(add_task(tile, tau.span(), task.threshold, task.weight, disjoint));
  }
  const TiesCounts counts = count(tile, base.size());
  result.positive = counts.positive;
  result.negative = counts.negative;
  result.cancelled = counts.cancelled;
  result.untouched = counts.untouched;
  result.conflicts_before_trim = counts.conflicts_before_trim;
  result.conflicts_after_trim = counts.conflicts_after_trim;
  Unaligned merged(base);
  finish(tile, disjoint, cancelled_sign, lambda, merged.span());
  result.merged = merged.values();
  return result;
}

void expect_same(const TiesResult& found, const TiesResult& expected) {
  EXPECT_EQ(found.kept, expected.kept);
  EXPECT_EQ(found.positive, expected.positive);
  EXPECT_EQ(found.negative, expected.negative);
  EXPECT_EQ(found.cancelled, expected.cancelled);
  EXPECT_EQ(found.untouched, expected.untouched);
  EXPECT_EQ(found.conflicts_before_trim, expected.conflicts_before_trim);
  EXPECT_EQ(found.conflicts_after_trim, expected.conflicts_after_trim);
  ASSERT_EQ(found.merged.size(), expected.merged.size());
  for (std::size_t i = 0; i < found.merged.size(); ++i) {
    if (std::isnan(expected.merged[i]))
      EXPECT_TRUE(std::isnan(found.merged[i])) << "element " << i;
    else
      EXPECT_EQ(bits_of(found.merged[i]), bits_of(expected.merged[i]))
          << "element " << i << ": " << found.merged[i] << ", " << expected.merged[i];
  }
}

// Values that meet, cancel and vanish: a coarse grid, both zeros, denormals, and now and then
// anything finite.
float awkward_value(std::mt19937_64& random) {
  switch (random() % 8) {
    case 0: return 0.0F;
    case 1: return -0.0F;
    case 2: {
      const auto mantissa = static_cast<std::uint32_t>(random() % 0x800000U);
      return std::bit_cast<float>(mantissa | (random() % 2 == 0 ? 0x80000000U : 0U));
    }
    case 3: {
      const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
      return std::isfinite(value) ? value : 1.0F;
    }
    default: return 0.25F * (static_cast<float>(random() % 9) - 4.0F);
  }
}

std::vector<float> awkward_values(std::mt19937_64& random, std::size_t count) {
  std::vector<float> values;
  for (std::size_t i = 0; i < count; ++i) values.push_back(awkward_value(random));
  return values;
}

// A threshold that is one of the values, as the search finds it, or none at all.
std::uint32_t awkward_threshold(std::mt19937_64& random, const std::vector<float>& tau) {
  if (tau.empty() || random() % 4 == 0) return 0;
  return test::reference::magnitude_bits(tau[random() % tau.size()]);
}

std::vector<TiesTask> awkward_tasks(std::mt19937_64& random, std::size_t elements) {
  constexpr float kWeights[] = {1.0F, 1.0F, 0.5F, 0.3F, -1.0F, -0.7F, 0.0F, 0x1p-100F};
  std::vector<TiesTask> tasks(1 + random() % 9);
  for (TiesTask& task : tasks) {
    task.tau = awkward_values(random, elements);
    task.weight = kWeights[random() % std::size(kWeights)];
    task.threshold = awkward_threshold(random, task.tau);
  }
  return tasks;
}

class Ties : public testing::TestWithParam<std::tuple<Disjoint, int>> {
 protected:
  static Disjoint disjoint() { return std::get<0>(GetParam()); }
  static int cancelled_sign() { return std::get<1>(GetParam()); }

  static void expect_as_reference(const std::vector<float>& base,
                                  const std::vector<TiesTask>& tasks, float lambda) {
    expect_same(
        through_a_tile(base, tasks, disjoint(), cancelled_sign(), lambda),
        test::reference::ties(base, tasks, reference_of(disjoint()), cancelled_sign(), lambda));
  }
};

TEST_P(Ties, EqualsTheReferenceOnRandomTiles) {
  std::mt19937_64 random(31);
  constexpr float kLambdas[] = {1.0F, 0.3F, -1.0F, 0.0F};
  for (int times = 0; times < 200; ++times) {
    const std::size_t elements = random() % 71;
    const std::vector<float> base = awkward_values(random, elements);
    const std::vector<TiesTask> tasks = awkward_tasks(random, elements);
    expect_as_reference(base, tasks, kLambdas[random() % std::size(kLambdas)]);
  }
}

TEST_P(Ties, EqualsTheReferenceOnALongTile) {
  std::mt19937_64 random(32);
  const std::vector<float> base = awkward_values(random, 4096);
  expect_as_reference(base, awkward_tasks(random, 4096), 1.0F);
}

TEST_P(Ties, LetsInfinitiesThroughAsTheReferenceDoes) {
  std::mt19937_64 random(33);
  for (int times = 0; times < 50; ++times) {
    const std::vector<float> base = awkward_values(random, 40);
    std::vector<TiesTask> tasks = awkward_tasks(random, 40);
    for (TiesTask& task : tasks)
      task.tau[random() % 40] = random() % 2 == 0 ? kInfinity : -kInfinity;
    tasks[0].threshold = kInfinityBits;
    expect_as_reference(base, tasks, 1.0F);
  }
}

TEST_P(Ties, NaNInAnyTaskGivesNaNThereAndNowhereElse) {
  std::mt19937_64 random(34);
  for (const std::uint32_t threshold : {0U, 0x3f000000U, kInfinityBits}) {
    const std::vector<float> base(40, 1.0F);
    std::vector<TiesTask> tasks = awkward_tasks(random, 40);
    tasks.resize(3, tasks[0]);
    for (TiesTask& task : tasks) task.threshold = threshold;
    tasks[0].tau[3] = kNaN;
    tasks[2].tau[17] = -kNaN;
    tasks[1].tau[39] = std::bit_cast<float>(0x7f800001U);

    const TiesResult result = through_a_tile(base, tasks, disjoint(), cancelled_sign(), 1.0F);

    for (std::size_t i = 0; i < base.size(); ++i)
      EXPECT_EQ(std::isnan(result.merged[i]), i == 3 || i == 17 || i == 39) << i;
  }
}

TEST_P(Ties, NaNBelowAThresholdThatIsNaNGivesNaN) {
  TiesTask task;
  task.tau = {std::bit_cast<float>(0x7fc00000U), std::bit_cast<float>(0x7fc00001U)};
  task.threshold = 0x7fc00001U;

  const TiesResult result =
      through_a_tile({1.0F, 1.0F}, {task}, disjoint(), cancelled_sign(), 1.0F);

  EXPECT_TRUE(std::isnan(result.merged[0]));
  EXPECT_TRUE(std::isnan(result.merged[1]));
}

TEST_P(Ties, ATileIsAsNewAfterClear) {
  std::mt19937_64 random(35);
  const std::vector<float> base = awkward_values(random, 33);
  const std::vector<TiesTask> first = awkward_tasks(random, 33);
  const std::vector<TiesTask> second = awkward_tasks(random, 33);
  TiesTile tile(33);
  for (const TiesTask& task : first)
    add_task(tile, task.tau, task.threshold, task.weight, disjoint());

  tile.clear();
  for (const TiesTask& task : second)
    add_task(tile, task.tau, task.threshold, task.weight, disjoint());
  std::vector<float> merged = base;
  finish(tile, disjoint(), cancelled_sign(), 0.5F, merged);

  const TiesResult expected = through_a_tile(base, second, disjoint(), cancelled_sign(), 0.5F);
  for (std::size_t i = 0; i < base.size(); ++i)
    EXPECT_EQ(bits_of(merged[i]), bits_of(expected.merged[i])) << i;
}

TEST_P(Ties, TouchesNothingBehindTheEnd) {
  constexpr std::size_t kGuards = 16;
  for (std::size_t elements = 0; elements <= 40; ++elements) {
    // Behind the end stand values that would be kept, and counted.
    std::vector<float> tau(elements + kGuards, 3.0F);
    std::vector<float> merged(elements + kGuards, 5.0F);
    TiesTile tile(elements);

    const std::uint64_t kept =
        add_task(tile, std::span(tau).first(elements), bits_of(2.0F), 1.0F, disjoint());
    const TiesCounts counts = count(tile, elements);
    finish(tile, disjoint(), cancelled_sign(), 1.0F, std::span(merged).first(elements));

    EXPECT_EQ(kept, elements);
    EXPECT_EQ(counts.positive, elements);
    EXPECT_EQ(counts.untouched, 0U);
    for (std::size_t i = 0; i < merged.size(); ++i)
      EXPECT_EQ(merged[i], i < elements ? 8.0F : 5.0F) << i << " of " << elements;
  }
}

std::string name_of(const testing::TestParamInfo<std::tuple<Disjoint, int>>& tested) {
  const char* const names[] = {"Mean", "Sum", "Max"};
  const char* const signs[] = {"CancelledNegative", "CancelledZero", "CancelledPositive"};
  return std::string(names[static_cast<std::size_t>(std::get<0>(tested.param))]) +
         signs[static_cast<std::size_t>(std::get<1>(tested.param) + 1)];
}

INSTANTIATE_TEST_SUITE_P(Kernels, Ties,
                         testing::Combine(testing::Values(Disjoint::mean, Disjoint::sum,
                                                          Disjoint::max),
                                          testing::Values(-1, 0, 1)),
                         name_of);

std::vector<TiesTask> tasks_of(const std::vector<std::vector<float>>& taus) {
  std::vector<TiesTask> tasks;
  for (const auto& tau : taus) tasks.push_back({tau, 1.0F, 0});
  return tasks;
}

// Worked by hand, so that kernels and reference cannot be wrong together.
TEST(TiesByHand, MeanTakesTheValuesOfTheElectedSign) {
  const auto tasks = tasks_of({{1, -1, 3}, {2, -3, -1}, {-4, 1, 0}});
  const std::vector<float> base{10, 20, 30};

  EXPECT_EQ(through_a_tile(base, tasks, Disjoint::mean, 1, 1.0F).merged,
            (std::vector<float>{10 - 4, 20 - 2, 30 + 3}));
  EXPECT_EQ(through_a_tile(base, tasks, Disjoint::sum, 1, 0.5F).merged,
            (std::vector<float>{10 - 2, 20 - 2, 30 + 1.5F}));
  EXPECT_EQ(through_a_tile(base, tasks, Disjoint::max, 1, 1.0F).merged,
            (std::vector<float>{10 - 4, 20 - 3, 30 + 3}));
}

TEST(TiesByHand, ACancellingSumTakesTheGivenSign) {
  const auto tasks = tasks_of({{2}, {-1}, {-1}});
  const auto merged = [&](Disjoint disjoint, int sign) {
    return through_a_tile({0}, tasks, disjoint, sign, 1.0F).merged[0];
  };

  EXPECT_EQ(merged(Disjoint::mean, 1), 2.0F);
  EXPECT_EQ(merged(Disjoint::mean, -1), -1.0F);
  EXPECT_EQ(merged(Disjoint::mean, 0), -1.0F);
  EXPECT_EQ(merged(Disjoint::sum, 1), 2.0F);
  EXPECT_EQ(merged(Disjoint::sum, -1), -2.0F);
  EXPECT_EQ(merged(Disjoint::sum, 0), -2.0F);
  EXPECT_EQ(merged(Disjoint::max, 1), 2.0F);
  EXPECT_EQ(merged(Disjoint::max, -1), -1.0F);
  EXPECT_EQ(merged(Disjoint::max, 0), 0.0F);
}

TEST(TiesByHand, WeightsWeighTheMean) {
  std::vector<TiesTask> tasks = tasks_of({{1}, {4}, {-1}});
  tasks[0].weight = 1.0F;
  tasks[1].weight = 3.0F;

  EXPECT_EQ(through_a_tile({0}, tasks, Disjoint::mean, 1, 1.0F).merged[0], (1 + 12) / 4.0F);
}

TEST(TiesByHand, WeightsThatSumToZeroDivideByOne) {
  std::vector<TiesTask> tasks = tasks_of({{3}, {-2}});
  tasks[1].weight = -1.0F;  // its value counts as +2

  EXPECT_EQ(through_a_tile({0}, tasks, Disjoint::mean, 1, 1.0F).merged[0], 5.0F);
}

TEST(TiesByHand, TrimKeepsWhatEqualsTheThreshold) {
  TiesTask task{{0.5F, -0.5F, 0.49F, 0.0F, 1.0F}, 1.0F, bits_of(0.5F)};

  const TiesResult result = through_a_tile(std::vector<float>(5), {task}, Disjoint::sum, 1, 1.0F);

  EXPECT_EQ(result.kept, std::vector<std::uint64_t>{3});
  EXPECT_EQ(result.merged, (std::vector<float>{0.5F, -0.5F, 0, 0, 1.0F}));
}

TEST(TiesByHand, ThresholdZeroKeepsZerosToo) {
  TiesTask task{{0.0F, -0.0F, 1.0F}, 1.0F, 0};

  const TiesResult result = through_a_tile(std::vector<float>(3), {task}, Disjoint::sum, 1, 1.0F);

  EXPECT_EQ(result.kept, std::vector<std::uint64_t>{3});
  EXPECT_EQ(result.untouched, 2U);
  EXPECT_EQ(result.positive, 1U);
}

TEST(TiesByHand, CountsSignsAndConflicts) {
  std::vector<TiesTask> tasks = tasks_of({{1, -1, 1, 0, 1, 0.1F}, {1, -1, -1, 0, -3, -0.1F}});
  tasks[0].threshold = tasks[1].threshold = bits_of(1.0F);

  const TiesResult result = through_a_tile(std::vector<float>(6), tasks, Disjoint::mean, 1, 1.0F);

  EXPECT_EQ(result.positive, 1U);
  EXPECT_EQ(result.negative, 2U);
  EXPECT_EQ(result.cancelled, 1U);
  EXPECT_EQ(result.untouched, 2U);
  EXPECT_EQ(result.conflicts_before_trim, 3U);
  EXPECT_EQ(result.conflicts_after_trim, 2U);
}

TEST(TiesByHand, TheBaseIsAddedInTwoRoundings) {
  // A fused multiply-add would keep the product's lowest bit.
  const float lambda = 1 + 0x1p-23F;
  const auto tasks = tasks_of({{1 + 0x1p-23F}});

  EXPECT_EQ(through_a_tile({-1.0F}, tasks, Disjoint::sum, 1, lambda).merged[0], 0x1p-22F);
}

TEST(TiesByHand, NothingKeptLeavesTheBaseButForTheSignOfZero) {
  TiesTask task{{0.1F, 0.1F}, 1.0F, bits_of(1.0F)};
  const std::vector<float> base{-0.0F, 2.0F};

  EXPECT_EQ(bits_of(through_a_tile(base, {task}, Disjoint::mean, 1, 1.0F).merged[0]), 0U);
  EXPECT_EQ(through_a_tile(base, {task}, Disjoint::mean, 1, 1.0F).merged[1], 2.0F);
}

}  // namespace
}  // namespace mpimerge::kernel
