#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "mpimerge/kernel/uniform.hpp"

#include "method/run_in_memory.hpp"

namespace mpimerge::test {
namespace {

using Values = std::vector<float>;

constexpr std::size_t kElements = 4000;

// Task vectors of two tensors with magnitudes 1, 2, 3, … in all, in an order that no rule knows.
std::vector<TensorValues> two_tensors() {
  std::vector<TensorValues> tensors;
  for (const std::size_t number : {0U, 1U}) {
    TensorValues tensor{
        .name = "tensor." + std::to_string(number), .shape = {40, kElements / 40}, .models = {}};
    tensor.models.resize(1);
    for (std::size_t i = 0; i < kElements; ++i) {
      const std::size_t place = (i + number * kElements) * 1237 % (2 * kElements);
      tensor.base.push_back(static_cast<float>(i % 7));
      const auto delta = static_cast<float>(place + 1);
      tensor.models[0].push_back(tensor.base[i] + (i % 2 == 0 ? delta : -delta));
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

Recipe recipe_of(double probability, double density, bool bottom, bool drop) {
  return {.method = "perturb",
          .tensors = two_tensors(),
          .of_merge = {{"probability", probability},
                       {"density", density},
                       {"bottom", bottom ? 1 : 0},
                       {"drop", drop ? 1 : 0}}};
}

// Expects that just the values are hit that are meant and whose random numbers are low; returns how
// many.
std::size_t expect_hits(const Recipe& recipe, double largest_kept) {
  const std::vector<Values> merged = merge_in_memory(recipe);
  const auto probability = static_cast<float>(recipe.of_merge.at("probability"));
  std::size_t hits = 0;
  for (std::size_t t = 0; t < merged.size(); ++t) {
    const TensorValues& tensor = recipe.tensors[t];
    const kernel::Uniform uniform(recipe.rules.seed, 0, tensor.name);
    for (std::size_t i = 0; i < kElements; ++i) {
      const float base = tensor.base[i];
      const float delta = tensor.models[0][i] - base;
      const bool is_large = std::abs(delta) >= largest_kept;
      const bool is_meant = is_large != (recipe.of_merge.at("bottom") != 0);
      const bool is_hit = is_meant && uniform.at(i) < probability;
      const float changed = recipe.of_merge.at("drop") != 0 ? base : base - delta;
      EXPECT_EQ(merged[t][i], is_hit ? changed : tensor.models[0][i]) << t << ", " << i;
      hits += is_hit ? 1 : 0;
    }
  }
  return hits;
}

TEST(Perturb, HitsTheLargestValuesOfTheWholeModelOrAllOthers) {
  // Of 8000 values the published rule keeps 20 % and one more: 6400 and above.
  for (const bool drop : {false, true}) {
    const std::size_t top = expect_hits(recipe_of(0.5, 0.2, false, drop), 6400);
    EXPECT_NEAR(static_cast<double>(top), 0.5 * 1601, 5 * 20);  // five standard deviations
    const std::size_t bottom = expect_hits(recipe_of(0.5, 0.2, true, drop), 6400);
    EXPECT_NEAR(static_cast<double>(bottom), 0.5 * 6399, 5 * 40);
  }
}

TEST(Perturb, HitsAllOrNoneWhereTheProbabilityLeavesNoChoice) {
  EXPECT_EQ(expect_hits(recipe_of(1, 0.2, false, false), 6400), 1601);
  EXPECT_EQ(expect_hits(recipe_of(1, 0.2, true, true), 6400), 6399);
  EXPECT_EQ(expect_hits(recipe_of(1, 1, false, false), 0), 2 * kElements);
  EXPECT_EQ(expect_hits(recipe_of(0, 0.2, false, false), 6400), 0);
}

TEST(Perturb, RanksEachTensorByItselfWhereAskedTo) {
  Recipe recipe = recipe_of(1, 0.2, false, true);
  recipe.rules.trim_scope = method::TrimScope::tensor;
  for (float& value : recipe.tensors[1].models[0]) value *= 1e-3F;
  const std::vector<Values> merged = merge_in_memory(recipe);
  for (std::size_t t = 0; t < 2; ++t) {
    std::size_t hits = 0;
    for (std::size_t i = 0; i < kElements; ++i) hits += merged[t][i] == recipe.tensors[t].base[i];
    EXPECT_EQ(hits, kElements / 5 + 1) << t;
  }
}

TEST(Perturb, AnotherSeedHitsOthers) {
  Recipe recipe = recipe_of(0.5, 0.2, false, false);
  const auto first = bits_of(merge_in_memory(recipe));
  recipe.rules.seed = 1;
  EXPECT_NE(bits_of(merge_in_memory(recipe)), first);
}

TEST(Perturb, SparesBitsThatASumWouldRound) {
  // base + (model - base) is another number.
  Recipe recipe{.method = "perturb",
                .tensors = {{.name = "t", .shape = {2}, .models = {{0.1F, 1e-8F}}, .base = {3, 1}}},
                .of_merge = {{"probability", 0}}};
  EXPECT_EQ(merge_in_memory(recipe).front(), (Values{0.1F, 1e-8F}));
}

TEST(Perturb, IsTheSameWhereverTensorsAreCut) {
  expect_same_at_every_cut(recipe_of(0.3, 0.2, true, false));
  Recipe recipe = recipe_of(0.3, 0.2, false, true);
  recipe.rules.trim_scope = method::TrimScope::tensor;
  expect_same_at_every_cut(recipe);
}

}  // namespace
}  // namespace mpimerge::test
