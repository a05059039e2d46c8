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

#include "mpimerge/kernel/convert.hpp"

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

// A model's values as a file holds them: from an odd byte on, ending with their allocation.
class Stored {
 public:
  Stored(base::Dtype dtype, const std::vector<float>& values)
      : memory_(1 + values.size() * base::element_bytes(dtype).value()) {
    from_f32(dtype, values, std::span(memory_).subspan(1));
  }
  const std::byte* data() const { return memory_.data() + 1; }
  std::span<const std::byte> bytes() const { return std::span(memory_).subspan(1); }

 private:
  std::vector<std::byte> memory_;
};

std::vector<float> rounded(base::Dtype dtype, const std::vector<float>& values) {
  const Stored stored(dtype, values);
  std::vector<float> result(values.size());
  to_f32(dtype, {stored.data(), values.size() * base::element_bytes(dtype).value()}, result);
  return result;
}

// What a task's values are whose difference to the base is nearest to τ.
std::vector<float> values_of(base::Dtype dtype, const std::vector<float>& base,
                             const std::vector<float>& tau) {
  std::vector<float> values;
  for (std::size_t i = 0; i < base.size(); ++i) values.push_back(base[i] + tau[i]);
  return rounded(dtype, values);
}

// What the kernel makes of whole vectors, with scratch rows that are longer than they are.
TiesResult through_a_tile(base::Dtype dtype, const std::vector<float>& base,
                          const std::vector<TiesTask>& tasks, const TiesRule& rule) {
  std::vector<Stored> stored;
  for (const TiesTask& task : tasks) stored.emplace_back(dtype, values_of(dtype, base, task.tau));
  std::vector<kernel::TiesTask> parts;
  for (std::size_t number = 0; number < tasks.size(); ++number)
    parts.push_back({stored[number].data(), tasks[number].threshold, tasks[number].weight, 1000});
  // From an odd float on; behind the end stands what must stay.
  std::vector<float> memory(base.size() + 1 + 16, 77.0F);
  const Stored stored_base(dtype, base);
  TiesScratch scratch(base.size() + 5);

  const TiesCounts counts = merge_tile(rule, dtype, stored_base.bytes(), parts, scratch,
                                       std::span(memory).subspan(1, base.size()));

  EXPECT_EQ(
      count_signs(dtype, stored_base.bytes(), parts, scratch),
      static_cast<std::int64_t>(counts.positive) - static_cast<std::int64_t>(counts.negative));
  TiesResult result;
  for (const auto& part : parts) {
    EXPECT_EQ(part.kept % 2, 0U);  // counted twice
    result.kept.push_back((part.kept - 1000) / 2);
  }
  result.positive = counts.positive;
  result.negative = counts.negative;
  result.cancelled = counts.cancelled;
  result.untouched = counts.untouched;
  result.conflicts_before_trim = counts.conflicts_before_trim;
  result.conflicts_after_trim = counts.conflicts_after_trim;
  const auto end = memory.begin() + 1 + static_cast<std::ptrdiff_t>(base.size());
  result.merged.assign(memory.begin() + 1, end);
  EXPECT_TRUE(std::all_of(end, memory.end(), [](float value) { return value == 77.0F; }));
  return result;
}

