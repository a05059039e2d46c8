#include "support/reference/ties.hpp"

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "method/golden.hpp"

namespace mpimerge::test {
namespace {

using method::Aggregate;
using method::Compat;
using method::Elect;
using method::Rescale;
using method::SignTie;
using method::TrimScope;
using Values = std::vector<float>;

method::Rules mergekit_rules() {
  return {
      .trim_scope = TrimScope::tensor, .sign_tie = SignTie::positive, .compat = Compat::mergekit};
}

Recipe golden(const std::string& method, double density, Aggregate aggregate) {
  Recipe recipe{
      .method = method, .tensors = {golden_tensor(3, true)}, .of_merge = {{"density", density}}};
  recipe.rules.aggregate = aggregate;
  return recipe;
}

Values merge_one(const Recipe& recipe) { return merge_in_memory(recipe).front(); }

Values golden_plus(const Values& delta) {
  Values values = kGoldenBase;
  for (std::size_t i = 0; i < values.size(); ++i) values[i] += delta[i];
  return values;
}

TensorValues tensor_of(std::vector<Values> deltas) {
  TensorValues tensor{.name = "t", .shape = {deltas.front().size()}, .models = std::move(deltas)};
  tensor.base.assign(tensor.elements(), 0);
  return tensor;
}

TEST(Ties, IsThePublishedCodesGoldenVectors) {
  const Values k20{0, 0.625F, 1, -1, -2, 0, -1.25F, -1.125F};
  const Values k40{-0.5F, 0.625F, 1, -1, -2, 0.3125F, -1.25F, -1.125F};
  for (const Aggregate aggregate : {Aggregate::disjoint_mean, Aggregate::disjoint_sum}) {
    EXPECT_EQ(merge_one(golden("ties", 0.2, aggregate)), golden_plus(k20));
    EXPECT_EQ(merge_one(golden("ties", 0.4, aggregate)), golden_plus(k40));
  }
  const std::map<Aggregate, Values> k50{
      {Aggregate::disjoint_mean, {0.34375F, -0.34375F, 1, -1, -2, 0.3125F, -1.25F, -1.125F}},
      {Aggregate::disjoint_sum, {0.6875F, -0.6875F, 1, -1, -2, 0.3125F, -1.25F, -1.125F}},
      {Aggregate::disjoint_max, {0.5F, -0.4375F, 1, -1, -2, 0.3125F, -1.25F, -1.125F}}};
  for (const auto& [aggregate, delta] : k50)
    EXPECT_EQ(merge_one(golden("ties", 0.5, aggregate)), golden_plus(delta));

  Recipe scaled = golden("ties", 0.5, Aggregate::disjoint_mean);
  scaled.of_merge["lambda"] = 0.3;
  EXPECT_EQ(merge_one(scaled),
            (Values{1.103125F, -2.103125F, 0.8F, 3.7F, -1.6F, 0.34375F, 2.625F, -0.8375F}));
}

TEST(Ties, IsMergekitsGoldenVectors) {
  Recipe recipe = golden("ties", 0.5, Aggregate::disjoint_mean);
  recipe.rules = mergekit_rules();
  EXPECT_EQ(merge_one(recipe), (Values{1.5F, -1.375F, 1.5F, 3, -3, 0.5625F, 1.75F, -1.625F}));
  Recipe weighted = recipe;
  weighted.of_models["weight"] = {0.5, 0.3, 0.2};
  weighted.of_merge["lambda"] = 0.7;
  EXPECT_EQ(merge_one(weighted),
            (Values{1.35F, -1.5625F, 1.2F, 3.3F, -2.4F, 0.46875F, 2.125F, -1.2874999F}));
  recipe.of_merge["rescale"] = 1;
  expect_near(
      merge_one(recipe),
      {0.3679245, -1.3055556, 1.764151, 2.8085108, -3.2222223, 0.62234044, 1.4198112, -1.8404255},
      1e-6);
}

TEST(Ties, HasAnotherDensityUnderMergekit) {
  Recipe recipe{.method = "ties", .tensors = {golden_tensor(3, true)}};
  EXPECT_EQ(bits_of(merge_in_memory(recipe)),
            bits_of(merge_in_memory(golden("ties", 0.2, Aggregate::disjoint_mean))));
  recipe.rules = mergekit_rules();
  Recipe dense = recipe;
  dense.of_merge["density"] = 1;
  EXPECT_EQ(bits_of(merge_in_memory(recipe)), bits_of(merge_in_memory(dense)));
}

// Equal magnitudes and exact zeros: what trims keep together and sums cancel.
TensorValues coarse_tensor() {
  TensorValues tensor = assorted_tensors(6, true).front();
  for (Values& model : tensor.models) {
    for (std::size_t i = 0; i < model.size(); i += 3)
      model[i] = tensor.base[i] + (model[i] > tensor.base[i] ? 0.25F : -0.25F);
    for (std::size_t i = 0; i < model.size(); i += 10) model[i] = tensor.base[i];
  }
  return tensor;
}

TEST(Ties, AgreesWithTheReferenceBitForBit) {
  const std::map<Aggregate, reference::Disjoint> rules{
      {Aggregate::disjoint_mean, reference::Disjoint::mean},
      {Aggregate::disjoint_sum, reference::Disjoint::sum},
      {Aggregate::disjoint_max, reference::Disjoint::max}};
  const TensorValues tensor = coarse_tensor();
  for (const auto& [aggregate, disjoint] : rules) {
    for (const double density : {0.1, 0.5, 1.0}) {
      Recipe recipe{.method = "ties", .tensors = {tensor}};
      recipe.of_merge = {{"density", density}, {"lambda", 0.7}};
      recipe.of_models = {{"weight", {1, 0.5, -0.3, 1, 2, 0.1}}};
      recipe.rules.aggregate = aggregate;
      std::vector<reference::TiesTask> tasks;
      for (std::size_t model = 0; model < tensor.models.size(); ++model) {
        reference::TiesTask task;
        for (std::size_t i = 0; i < tensor.elements(); ++i)
          task.tau.push_back(tensor.models[model][i] - tensor.base[i]);
        task.weight = static_cast<float>(recipe.of_models["weight"][model]);
        task.threshold = reference::threshold(task.tau, density);
        tasks.push_back(task);
      }
      const int majority = reference::majority_sign(tasks);
      const auto expected = reference::ties(tensor.base, tasks, disjoint, majority, 0.7F);
      EXPECT_EQ(bits_of(merge_in_memory(recipe)), bits_of({expected.merged}))
          << "density " << density;
    }
  }
}

TEST(Ties, IsTheSameWhetherTheKernelDoesItOrNot) {
  // A density that drops nothing rescales by 1; only where something may be rescaled all the
  // steps are taken one by one.
  for (const SignTie sign_tie : {SignTie::majority, SignTie::positive}) {
    for (const Aggregate aggregate :
         {Aggregate::disjoint_mean, Aggregate::disjoint_sum, Aggregate::disjoint_max}) {
      Recipe recipe{.method = "ties", .tensors = {coarse_tensor()}};
      recipe.of_merge = {{"density", 0.9999}, {"lambda", 0.7}, {"rescale", 0}};
      recipe.of_models = {{"weight", {1, 0.5, -0.3, 1, 2, 0.1}}};
      recipe.rules.aggregate = aggregate;
      recipe.rules.sign_tie = sign_tie;
      const auto plain = bits_of(merge_in_memory(recipe));
      recipe.of_merge["rescale"] = 1;
      EXPECT_EQ(bits_of(merge_in_memory(recipe)), plain);
    }
  }
}

TEST(Ties, TrimsOverTheModelOrOverEachTensor) {
  Recipe recipe{.method = "ties", .tensors = {tensor_of({{1, 2}}), tensor_of({{3, 4, 5, 6}})}};
  recipe.of_merge["density"] = 0.5;
  EXPECT_EQ(merge_in_memory(recipe), (std::vector<Values>{{0, 0}, {3, 4, 5, 6}}));
  recipe.rules.trim_scope = TrimScope::tensor;
  EXPECT_EQ(merge_in_memory(recipe), (std::vector<Values>{{1, 2}, {0, 4, 5, 6}}));
  recipe.rules.compat = Compat::mergekit;
  EXPECT_EQ(merge_in_memory(recipe), (std::vector<Values>{{0, 2}, {0, 0, 5, 6}}));
}

TEST(Ties, NeverDropsATensorBecauseItIsSmall) {
  Recipe recipe{.method = "ties", .tensors = {tensor_of({{1, -3, 2}})}};
  recipe.of_merge["density"] = 0.1;
  recipe.rules.trim_scope = TrimScope::tensor;
  for (const Compat compat : {Compat::paper, Compat::mergekit}) {
    recipe.rules.compat = compat;
    EXPECT_EQ(merge_one(recipe), (Values{0, -3, 0}));
  }
}

TEST(Ties, ComputesTheRankInDouble) {
  // 0.29 · 100 is 28.999… in double.
  Values delta(100);
  for (std::size_t i = 0; i < delta.size(); ++i) delta[i] = static_cast<float>(i + 1);
  Recipe recipe{.method = "ties", .tensors = {tensor_of({delta})}};
  recipe.of_merge["density"] = 0.29;
  for (const auto& [compat, kept] :
       std::map<Compat, std::ptrdiff_t>{{Compat::paper, 29}, {Compat::mergekit, 28}}) {
    recipe.rules.trim_scope = TrimScope::tensor;
    recipe.rules.compat = compat;
    const Values merged = merge_one(recipe);
    EXPECT_EQ(std::count_if(merged.begin(), merged.end(), [](float v) { return v != 0; }), kept);
  }
}

// Of each column: +1 and −1 cancel in the first.
Recipe tie_of_signs(SignTie sign_tie, const std::vector<Values>& deltas) {
  Recipe recipe{.method = "ties", .tensors = {tensor_of(deltas)}};
  recipe.of_merge["density"] = 1;
  recipe.rules.sign_tie = sign_tie;
  return recipe;
}

TEST(Ties, BreaksTiesByTheMajorityOfTheWholeModel) {
  const std::vector<Values> negative{{1, -1, -1}, {-1, -1, 0}};
  EXPECT_EQ(merge_one(tie_of_signs(SignTie::majority, negative))[0], -1);
  EXPECT_EQ(merge_one(tie_of_signs(SignTie::positive, negative))[0], 1);
  const std::vector<Values> positive{{1, 1, 1}, {-1, 1, 0}};
  EXPECT_EQ(merge_one(tie_of_signs(SignTie::majority, positive))[0], 1);
  // The other tensor's signs count too.
  Recipe recipe = tie_of_signs(SignTie::majority, positive);
  recipe.tensors.push_back(tensor_of({{-1, -1, -1}, {-1, -1, -1}}));
  EXPECT_EQ(merge_one(recipe)[0], -1);
  // A balanced majority acts as negative, and gives 0 for the maximum.
  Recipe balanced = tie_of_signs(SignTie::majority, {{1, 1, -1}, {-1, 1, -1}});
  EXPECT_EQ(merge_one(balanced)[0], -1);
  balanced.rules.aggregate = Aggregate::disjoint_max;
  EXPECT_EQ(merge_one(balanced)[0], 0);
}

TEST(Ties, ElectsByEachRule) {
  // By mass the first wins, by count the others. By share of its norm the third: its vector is small.
  const std::vector<Values> deltas{{4, 4}, {-1, 3}, {-2, 0}};
  const auto sign = [&](Elect rule) {
    Recipe recipe = tie_of_signs(SignTie::positive, deltas);
    recipe.rules.elect = rule;
    recipe.rules.aggregate = Aggregate::disjoint_sum;
    return merge_one(recipe)[0];
  };
  EXPECT_EQ(sign(Elect::mass), 4);
  EXPECT_EQ(sign(Elect::count), -3);
  EXPECT_EQ(sign(Elect::normfrac), -3);
  EXPECT_EQ(sign(Elect::normmass), -3);
  EXPECT_EQ(sign(Elect::none), 1);

  Recipe given = tie_of_signs(SignTie::majority, {{4, 4, 4}, {-1, -3, -1}});
  given.rules.elect = Elect::given;
  given.tensors[0].signs = {-5, 5, 0};
  // A given zero acts as negative and takes no majority.
  EXPECT_EQ(merge_one(given), (Values{-1, 4, -1}));
}

TEST(Ties, GivenSignsAreThoseOfADifferenceFromTheBase) {
  Recipe recipe = tie_of_signs(SignTie::majority, {{4}, {-1}});
  recipe.rules.elect = Elect::given;
  recipe.tensors[0] = {.name = "t", .shape = {1}, .models = {{6}, {1}}, .base = {2}, .signs = {1}};
  EXPECT_EQ(merge_one(recipe), Values{1});
}

TEST(Ties, BreaksTiesOfCountsToo) {
  Recipe recipe = tie_of_signs(SignTie::positive, {{4, -1}, {-5, -1}});
  recipe.rules.elect = Elect::count;
  EXPECT_EQ(merge_one(recipe), (Values{4, -1}));
  recipe.rules.sign_tie = SignTie::majority;
  EXPECT_EQ(merge_one(recipe), (Values{-5, -1}));
}

TEST(Ties, ATaskVectorOfZerosHasNoShares) {
  Recipe recipe = tie_of_signs(SignTie::majority, {{4, -1}, {0, 0}});
  for (const Elect rule : {Elect::normfrac, Elect::normmass}) {
    recipe.rules.elect = rule;
    EXPECT_EQ(merge_one(recipe), (Values{0, -1}));
  }
}

TEST(Ties, TakesTheNormOfTrimmedVectors) {
  // Untrimmed, the second's share of its norm, 5² of 50, is less than the first's, 5² of 34.
  Recipe recipe = tie_of_signs(SignTie::positive, {{5, 3, 0, 0}, {-5, 0, 4, 3}});
  recipe.rules.elect = Elect::normfrac;
  EXPECT_EQ(merge_one(recipe)[0], 5);
  recipe.of_models["density"] = {1, 0.2};
  EXPECT_EQ(merge_one(recipe)[0], -5);
}

TEST(Ties, AggregatesByEachRule) {
  const std::vector<Values> deltas{{-1, 2}, {-4, 1}, {3, -4}, {0, 0}};
  const auto merged = [&](Aggregate rule, Elect elect) {
    Recipe recipe = tie_of_signs(SignTie::positive, deltas);
    recipe.rules.aggregate = rule;
    recipe.rules.elect = elect;
    return merge_one(recipe);
  };
  // The signs elected are − and −.
  EXPECT_EQ(merged(Aggregate::mean, Elect::mass), (Values{-0.5F, -0.25F}));
  EXPECT_EQ(merged(Aggregate::sum, Elect::mass), (Values{-2, -1}));
  EXPECT_EQ(merged(Aggregate::median, Elect::mass), (Values{-1, -0.0F}));
  EXPECT_EQ(merged(Aggregate::magnitude, Elect::mass), (Values{-4, -4}));
  EXPECT_EQ(merged(Aggregate::mean, Elect::none), (Values{-0.5F, -0.25F}));
  EXPECT_EQ(merged(Aggregate::magnitude, Elect::none), (Values{-4, -4}));
  EXPECT_EQ(merged(Aggregate::disjoint_max, Elect::none), (Values{-4, -4}));
  // All that are not zero.
  EXPECT_EQ(merged(Aggregate::disjoint_mean, Elect::none), (Values{-2.0F / 3, -1.0F / 3}));
}

TEST(Ties, GivesWhatIsNotDisjointTheElectedSign) {
  Recipe recipe = tie_of_signs(SignTie::positive, {{3}, {-2}, {-2}});
  recipe.rules.aggregate = Aggregate::magnitude;
  EXPECT_EQ(merge_one(recipe), Values{-3});
}

TEST(Ties, DividesByTheWeightsThatAgree) {
  Recipe recipe = tie_of_signs(SignTie::positive, {{4, 4}, {2, 0}, {-1, -1}});
  recipe.of_models["weight"] = {0.5, 0.25, 1};
  EXPECT_EQ(merge_one(recipe), (Values{2.5F / 0.75F, 4}));
  recipe.of_merge["normalize"] = 0;
  EXPECT_EQ(merge_one(recipe), (Values{2.5F, 2}));
  // Weights that cancel divide by 1: 1·2 and −1·(−2) agree.
  Recipe cancel = tie_of_signs(SignTie::positive, {{2}, {-2}});
  cancel.of_models["weight"] = {1, -1};
  EXPECT_EQ(merge_one(cancel), Values{4});
  // As in mergekit, a negative weight cancels out where its model is alone.
  Recipe alone = tie_of_signs(SignTie::positive, {{2}, {0}});
  alone.of_models["weight"] = {-0.5, 1};
  EXPECT_EQ(merge_one(alone), Values{2});
}

TEST(Ties, NaNStaysWhereItIs) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Aggregate rule :
       {Aggregate::disjoint_mean, Aggregate::disjoint_max, Aggregate::median, Aggregate::sum}) {
    for (const Elect elect : {Elect::mass, Elect::count, Elect::none}) {
      Recipe recipe = tie_of_signs(SignTie::majority, {{1, nan, 2}, {1, 1, nan}});
      recipe.rules.aggregate = rule;
      recipe.rules.elect = elect;
      const Values merged = merge_one(recipe);
      EXPECT_FALSE(std::isnan(merged[0]));
      EXPECT_TRUE(std::isnan(merged[1]));
      EXPECT_TRUE(std::isnan(merged[2]));
    }
  }
}

