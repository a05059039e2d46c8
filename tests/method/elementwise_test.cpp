#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "method/golden.hpp"

namespace mpimerge::test {
namespace {

using method::Aggregate;
using Values = std::vector<float>;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

Values merge_one(const Recipe& recipe) { return merge_in_memory(recipe).front(); }

TensorValues tensor_of(std::vector<Values> models, Values base = {}) {
  return {.name = "t",
          .shape = {models.front().size()},
          .models = std::move(models),
          .base = std::move(base)};
}

Recipe average_of(std::vector<Values> models, Aggregate aggregate) {
  Recipe recipe{.method = "average", .tensors = {tensor_of(std::move(models))}};
  recipe.rules.aggregate = aggregate;
  return recipe;
}

TEST(Linear, IsTheGoldenVectors) {
  const Recipe recipe{.method = "linear",
                      .tensors = {golden_tensor(3, false)},
                      .of_models = {{"weight", {1, 0.3, 0.5}}}};
  EXPECT_EQ(merge_one(recipe), (Values{1.2465279F, -2.0381944F, 0.59722227F, 3.5555558F,
                                       -1.5833334F, 0.46875F, 3.0347223F, -1.1458334F}));
}

TEST(Average, SumsFromLeftToRightAndDividesOnce) {
  // 2^24 + 1 + 1: each 1 is lost where it comes after the large value, not before it.
  EXPECT_EQ(merge_one(average_of({{0x1p24F}, {1}, {1}}, Aggregate::mean)), Values{0x1p24F / 3});
  EXPECT_EQ(merge_one(average_of({{1}, {1}, {0x1p24F}}, Aggregate::mean)),
            Values{(0x1p24F + 2) / 3});
}

TEST(Average, DoesNotMultiplyByAReciprocal) {
  Values numbers;
  for (int number = 1; number < 200; ++number) numbers.push_back(static_cast<float>(number));
  const Values none(numbers.size(), 0);
  const Values merged = merge_one(average_of({numbers, none, none}, Aggregate::mean));
  for (std::size_t i = 0; i < merged.size(); ++i) ASSERT_EQ(merged[i], numbers[i] / 3.0F);
}

TEST(Average, DividesByTheSumOfWeights) {
  Recipe recipe{.method = "average",
                .tensors = {tensor_of({{1, 8}, {5, 0}})},
                .of_models = {{"weight", {3, 1}}}};
  EXPECT_EQ(merge_one(recipe), (Values{2, 6}));
  recipe.rules.aggregate = Aggregate::sum;
  EXPECT_EQ(merge_one(recipe), (Values{8, 24}));
}

TEST(Average, TakesTheLowerMedian) {
  EXPECT_EQ(merge_one(average_of({{4, 1}, {1, 2}, {3, 3}, {2, 4}}, Aggregate::median)),
            (Values{2, 2}));
  EXPECT_EQ(merge_one(average_of({{4, -1}, {1, 2}, {3, -5}}, Aggregate::median)), (Values{3, -1}));
  EXPECT_EQ(merge_one(average_of({{7}}, Aggregate::median)), Values{7});
}

TEST(Average, TakesTheFirstOfTheLargestMagnitudes) {
  EXPECT_EQ(merge_one(average_of({{1, 2}, {-3, -2}, {3, 1}}, Aggregate::magnitude)),
            (Values{-3, 2}));
}

TEST(Average, KeepsNaNWhereAnyModelHasOne) {
  for (const Aggregate aggregate : {Aggregate::mean, Aggregate::median, Aggregate::magnitude}) {
    const Values merged = merge_one(average_of({{1, kNaN, 1}, {9, 2, kNaN}, {3, 3, 3}}, aggregate));
    EXPECT_FALSE(std::isnan(merged[0]));
    EXPECT_TRUE(std::isnan(merged[1]));
    EXPECT_TRUE(std::isnan(merged[2]));
  }
}

TEST(Average, MedianOfLongTensorsIsTheMedianEverywhere) {
  Recipe recipe{.method = "average", .tensors = assorted_tensors(5, false)};
  recipe.rules.aggregate = Aggregate::median;
  const auto merged = merge_in_memory(recipe);
  for (std::size_t t = 0; t < merged.size(); ++t) {
    for (std::size_t i = 0; i < merged[t].size(); ++i) {
      Values values;
      for (const Values& model : recipe.tensors[t].models) values.push_back(model[i]);
      std::sort(values.begin(), values.end());
      ASSERT_EQ(merged[t][i], values[2]);
    }
  }
}

TEST(TaskArithmetic, IsTheGoldenVectors) {
  const Recipe recipe{.method = "task_arithmetic",
                      .tensors = {golden_tensor(3, true)},
                      .of_models = {{"weight", {0.5, 0.3, 0.2}}}};
  EXPECT_EQ(merge_one(recipe),
            (Values{1.1375F, -2.13125F, 0.75F, 3.68125F, -1.3875F, 0.45F, 2.81875F, -1.1F}));
}

TEST(TaskArithmetic, RoundsTheScaledSumAndThenTheResult) {
  const Recipe recipe{.method = "task_arithmetic",
                      .tensors = assorted_tensors(2, true),
                      .of_merge = {{"lambda", 0.3}}};
  const TensorValues& tensor = recipe.tensors.front();
  const Values merged = merge_one(recipe);
  for (std::size_t i = 0; i < merged.size(); ++i) {
    const float base = tensor.base[i];
    const float sum = (tensor.models[0][i] - base) + (tensor.models[1][i] - base);
    const float scaled = 0.3F * sum;
    ASSERT_EQ(merged[i], base + scaled);
  }
}

TEST(TaskArithmetic, AddsToZeroSoThatNothingAddedIsPositiveZero) {
  const Recipe recipe{.method = "task_arithmetic",
                      .tensors = {tensor_of({{-0.0F}}, {-0.0F})},
                      .of_models = {{"weight", {-1}}}};
  EXPECT_FALSE(std::signbit(merge_one(recipe)[0]));
}

TEST(TaskArithmetic, NormalizesByTheSumOfWeightsUnlessItIsZero) {
  Recipe recipe{.method = "task_arithmetic",
                .tensors = {tensor_of({{3}, {5}}, {1})},
                .of_merge = {{"normalize", 1}},
                .of_models = {{"weight", {3, 1}}}};
  EXPECT_EQ(merge_one(recipe), Values{1 + (3.0F * 2 + 4) / 4});
  recipe.of_models["weight"] = {1, -1};
  EXPECT_EQ(merge_one(recipe), Values{-1});
}

Recipe golden_fisher(double normalize) {
  Recipe recipe{.method = "fisher",
                .tensors = {golden_tensor(3, false)},
                .of_merge = {{"normalize", normalize}}};
  for (const std::size_t model : {1U, 2U, 0U}) {
    Values fisher = recipe.tensors[0].models[model];
    for (float& value : fisher) value = std::abs(value) / 8;
    recipe.tensors[0].files.push_back(fisher);
  }
  return recipe;
}

TEST(Fisher, IsTheGoldenVectors) {
  // Made by a program that adds 1e-6 to each Fisher where this one raises it to that.
  expect_near(
      merge_one(golden_fisher(1)),
      {1.0031016, -1.9481324, 0.5420606, 3.7951667, -1.3814502, 0.40548083, 2.7634087, -0.7749803},
      1e-5);
  expect_near(merge_one(golden_fisher(0)),
              {0.98039263, -1.9677836, 0.55555767, 3.8202288, -1.3269246, 0.40312526, 2.7092595,
               -0.77841026},
              1e-5);
}

TEST(Fisher, RaisesToTheFloorAndWeighs) {
  Recipe recipe{.method = "fisher",
                .tensors = {tensor_of({{1, 2}, {4, 3}})},
                .of_models = {{"weight", {1, 3}}}};
  recipe.tensors[0].files = {{0, 1}, {0, 1}};
  EXPECT_EQ(merge_one(recipe), (Values{3.25F, 2.75F}));
}

TEST(Fisher, CountsAFisherOfZerosByItsFloor) {
  Recipe recipe{
      .method = "fisher", .tensors = {tensor_of({{1}, {3}})}, .of_merge = {{"normalize", 1}}};
  recipe.tensors[0].files = {{0}, {0}};
  EXPECT_EQ(merge_one(recipe), Values{2});
}

TEST(Fisher, TakesTheNormOfEachModelOverAllTensors) {
  Recipe recipe{.method = "fisher", .tensors = {tensor_of({{1}, {3}}), tensor_of({{5}, {2}})}};
  recipe.of_merge = {{"normalize", 1}};
  recipe.tensors[0].files = {{3}, {1}};
  recipe.tensors[1].files = {{4}, {0}};
  const auto merged = merge_in_memory(recipe);
  EXPECT_FLOAT_EQ(merged[0][0], (3.0F / 5 * 1 + 3) / (3.0F / 5 + 1));
  EXPECT_FLOAT_EQ(merged[1][0], 5 - 3 * 1e-6F / 0.8F);
}

TEST(Nearswap, IsTheGoldenVectors) {
  const Recipe recipe{
      .method = "nearswap", .tensors = {golden_tensor(1, true)}, .of_merge = {{"t", 0.25}}};
  EXPECT_EQ(merge_one(recipe),
            (Values{1.25F, -2.25F, 0.5F, 3.75F, -1.125F, 0.5F, 3.1875F, -0.75F}));
}

TEST(Passthrough, ScalesOneModel) {
  Recipe recipe{.method = "passthrough", .tensors = {golden_tensor(1, false)}};
  EXPECT_EQ(merge_in_memory(recipe), (std::vector<Values>{recipe.tensors[0].models[0]}));
  recipe.of_models["scale"] = {-2};
  EXPECT_EQ(merge_one(recipe), (Values{-3, 4.5F, -1, -6, 2.25F, -1.125F, -6.375F, 3.25F}));
}

TEST(Ram, IsTheGoldenVectors) {
  Recipe recipe{
      .method = "ram", .tensors = {golden_tensor(3, true)}, .of_merge = {{"epsilon", 0.2}}};
  EXPECT_EQ(merge_one(recipe),
            (Values{1, -2.0208333F, 0.875F, 3.78125F, -1.875F, 0.5625F, 2.625F, -1.625F}));
  recipe.method = "ramplus_tl";
  expect_near(merge_one(recipe), {1, -2.0208333, 0.875, 3.78125, -1.875, 0.56875, 2.625, -1.6475},
              1e-6);
}

TEST(Ram, CountsOnlyWhatIsAboveEpsilon) {
  const Recipe recipe{.method = "ram",
                      .tensors = {tensor_of({{0.25F, 1}, {0.75F, 0.25F}}, {0, 0})},
                      .of_merge = {{"epsilon", 0.25}}};
  EXPECT_EQ(merge_one(recipe), (Values{0.75F, 1}));
}

TEST(Ram, AmplifiesByTheShareOfWhatIsShared) {
  // The first shares one and changes two alone; the second changes nothing alone.
  const Recipe recipe{.method = "ramplus_tl",
                      .tensors = {tensor_of({{1, 1, 2, 0}, {3, 0, 0, 0}}, {0, 0, 0, 0})},
                      .of_merge = {{"r", 1}, {"alpha", 10}}};
  EXPECT_EQ(merge_one(recipe), (Values{2, 1.5F, 3, 0}));
}

TEST(Elementwise, IsTheSameAtEveryCut) {
  for (const char* const method : {"linear", "average"}) {
    Recipe recipe{.method = method, .tensors = assorted_tensors(3, false)};
    recipe.of_models["weight"] = {0.5, 0.3, 0.9};
    expect_same_at_every_cut(recipe);
  }
  for (const Aggregate aggregate : {Aggregate::median, Aggregate::magnitude}) {
    Recipe recipe{.method = "average", .tensors = assorted_tensors(4, false)};
    recipe.rules.aggregate = aggregate;
    expect_same_at_every_cut(recipe);
  }
  expect_same_at_every_cut({.method = "passthrough", .tensors = assorted_tensors(1, false)});
  expect_same_at_every_cut({.method = "task_arithmetic",
                            .tensors = assorted_tensors(3, true),
                            .of_merge = {{"normalize", 1}, {"lambda", 0.7}}});
  expect_same_at_every_cut({.method = "fisher",
                            .tensors = assorted_tensors(3, false, true),
                            .of_merge = {{"normalize", 1}}});
  expect_same_at_every_cut(
      {.method = "nearswap", .tensors = assorted_tensors(1, true), .of_merge = {{"t", 0.01}}});
  for (const char* const method : {"ram", "ramplus_tl"})
    expect_same_at_every_cut(
        {.method = method, .tensors = assorted_tensors(3, true), .of_merge = {{"epsilon", 0.02}}});
}

}  // namespace
}  // namespace mpimerge::test