TiesRule rule_of(Disjoint disjoint, int cancelled_sign, float lambda) {
  return {disjoint, cancelled_sign, lambda, false};
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

enum class Weights { one, any };

// Tasks whose τ are differences of values of that type.
std::vector<TiesTask> awkward_tasks(std::mt19937_64& random, base::Dtype dtype, Weights weights,
                                    const std::vector<float>& base) {
  constexpr float kWeights[] = {1.0F, 1.0F, 0.5F, 0.3F, -1.0F, -0.7F, 0.0F, 0x1p-100F};
  // Up to a few groups of tasks that run through registers together.
  std::vector<TiesTask> tasks(1 + random() % 19);
  for (TiesTask& task : tasks) {
    const std::vector<float> values = values_of(dtype, base, awkward_values(random, base.size()));
    for (std::size_t i = 0; i < base.size(); ++i) {
      const float tau = values[i] - base[i];
      task.tau.push_back(std::isfinite(tau) ? tau : 0.0F);
    }
    if (weights == Weights::any) task.weight = kWeights[random() % std::size(kWeights)];
    task.threshold = awkward_threshold(random, task.tau);
  }
  return tasks;
}

using Case = std::tuple<Disjoint, int, base::Dtype, Weights>;

class Ties : public testing::TestWithParam<Case> {
 protected:
  static TiesRule rule(float lambda = 1.0F) {
    return rule_of(std::get<0>(GetParam()), std::get<1>(GetParam()), lambda);
  }
  static base::Dtype dtype() { return std::get<2>(GetParam()); }
  static Weights weights() { return std::get<3>(GetParam()); }

  std::vector<float> some_base(std::size_t elements) {
    std::vector<float> base = rounded(dtype(), awkward_values(random_, elements));
    for (float& value : base) value = std::isfinite(value) ? value : 1.0F;
    return base;
  }
  std::vector<TiesTask> some_tasks(const std::vector<float>& base) {
    return awkward_tasks(random_, dtype(), weights(), base);
  }

  // The reference works on τ; what the file's type can hold of it is what both get.
  static void expect_as_reference(const std::vector<float>& base, std::vector<TiesTask> tasks,
                                  const TiesRule& rule) {
    const TiesResult found = through_a_tile(dtype(), base, tasks, rule);
    for (TiesTask& task : tasks) {
      const std::vector<float> values = values_of(dtype(), base, task.tau);
      for (std::size_t i = 0; i < base.size(); ++i) task.tau[i] = values[i] - base[i];
    }
    expect_same(found, test::reference::ties(base, tasks, reference_of(rule.disjoint),
                                             rule.cancelled_sign, rule.lambda));
  }

  std::mt19937_64 random_{31};
};

TEST_P(Ties, EqualsTheReferenceOnRandomTiles) {
  constexpr float kLambdas[] = {1.0F, 0.3F, -1.0F, 0.0F};
  for (int times = 0; times < 60; ++times) {
    const std::vector<float> base = some_base(random_() % 200);
    expect_as_reference(base, some_tasks(base), rule(kLambdas[random_() % std::size(kLambdas)]));
  }
}

TEST_P(Ties, EqualsTheReferenceWhereValuesMayBeNaNButAreNot) {
  for (int times = 0; times < 20; ++times) {
    const std::vector<float> base = some_base(100);
    TiesRule careful = rule();
    careful.may_have_nan = true;
    expect_as_reference(base, some_tasks(base), careful);
  }
}

TEST_P(Ties, EqualsTheReferenceOnALongTile) {
  const std::vector<float> base = some_base(4096);
  expect_as_reference(base, some_tasks(base), rule());
}

TEST_P(Ties, LetsInfinitiesThroughAsTheReferenceDoes) {
  for (int times = 0; times < 50; ++times) {
    const std::vector<float> base(40, 1.0F);
    std::vector<TiesTask> tasks = some_tasks(base);
    for (TiesTask& task : tasks)
      task.tau[random_() % 40] = random_() % 2 == 0 ? kInfinity : -kInfinity;
    tasks[0].threshold = kInfinityBits;
    TiesRule careful = rule();
    careful.may_have_nan = true;
    expect_as_reference(base, tasks, careful);
  }
}

TEST_P(Ties, NaNInAnyTaskGivesNaNThereAndNowhereElse) {
  for (const std::uint32_t threshold : {0U, 0x3f000000U, kInfinityBits}) {
    const std::vector<float> base(140, 1.0F);
    std::vector<TiesTask> tasks = some_tasks(base);
    tasks.resize(3, tasks[0]);
    for (TiesTask& task : tasks) task.threshold = threshold;
    tasks[0].tau[3] = kNaN;
    tasks[2].tau[17] = -kNaN;
    tasks[1].tau[139] = kNaN;
    TiesRule careful = rule();
    careful.may_have_nan = true;

    const TiesResult result = through_a_tile(dtype(), base, tasks, careful);

    for (std::size_t i = 0; i < base.size(); ++i)
      EXPECT_EQ(std::isnan(result.merged[i]), i == 3 || i == 17 || i == 139) << i;
    EXPECT_EQ(result.positive + result.negative + result.cancelled + result.untouched, 137U);
    EXPECT_LE(result.conflicts_after_trim, result.conflicts_before_trim);
    EXPECT_LE(result.conflicts_before_trim, 140U);
  }
}

TEST_P(Ties, NaNBelowAThresholdThatIsNaNGivesNaN) {
  TiesTask task;
  task.tau = {kNaN, kNaN};
  task.threshold = 0x7fffffffU;
  TiesRule careful = rule();
  careful.may_have_nan = true;

  const TiesResult result = through_a_tile(dtype(), {1.0F, 1.0F}, {task}, careful);

  EXPECT_TRUE(std::isnan(result.merged[0]));
  EXPECT_TRUE(std::isnan(result.merged[1]));
}

TEST_P(Ties, AThresholdThatIsNaNTrimsInfinities) {
  TiesTask task;
  task.tau = {kInfinity, -kInfinity, kNaN};
  task.threshold = 0x7fffffffU;
  TiesRule careful = rule();
  careful.may_have_nan = true;

  const TiesResult result = through_a_tile(dtype(), {1.0F, 1.0F, 1.0F}, {task}, careful);

  EXPECT_EQ(result.merged[0], 1.0F);
  EXPECT_EQ(result.merged[1], 1.0F);
  EXPECT_TRUE(std::isnan(result.merged[2]));
}

TEST_P(Ties, NaNIsInConflictWithNothing) {
  std::vector<TiesTask> tasks(2);
  tasks[0].tau = {kNaN, -kNaN, kNaN, -kNaN, 1.0F};
  tasks[1].tau = {1.0F, 1.0F, -1.0F, -1.0F, -1.0F};
  TiesRule careful = rule();
  careful.may_have_nan = true;

  const TiesResult result = through_a_tile(dtype(), std::vector<float>(5, 1.0F), tasks, careful);

  EXPECT_EQ(result.conflicts_before_trim, 1U);
  EXPECT_EQ(result.conflicts_after_trim, 1U);
}

TEST_P(Ties, ANegativeZeroIsInConflictWithNothing) {
  // −0 less +0 is the only difference of finite values that is −0.
  const float weight = weights() == Weights::one ? 1.0F : 0.5F;
  const Stored base(dtype(), {0.0F, 0.0F, 0.0F});
  const Stored one(dtype(), {-0.0F, -0.0F, 1.0F});
  const Stored two(dtype(), {1.0F, -0.0F, -0.0F});
  std::vector<kernel::TiesTask> tasks{{one.data(), 0, weight, 0}, {two.data(), 0, weight, 0}};
  TiesScratch scratch(3);
  std::vector<float> merged(3);

  const TiesCounts counts = merge_tile(rule(), dtype(), base.bytes(), tasks, scratch, merged);

  EXPECT_EQ(counts.conflicts_before_trim, 0U);
  EXPECT_EQ(counts.conflicts_after_trim, 0U);
  EXPECT_EQ(counts.positive, 2U);
  EXPECT_EQ(counts.untouched, 1U);
}

TEST_P(Ties, ScratchIsAsNewForTheNextTile) {
  const std::vector<float> base = some_base(133);
  std::vector<TiesTask> tasks = some_tasks(base);
  tasks.resize(11, tasks[0]);
  const TiesResult expected = through_a_tile(dtype(), base, tasks, rule());
  std::vector<Stored> stored;
  for (const TiesTask& task : tasks)
    stored.emplace_back(dtype(), values_of(dtype(), base, task.tau));
  TiesScratch scratch(133);
  for (int tile = 0; tile < 2; ++tile) {
    std::vector<kernel::TiesTask> parts;
    for (std::size_t number = 0; number < tasks.size(); ++number)
      parts.push_back({stored[number].data(), tasks[number].threshold, tasks[number].weight, 0});
    std::vector<float> values(base.size());
    merge_tile(rule(), dtype(), Stored(dtype(), base).bytes(), parts, scratch, values);
    for (std::size_t i = 0; i < base.size(); ++i)
      EXPECT_EQ(bits_of(values[i]), bits_of(expected.merged[i])) << i;
  }
}

TEST_P(Ties, EveryLengthIsCountedWhole) {
  for (std::size_t elements = 0; elements <= 140; ++elements) {
    const std::vector<float> base(elements, 5.0F);
    const TiesTask task{std::vector<float>(elements, 3.0F), 1.0F, bits_of(2.0F)};

    const TiesResult result = through_a_tile(dtype(), base, {task}, rule());

    EXPECT_EQ(result.kept[0], elements);
    EXPECT_EQ(result.positive, elements);
    EXPECT_EQ(result.untouched, 0U);
    EXPECT_EQ(result.merged, std::vector<float>(elements, 8.0F));
  }
}

TEST_P(Ties, WithoutTasksTheBaseStays) {
  const std::vector<float> base(70, 2.5F);
  const TiesResult result = through_a_tile(dtype(), base, {}, rule());
  EXPECT_EQ(result.merged, base);
  EXPECT_EQ(result.untouched, 70U);
}

std::string name_of(const testing::TestParamInfo<Case>& tested) {
  const char* const names[] = {"Mean", "Sum", "Max"};
  const char* const signs[] = {"CancelledNegative", "CancelledZero", "CancelledPositive"};
  return std::string(names[static_cast<std::size_t>(std::get<0>(tested.param))]) +
         signs[static_cast<std::size_t>(std::get<1>(tested.param) + 1)] +
         std::string(base::name(std::get<2>(tested.param))) +
         (std::get<3>(tested.param) == Weights::one ? "WeightsOfOne" : "AnyWeights");
}

INSTANTIATE_TEST_SUITE_P(
    Kernels, Ties,
    testing::Combine(testing::Values(Disjoint::mean, Disjoint::sum, Disjoint::max),
                     testing::Values(-1, 0, 1),
                     testing::Values(base::Dtype::f32, base::Dtype::bf16, base::Dtype::f16),
                     testing::Values(Weights::one, Weights::any)),
    name_of);

std::vector<TiesTask> tasks_of(const std::vector<std::vector<float>>& taus) {
  std::vector<TiesTask> tasks;
  for (const auto& tau : taus) tasks.push_back({tau, 1.0F, 0});
  return tasks;
}

TiesResult merge(const std::vector<float>& base, const std::vector<TiesTask>& tasks,
                 Disjoint disjoint, int cancelled_sign, float lambda) {
  return through_a_tile(base::Dtype::f32, base, tasks, rule_of(disjoint, cancelled_sign, lambda));
}

// Worked by hand, so that kernels and reference cannot be wrong together.
TEST(TiesByHand, MeanTakesTheValuesOfTheElectedSign) {
  const auto tasks = tasks_of({{1, -1, 3}, {2, -3, -1}, {-4, 1, 0}});
  const std::vector<float> base{10, 20, 30};

  EXPECT_EQ(merge(base, tasks, Disjoint::mean, 1, 1.0F).merged,
            (std::vector<float>{10 - 4, 20 - 2, 30 + 3}));
  EXPECT_EQ(merge(base, tasks, Disjoint::sum, 1, 0.5F).merged,
            (std::vector<float>{10 - 2, 20 - 2, 30 + 1.5F}));
  EXPECT_EQ(merge(base, tasks, Disjoint::max, 1, 1.0F).merged,
            (std::vector<float>{10 - 4, 20 - 3, 30 + 3}));
}

TEST(TiesByHand, ACancellingSumTakesTheGivenSign) {
  const auto tasks = tasks_of({{2}, {-1}, {-1}});
  const auto merged = [&](Disjoint disjoint, int sign) {
    return merge({0}, tasks, disjoint, sign, 1.0F).merged[0];
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

  EXPECT_EQ(merge({0}, tasks, Disjoint::mean, 1, 1.0F).merged[0], (1 + 12) / 4.0F);
}

TEST(TiesByHand, WeightsThatSumToZeroDivideByOne) {
  std::vector<TiesTask> tasks = tasks_of({{3}, {-2}});
  tasks[1].weight = -1.0F;  // its value counts as +2

  EXPECT_EQ(merge({0}, tasks, Disjoint::mean, 1, 1.0F).merged[0], 5.0F);
}

TEST(TiesByHand, TrimKeepsWhatEqualsTheThreshold) {
  TiesTask task{{0.5F, -0.5F, 0.49F, 0.0F, 1.0F}, 1.0F, bits_of(0.5F)};

  const TiesResult result = merge(std::vector<float>(5), {task}, Disjoint::sum, 1, 1.0F);

  EXPECT_EQ(result.kept, std::vector<std::uint64_t>{3});
  EXPECT_EQ(result.merged, (std::vector<float>{0.5F, -0.5F, 0, 0, 1.0F}));
}

TEST(TiesByHand, ThresholdZeroKeepsZerosToo) {
  TiesTask task{{0.0F, -0.0F, 1.0F}, 1.0F, 0};

  const TiesResult result = merge(std::vector<float>(3), {task}, Disjoint::sum, 1, 1.0F);

  EXPECT_EQ(result.kept, std::vector<std::uint64_t>{3});
  EXPECT_EQ(result.untouched, 2U);
  EXPECT_EQ(result.positive, 1U);
}

TEST(TiesByHand, CountsSignsAndConflicts) {
  std::vector<TiesTask> tasks = tasks_of({{1, -1, 1, 0, 1, 0.1F}, {1, -1, -1, 0, -3, -0.1F}});
  tasks[0].threshold = tasks[1].threshold = bits_of(1.0F);

  const TiesResult result = merge(std::vector<float>(6), tasks, Disjoint::mean, 1, 1.0F);

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

  EXPECT_EQ(merge({-1.0F}, tasks, Disjoint::sum, 1, lambda).merged[0], 0x1p-22F);
}

TEST(TiesByHand, NothingKeptLeavesTheBaseButForTheSignOfZero) {
  TiesTask task{{0.1F, 0.1F}, 1.0F, bits_of(1.0F)};
  const std::vector<float> base{-0.0F, 2.0F};

  EXPECT_EQ(bits_of(merge(base, {task}, Disjoint::mean, 1, 1.0F).merged[0]), 0U);
  EXPECT_EQ(merge(base, {task}, Disjoint::mean, 1, 1.0F).merged[1], 2.0F);
}

TEST(MoveBase, IsTheLastStepOfMergeTile) {
  std::mt19937_64 random(17);
  std::normal_distribution<float> normal(0, 1);
  for (const base::Dtype dtype : {base::Dtype::f32, base::Dtype::bf16, base::Dtype::f16}) {
    for (const std::size_t elements : {1U, 127U, 128U, 1000U}) {
      std::vector<float> values[3];
      for (std::vector<float>& of : values) {
        for (std::size_t i = 0; i < elements; ++i) of.push_back(normal(random));
      }
      values[1][elements / 2] = kNaN;
      const Stored base(dtype, values[0]);
      const Stored one(dtype, values[1]);
      const Stored two(dtype, values[2]);
      std::vector<kernel::TiesTask> tasks{{one.data(), bits_of(0.25F), 1, 0},
                                          {two.data(), bits_of(0.5F), 2, 0}};
      TiesScratch scratch(elements);
      TiesRule rule;
      rule.may_have_nan = true;
      rule.lambda = 0.7F;
      std::vector<float> whole(elements);
      std::vector<float> vector(elements);
      std::vector<float> moved(elements + 1, 77.0F);
      merge_tile(rule, dtype, base.bytes(), tasks, scratch, whole);
      rule.gives_vector = true;
      merge_tile(rule, dtype, base.bytes(), tasks, scratch, vector);
      move_base(dtype, base.bytes(), 0.7F, vector, std::span(moved).first(elements));
      EXPECT_EQ(moved.back(), 77.0F);
      for (std::size_t i = 0; i < elements; ++i) {
        EXPECT_TRUE(bits_of(moved[i]) == bits_of(whole[i]) ||
                    (std::isnan(moved[i]) && std::isnan(whole[i])))
            << i << " of " << elements;
      }
    }
  }
}

}  // namespace
}  // namespace mpimerge::kernel