TEST(Breadcrumbs, IsMergekitsGoldenVectors) {
  Recipe recipe = golden("breadcrumbs", 0.5, Aggregate::disjoint_mean);
  recipe.of_merge["gamma"] = 0.25;
  const Values plain{1.1875F, -2.6875F, 0.25F, 4.5625F, -0.75F, 0.6875F, 3.6875F, -0.5F};
  Values elected = plain;
  elected[0] = 1.6875F;
  for (const Compat compat : {Compat::paper, Compat::mergekit}) {
    recipe.rules.compat = compat;
    recipe.rules.sign_tie = SignTie::positive;
    recipe.method = "breadcrumbs";
    EXPECT_EQ(merge_one(recipe), plain);
    recipe.method = "breadcrumbs_ties";
    EXPECT_EQ(merge_one(recipe), elected);
  }
}

TEST(Breadcrumbs, DropsNoOutlierWhereThereAreTooFewValues) {
  Recipe recipe{.method = "breadcrumbs", .tensors = {tensor_of({{1, -3, 2, 4}})}};
  recipe.of_merge = {{"density", 0.5}};
  EXPECT_EQ(merge_one(recipe), (Values{0, -3, 0, 4}));
  // mergekit drops everything there.
  recipe.rules.compat = Compat::mergekit;
  EXPECT_EQ(merge_one(recipe), (Values{0, 0, 0, 0}));
}

