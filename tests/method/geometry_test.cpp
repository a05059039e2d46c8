#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "method/golden.hpp"

namespace mpimerge::test {
namespace {

using method::Compat;
using Expected = std::vector<double>;
using Values = std::vector<float>;

constexpr double kTolerance = 2e-6;

Values merge_one(const Recipe& recipe) { return merge_in_memory(recipe).front(); }

TensorValues tensor_of(std::vector<std::uint64_t> shape, std::vector<Values> models,
                       Values base = {}) {
  return {
      .name = "t", .shape = std::move(shape), .models = std::move(models), .base = std::move(base)};
}

// The first of two models takes the place of the base.
Recipe slerp_of(const Values& from, const Values& to, double t) {
  return {
      .method = "slerp", .tensors = {tensor_of({from.size()}, {to}, from)}, .of_merge = {{"t", t}}};
}

TEST(Slerp, IsTheGoldenVectors) {
  const TensorValues golden = golden_tensor(2, false);
  expect_near(
      merge_one(slerp_of(golden.models[0], golden.models[1], 0.3)),
      {1.2280521, -2.3676348, 0.82460535, 3.5656128, -1.0378295, 0.49944967, 2.8237267, -1.3563433},
      kTolerance);
}

TEST(Slerp, GoesOnTheCircle) {
  const double r = std::sqrt(0.5);
  expect_near(merge_one(slerp_of({1, 0}, {0, 1}, 0.5)), {r, r}, 1e-7);
  expect_near(merge_one(slerp_of({1, 0}, {0, 3}, 0.5)), {r, 3 * r}, 1e-7);
}

TEST(Slerp, GoesStraightWhereDirectionsAgreeOrAreOpposite) {
  EXPECT_EQ(merge_one(slerp_of({1, 0}, {2, 0}, 0.25)), (Values{1.25F, 0}));
  EXPECT_EQ(merge_one(slerp_of({1, 0}, {-1, 0}, 0.25)), (Values{0.5F, 0}));
  EXPECT_EQ(merge_one(slerp_of({1, 0}, {50, 1}, 0.5)), (Values{25.5F, 0.5F}));
}

TEST(Slerp, TakesATensorOfZerosForADirectionOfItsOwn) {
  expect_near(merge_one(slerp_of({0, 0}, {0, 3}, 0.5)), {0, 3 * std::sqrt(0.5)}, 1e-7);
}

Recipe nuslerp_of(bool with_base, bool flatten, bool row_wise, Compat compat) {
  Recipe recipe{.method = "nuslerp", .tensors = {golden_tensor(2, with_base)}};
  recipe.of_merge = {{"nuslerp_flatten", flatten ? 1 : 0}, {"nuslerp_row_wise", row_wise ? 1 : 0}};
  recipe.of_models = {{"weight", {0.7, 0.3}}};
  recipe.rules.compat = compat;
  return recipe;
}

TEST(Nuslerp, IsTheGoldenVectors) {
  expect_near(
      merge_one(nuslerp_of(false, true, false, Compat::paper)),
      {1.2280523, -2.3676353, 0.8246054, 3.565613, -1.0378295, 0.49944973, 2.8237267, -1.3563433},
      kTolerance);
  expect_near(
      merge_one(nuslerp_of(true, true, false, Compat::paper)),
      {1.2260711, -2.4868817, 1.0437762, 3.3099556, -0.9885458, 0.59521055, 2.5070145, -1.6883804},
      kTolerance);
}

TEST(Nuslerp, TakesRowsOrColumnsAsItsNameSaysAndTheOppositeUnderMergekit) {
  const Expected rows{1.2139556,  -2.3367696, 0.81222606, 3.5168984,
                      -1.0145655, 0.48847458, 2.7617533,  -1.3275571};
  const Expected columns{1.2130378,  -2.3096323, 0.8309767, 3.519545,
                         -1.0242684, 0.4881589,  2.8411567, -1.3414484};
  expect_near(merge_one(nuslerp_of(false, false, true, Compat::paper)), rows, kTolerance);
  expect_near(merge_one(nuslerp_of(false, false, false, Compat::mergekit)), rows, kTolerance);
  expect_near(merge_one(nuslerp_of(false, false, false, Compat::paper)), columns, kTolerance);
  expect_near(merge_one(nuslerp_of(false, false, true, Compat::mergekit)), columns, kTolerance);
}

TEST(Nuslerp, AsksForWholeRowsOnlyWhereTheyAreVectors) {
  const auto grain = [](bool flatten, bool row_wise, Compat compat) {
    method::Setup setup;
    setup.models = 2;
    setup.rules.compat = compat;
    setup.may_be = [=](std::string_view flag, bool value) {
      return (flag == "nuslerp_flatten" ? flatten : row_wise) == value;
    };
    return method::find("nuslerp")->make(setup)->grain();
  };
  EXPECT_EQ(grain(true, true, Compat::paper), method::Grain::element);
  EXPECT_EQ(grain(false, true, Compat::paper), method::Grain::row);
  EXPECT_EQ(grain(false, false, Compat::paper), method::Grain::element);
  EXPECT_EQ(grain(false, false, Compat::mergekit), method::Grain::row);
}

TEST(Nuslerp, ColumnsAreTheRowsOfTheTransposedMatrix) {
  Recipe columns = nuslerp_of(true, false, false, Compat::paper);
  Recipe rows = nuslerp_of(true, false, true, Compat::paper);
  TensorValues& transposed = rows.tensors[0];
  transposed.shape = {4, 2};
  const auto transpose = [](Values& values) {
    const Values before = values;
    for (std::size_t i = 0; i < 8; ++i) values[i % 4 * 2 + i / 4] = before[i];
  };
  transpose(transposed.base);
  for (Values& model : transposed.models) transpose(model);
  Values merged = merge_one(columns);
  transpose(merged);
  const Values of_rows = merge_one(rows);
  expect_near(merged, Expected(of_rows.begin(), of_rows.end()), 1e-6);
}

TEST(Nuslerp, WeighsAlikeWhereWeightsCancel) {
  Recipe recipe{.method = "nuslerp", .tensors = {tensor_of({2}, {{2, 0}, {4, 0}})}};
  recipe.of_models = {{"weight", {1, -1}}};
  EXPECT_EQ(merge_one(recipe), (Values{3, 0}));
  recipe.of_models = {{"weight", {1, 3}}};
  EXPECT_EQ(merge_one(recipe), (Values{3.5F, 0}));
}

TEST(Nuslerp, GoesStraightBetweenOppositeVectors) {
  Recipe recipe{.method = "nuslerp", .tensors = {tensor_of({2}, {{2, 1}, {-2, -1}})}};
  recipe.of_models = {{"weight", {3, 1}}};
  EXPECT_EQ(merge_one(recipe), (Values{1, 0.5F}));
}

TEST(Nuslerp, LeavesATensorThatOneModelHasAsItIs) {
  Recipe recipe{.method = "nuslerp", .tensors = {golden_tensor(2, true), golden_tensor(1, true)}};
  recipe.of_models = {{"weight", {0.7, 0.3}}};
  EXPECT_EQ(merge_in_memory(recipe)[1], recipe.tensors[1].models[0]);
}

Recipe multislerp_of(std::size_t models, bool with_base, std::vector<double> weights) {
  return {.method = "multislerp",
          .tensors = {golden_tensor(models, with_base)},
          .of_models = {{"weight", std::move(weights)}}};
}

TEST(Multislerp, IsTheGoldenVectors) {
  expect_near(
      merge_one(multislerp_of(3, false, {0.5, 0.3, 0.2})),
      {1.190093, -2.2368703, 0.7863595, 3.8095634, -1.4041016, 0.47222877, 2.9264562, -1.1683245},
      kTolerance);
  expect_near(
      merge_one(multislerp_of(3, true, {0.5, 0.3, 0.2})),
      {1.3083313, -2.3163748, 0.9936187, 3.2736714, -1.6379492, 0.66071403, 2.6443005, -1.7753379},
      kTolerance);
}

TEST(Multislerp, NormalizesWeightsUnlessToldNotTo) {
  Recipe recipe{.method = "multislerp", .tensors = {tensor_of({2}, {{1, 0}, {0, 1}})}};
  recipe.of_models = {{"weight", {2, 2}}};
  const double r = std::sqrt(0.5);
  expect_near(merge_one(recipe), {r, r}, 1e-6);
  recipe.of_merge["normalize_weights"] = 0;
  expect_near(merge_one(recipe), {4 * r, 4 * r}, 1e-6);
}

TEST(Multislerp, AveragesVectorsWhoseDirectionsCancel) {
  Recipe recipe{.method = "multislerp", .tensors = {tensor_of({2}, {{2, 0}, {-4, 0}})}};
  recipe.of_models = {{"weight", {1, 1}}};
  EXPECT_EQ(merge_one(recipe), (Values{-1, 0}));
}

TEST(Multislerp, LeavesOneModelAsItIs) {
  Recipe recipe = multislerp_of(1, true, {0.3});
  recipe.of_merge["normalize_weights"] = 0;
  EXPECT_EQ(merge_one(recipe), recipe.tensors[0].models[0]);
}

TEST(Karcher, IsTheGoldenVectors) {
  expect_near(
      merge_one({.method = "karcher", .tensors = {golden_tensor(3, false)}}),
      {1.1114957, -2.1410937, 0.8008636, 4.0365605, -1.6417518, 0.43905988, 2.9198916, -0.98264235},
      kTolerance);
}

TEST(Karcher, IsAsFarFromAllOnASphere) {
  const double third = std::sqrt(1.0 / 3);
  expect_near(merge_one({.method = "karcher",
                         .tensors = {tensor_of({3}, {{1, 0, 0}, {0, 1, 0}, {0, 0, 4}})}}),
              {2 * third, 2 * third, 2 * third}, 1e-6);
}

TEST(Karcher, TensorsOfZerosCountInTheNormOnly) {
  expect_near(
      merge_one({.method = "karcher", .tensors = {tensor_of({2}, {{3, 0}, {0, 0}, {0, 3}})}}),
      {2 * std::sqrt(0.5), 2 * std::sqrt(0.5)}, 1e-6);
}

TEST(Karcher, StartsFromTheFirstWhereDirectionsCancel) {
  EXPECT_EQ(merge_one({.method = "karcher", .tensors = {tensor_of({2}, {{2, 0}, {-4, 0}})}}),
            (Values{3, 0}));
}

TEST(Karcher, TinyTensorsAreAveragedAndDroppedUnderMergekit) {
  Recipe recipe{.method = "karcher", .tensors = {tensor_of({2}, {{2e-6F, 0}, {0, 4e-6F}})}};
  EXPECT_EQ(merge_one(recipe), (Values{1e-6F, 2e-6F}));
  recipe.rules.compat = Compat::mergekit;
  EXPECT_EQ(merge_one(recipe), (Values{0, 0}));
}

TEST(ModelStock, IsTheGoldenVectors) {
  Recipe recipe{.method = "model_stock", .tensors = {golden_tensor(3, true)}};
  expect_near(
      merge_one(recipe),
      {0.93462956, -1.97821, 0.2385183, 4.1307406, -0.3462957, 0.075678885, 3.196111, -0.06419712},
      kTolerance);
  EXPECT_NEAR(
      [&] {
        InMemory run(recipe);
        run.merged();
        return run.facts(0)[0];
      }(),
      -1.0459268, 1e-6);
  recipe.of_merge["filter_wise"] = 1;
  expect_near(
      merge_one(recipe),
      {0.5440593, -1.8480206, -1.3237634, 4.9118824, -0.73031497, 0.178084, 3.0809054, -0.32020998},
      1e-5);
}

TEST(ModelStock, EqualModelsAreTrusted) {
  const Recipe recipe{.method = "model_stock",
                      .tensors = {tensor_of({2}, {{3, 5}, {3, 5}}, {1, 1})}};
  expect_near(merge_one(recipe), {3, 5}, 1e-6);
}

TEST(ModelStock, AModelThatIsTheBaseIsNotTrusted) {
  const Recipe recipe{.method = "model_stock",
                      .tensors = {tensor_of({2}, {{1, 1}, {3, 5}}, {1, 1})}};
  EXPECT_EQ(merge_one(recipe), (Values{1, 1}));
}

TEST(ModelStock, LeavesATensorThatOneModelHasAsItIs) {
  const Recipe recipe{.method = "model_stock",
                      .tensors = {golden_tensor(2, true), golden_tensor(1, true)}};
  EXPECT_EQ(merge_in_memory(recipe)[1], recipe.tensors[1].models[0]);
}

TEST(ModelStock, UnrelatedModelsAreNot) {
  const Recipe recipe{.method = "model_stock",
                      .tensors = {tensor_of({2}, {{1, 0}, {0, 1}}, {0, 0})}};
  EXPECT_EQ(merge_one(recipe), (Values{0, 0}));
}

TEST(Geometry, IsTheSameAtEveryCut) {
  Recipe slerp{.method = "slerp", .tensors = assorted_tensors(1, true), .of_merge = {{"t", 0.3}}};
  expect_same_at_every_cut(slerp);
  expect_same_at_every_cut({.method = "karcher", .tensors = assorted_tensors(4, false)});
  for (const bool with_base : {false, true}) {
    Recipe multislerp{.method = "multislerp", .tensors = assorted_tensors(4, with_base)};
    multislerp.of_models = {{"weight", {0.1, 0.2, 0.3, 0.4}}};
    expect_same_at_every_cut(multislerp);
    for (const double flatten : {0.0, 1.0}) {
      for (const double row_wise : {0.0, 1.0}) {
        Recipe nuslerp{.method = "nuslerp", .tensors = assorted_tensors(2, with_base)};
        nuslerp.of_merge = {{"nuslerp_flatten", flatten}, {"nuslerp_row_wise", row_wise}};
        nuslerp.of_models = {{"weight", {0.6, 0.4}}};
        expect_same_at_every_cut(nuslerp);
      }
    }
  }
  for (const double filter_wise : {0.0, 1.0}) {
    expect_same_at_every_cut({.method = "model_stock",
                              .tensors = assorted_tensors(3, true),
                              .of_merge = {{"filter_wise", filter_wise}}});
  }
}

}  // namespace
}  // namespace mpimerge::test
