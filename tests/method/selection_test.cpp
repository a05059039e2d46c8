#include <vector>

#include <gtest/gtest.h>

#include "method/golden.hpp"

namespace mpimerge::test {
namespace {

using method::Compat;
using Values = std::vector<float>;

Values merge_one(const Recipe& recipe) { return merge_in_memory(recipe).front(); }

TensorValues tensor_of(std::vector<Values> deltas) {
  TensorValues tensor{.name = "t", .shape = {deltas.front().size()}, .models = std::move(deltas)};
  tensor.base.assign(tensor.elements(), 0);
  return tensor;
}

TEST(Sce, IsTheGoldenVectors) {
  Recipe recipe{.method = "sce", .tensors = {golden_tensor(3, true)}};
  for (const Compat compat : {Compat::paper, Compat::mergekit}) {
    recipe.rules.compat = compat;
    recipe.of_merge["select_topk"] = 1;
    expect_near(merge_one(recipe),
                {1.3013439, -2.3540869, 1.5, 3, -2.3169365, 0.40242645, 1.75, -1.0698693}, 1e-6);
    recipe.of_merge["select_topk"] = 0.5;
    expect_near(merge_one(recipe), {1, -2, 1.5, 3, -2.632915, 0.25, 1.75, -0.5}, 1e-6);
  }
}

TEST(Sce, WeighsSmallChangesByTheirSquaresButNotUnderMergekit) {
  Recipe recipe{.method = "sce", .tensors = {tensor_of({{1e-4F, 1e-4F}, {3e-4F, 3e-4F}})}};
  expect_near(merge_one(recipe), {2.8e-4, 2.8e-4}, 1e-9);
  recipe.rules.compat = Compat::mergekit;
  expect_near(merge_one(recipe), {2e-4, 2e-4}, 1e-9);
}

TEST(Sce, SelectsAtLeastOneElementButNotUnderMergekit) {
  Recipe recipe{.method = "sce", .tensors = {tensor_of({{1, 5, 2}, {1, 1, 3}})}};
  recipe.of_merge["select_topk"] = 0.4;
  EXPECT_EQ(merge_one(recipe)[0], 0);
  EXPECT_GT(merge_one(recipe)[1], 1);
  EXPECT_EQ(merge_one(recipe)[2], 0);
  recipe.rules.compat = Compat::mergekit;
  EXPECT_EQ(merge_one(recipe), (Values{0, 0, 0}));
}

TEST(Sce, CountsTheShareOfWhatDiffers) {
  // Three of six differ: half of them is one.
  Recipe recipe{.method = "sce", .tensors = {tensor_of({{1, 1, 1, 4, 3, 2}, {1, 1, 1, 1, 1, 1}})}};
  recipe.of_merge["select_topk"] = 0.5;
  const Values merged = merge_one(recipe);
  EXPECT_GT(merged[3], 0);
  for (const std::size_t i : {0U, 1U, 2U, 4U, 5U}) EXPECT_EQ(merged[i], 0) << i;
}

TEST(Sce, KeepsWhatAllModelsShareAlike) {
  Recipe recipe{.method = "sce", .tensors = {tensor_of({{1, 2}, {1, 2}})}};
  recipe.of_merge["select_topk"] = 0.5;
  EXPECT_EQ(merge_one(recipe), (Values{1, 2}));
}

TEST(ArceeFusion, IsTheGoldenVectors) {
  Recipe recipe{.method = "arcee_fusion", .tensors = {golden_tensor(1, true)}};
  EXPECT_EQ(merge_one(recipe), (Values{1.5F, -2, 0.5F, 3, -1, 0.25F, 3, -0.5F}));
  InMemory run(recipe);
  run.merged();
  EXPECT_NEAR(run.facts(0)[0], 0.050144013, 1e-7);
}

TEST(ArceeFusion, TakesTheQuartilesOfTheWholeTensor) {
  // Nine importances that go as 1..9: median 5, quartiles 3 and 7, so from 11 on: none but the last.
  Values delta(9);
  for (std::size_t i = 0; i < delta.size(); ++i) delta[i] = static_cast<float>(i + 1) / 16;
  delta[8] = 2;
  const Recipe recipe{.method = "arcee_fusion", .tensors = {tensor_of({delta})}};
  EXPECT_EQ(merge_one(recipe), (Values{0, 0, 0, 0, 0, 0, 0, 0, 2}));
}

TEST(ArceeFusion, StandsLargeValues) {
  TensorValues tensor = tensor_of({{1000, 2000, 3000}});
  tensor.base = {1000, 2000, 2999};
  const Recipe recipe{.method = "arcee_fusion", .tensors = {tensor}};
  EXPECT_EQ(merge_one(recipe), (Values{1000, 2000, 3000}));
}

TEST(Selection, IsTheSameAtEveryCut) {
  for (const double share : {0.3, 1.0}) {
    expect_same_at_every_cut({.method = "sce",
                              .tensors = assorted_tensors(3, true),
                              .of_merge = {{"select_topk", share}}});
  }
  expect_same_at_every_cut({.method = "arcee_fusion", .tensors = assorted_tensors(1, true)});
}

}  // namespace
}  // namespace mpimerge::test