TEST(Breadcrumbs, KeepsAllWhereNothingIsToBeDropped) {
  Recipe recipe{.method = "breadcrumbs", .tensors = {tensor_of({{1, -3, 2, 4}})}};
  recipe.of_merge = {{"density", 1}};
  for (const Compat compat : {Compat::paper, Compat::mergekit}) {
    recipe.rules.compat = compat;
    EXPECT_EQ(merge_one(recipe), recipe.tensors[0].models[0]);
  }
}

TEST(Breadcrumbs, DropsFewerOutliersBeforeItKeepsFewerThanAsked) {
  Recipe recipe{.method = "breadcrumbs",
                .tensors = {tensor_of({{1, -3, 2, 4, 6, 5, 7, 8, 10, 9}})}};
  recipe.of_merge = {{"density", 0.9}, {"gamma", 0.3}};
  EXPECT_EQ(merge_one(recipe), (Values{1, -3, 2, 4, 6, 5, 7, 8, 0, 9}));
  recipe.of_merge = {{"density", 1}, {"gamma", 0.3}};
  EXPECT_EQ(merge_one(recipe), recipe.tensors[0].models[0]);
  recipe.of_merge = {{"density", 0.01}, {"gamma", 0.3}};
  EXPECT_EQ(merge_one(recipe), (Values{0, 0, 0, 0, 0, 0, 7, 0, 0, 0}));
}

Recipe random_recipe(const std::string& method, double density) {
  Values delta(100 * 200);
  for (std::size_t i = 0; i < delta.size(); ++i)
    delta[i] = static_cast<float>((i * 7919) % 20011 + 1) * (i % 2 == 0 ? 1.0F : -1.0F);
  Recipe recipe{.method = method, .tensors = {tensor_of({delta})}};
  recipe.tensors[0].shape = {100, 200};
  recipe.of_merge["density"] = density;
  recipe.of_merge["normalize"] = 0;
  recipe.rules.seed = 42;
  return recipe;
}

double l1(const Values& values) {
  double sum = 0;
  for (const float value : values) sum += std::abs(value);
  return sum;
}

double kept_share(const Values& values) {
  const auto kept = std::count_if(values.begin(), values.end(), [](float v) { return v != 0; });
  return static_cast<double>(kept) / static_cast<double>(values.size());
}

TEST(Random, KeepsTheShareThatIsAskedForAndTheL1Norm) {
  for (const char* const method : {"dare_linear", "dare_ties", "della", "della_linear"}) {
    const Recipe recipe = random_recipe(method, 0.3);
    const Values merged = merge_one(recipe);
    EXPECT_NEAR(kept_share(merged), 0.3, 0.02) << method;
    const double before = l1(recipe.tensors[0].models[0]);
    EXPECT_NEAR(l1(merged), before, 1e-6 * before) << method;
  }
}

TEST(Random, MayRescaleByTheProbability) {
  Recipe recipe = random_recipe("dare_linear", 0.25);
  recipe.rules.rescale = Rescale::density;
  const Values& delta = recipe.tensors[0].models[0];
  const Values merged = merge_one(recipe);
  for (std::size_t i = 0; i < merged.size(); ++i)
    ASSERT_TRUE(merged[i] == 0 || merged[i] == 4 * delta[i]);
  EXPECT_NEAR(kept_share(merged), 0.25, 0.02);
  // Each by its own: the smallest of a row with 0.1 and the largest with 0.4.
  recipe.method = "della_linear";
  const Values by_rank = merge_one(recipe);
  for (std::size_t i = 0; i < by_rank.size(); ++i) {
    if (by_rank[i] == 0) continue;
    const float scale = by_rank[i] / delta[i];
    ASSERT_GE(scale, 2.499F);
    ASSERT_LE(scale, 10.01F);
  }
  recipe.of_merge["rescale"] = 0;
  const Values plain = merge_one(recipe);
  for (std::size_t i = 0; i < plain.size(); ++i) ASSERT_TRUE(plain[i] == 0 || plain[i] == delta[i]);
}

TEST(Random, DellaKeepsTheLargerValuesOfARowMoreOften) {
  Recipe recipe = random_recipe("della_linear", 0.5);
  recipe.of_merge["epsilon"] = 0.4;
  recipe.of_merge["rescale"] = 0;
  // Every row ascends, so that rank and column agree.
  Values& delta = recipe.tensors[0].models[0];
  for (std::size_t i = 0; i < delta.size(); ++i) delta[i] = static_cast<float>(i % 200 + 1);
  const Values merged = merge_one(recipe);
  std::size_t kept_low = 0;
  std::size_t kept_high = 0;
  for (std::size_t i = 0; i < merged.size(); ++i) {
    if (merged[i] == 0) continue;
    kept_low += i % 200 < 20 ? 1U : 0U;
    kept_high += i % 200 >= 180 ? 1U : 0U;
  }
  // Of 2,000 each: about 0.14 and 0.86.
  EXPECT_NEAR(static_cast<double>(kept_low) / 2000, 0.14, 0.03);
  EXPECT_NEAR(static_cast<double>(kept_high) / 2000, 0.86, 0.03);
}

TEST(Random, DependsOnSeedModelAndTensorName) {
  const Recipe recipe = random_recipe("dare_linear", 0.5);
  const auto kept = bits_of(merge_in_memory(recipe));
  EXPECT_EQ(bits_of(merge_in_memory(recipe)), kept);
  Recipe seeded = recipe;
  seeded.rules.seed = 43;
  EXPECT_NE(bits_of(merge_in_memory(seeded)), kept);
  Recipe renamed = recipe;
  renamed.tensors[0].name = "u";
  EXPECT_NE(bits_of(merge_in_memory(renamed)), kept);
  Recipe third = recipe;
  third.tensors[0].numbers = {2};
  EXPECT_NE(bits_of(merge_in_memory(third)), kept);
}

TEST(Random, DensityOneKeepsAllUnscaled) {
  for (const char* const method : {"dare_linear", "della_linear"}) {
    const Recipe recipe = random_recipe(method, 1);
    EXPECT_EQ(merge_one(recipe), recipe.tensors[0].models[0]);
  }
}

TEST(Random, DensityZeroKeepsNothing) {
  for (const Rescale rescale : {Rescale::l1, Rescale::density}) {
    Recipe recipe = random_recipe("dare_linear", 0);
    recipe.rules.rescale = rescale;
    EXPECT_EQ(merge_one(recipe), recipe.tensors[0].base);
  }
}

TEST(Random, DellaTakesRowsOfOneElement) {
  Recipe recipe = random_recipe("della_linear", 0.5);
  recipe.tensors[0].shape = {20000, 1};
  EXPECT_NEAR(kept_share(merge_one(recipe)), 0.5, 0.02);
}

TEST(TiesFamily, IsTheSameAtEveryCut) {
  for (const char* const method : {"ties", "dare_ties", "dare_linear", "breadcrumbs",
                                   "breadcrumbs_ties", "della", "della_linear"}) {
    Recipe recipe{.method = method, .tensors = assorted_tensors(3, true)};
    recipe.of_merge = {{"density", 0.4}, {"lambda", 0.7}, {"rescale", 1}};
    recipe.of_models = {{"weight", {0.5, 0.3, 0.9}}};
    recipe.rules.seed = 1;
    expect_same_at_every_cut(recipe);
    recipe.rules.rescale = Rescale::density;
    recipe.rules.trim_scope = TrimScope::tensor;
    expect_same_at_every_cut(recipe);
  }
  for (const Elect elect :
       {Elect::count, Elect::normfrac, Elect::normmass, Elect::given, Elect::none}) {
    Recipe recipe{.method = "ties", .tensors = assorted_tensors(3, true)};
    for (TensorValues& tensor : recipe.tensors) tensor.signs = tensor.models[2];
    recipe.rules.elect = elect;
    recipe.of_merge = {{"rescale", 1}};
    expect_same_at_every_cut(recipe);
  }
}

TEST(TiesFamily, AsksForNoPassInVain) {
  const auto passes = [](const char* name, bool rescale, SignTie sign_tie) {
    method::Setup setup;
    setup.rules.sign_tie = sign_tie;
    setup.models = 2;
    setup.may_be = [rescale](std::string_view flag, bool value) {
      return flag != "rescale" || rescale == value;
    };
    return method::find(name)->make(setup)->passes().size();
  };
  EXPECT_EQ(passes("ties", false, SignTie::positive), 1U);
  EXPECT_EQ(passes("ties", true, SignTie::majority), 3U);
  EXPECT_EQ(passes("dare_linear", false, SignTie::majority), 0U);
  EXPECT_EQ(passes("dare_ties", true, SignTie::majority), 2U);
}

}  // namespace
}  // namespace mpimerge::test
