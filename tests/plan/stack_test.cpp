#include "mpimerge/plan/stack.hpp"

#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/plan/build.hpp"

#include "plan/catalogs.hpp"

namespace mpimerge::plan {
namespace {

using base::Dtype;
using checkpoint::Catalog;
using checkpoint::TensorInfo;
using test::catalog;
using test::tensor;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

// A head before everything else, as safetensors files sort names, and two tensors in each layer.
Catalog model(const std::string& path, int layers, const std::string& row = "model.layers.") {
  std::vector<TensorInfo> tensors{tensor("lm_head.weight", Dtype::f32, {3}),
                                  tensor("model.embed_tokens.weight", Dtype::f32, {3})};
  for (int layer = 0; layer < layers; ++layer) {
    tensors.push_back(tensor(row + std::to_string(layer) + ".mlp.experts.1.w", Dtype::bf16, {4}));
    tensors.push_back(tensor(row + std::to_string(layer) + ".norm.weight", Dtype::f32, {2}));
  }
  tensors.push_back(tensor("model.norm.weight", Dtype::f32, {2}));
  return catalog(path, std::move(tensors));
}

std::vector<std::string> names(const Catalog& stacked) {
  std::vector<std::string> list;
  for (const TensorInfo& each : stacked.tensors) list.push_back(each.name);
  return list;
}

const TensorInfo& find(const Catalog& stacked, const std::string& name) {
  for (const TensorInfo& each : stacked.tensors)
    if (each.name == name) return each;
  throw std::out_of_range(name);
}

std::string refusal(const std::vector<LayerRange>& ranges) {
  try {
    stack_layers("stack", ranges);
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), base::ErrorKind::input);
    return error.what();
  }
  ADD_FAILURE() << "was not refused";
  return {};
}

TEST(StackLayers, NumbersLayersAnewInOrder) {
  const Catalog a = model("a", 3);
  const Catalog b = model("b", 2);

  const Catalog stacked = stack_layers("stack", {{&a, 1, 3}, {&b, 1, 2}, {&a, 1, 2}});

  EXPECT_EQ(stacked.path, "stack");
  EXPECT_THAT(
      names(stacked),
      UnorderedElementsAre("model.embed_tokens.weight", "model.layers.0.mlp.experts.1.w",
                           "model.layers.0.norm.weight", "model.layers.1.mlp.experts.1.w",
                           "model.layers.1.norm.weight", "model.layers.2.mlp.experts.1.w",
                           "model.layers.2.norm.weight", "model.layers.3.mlp.experts.1.w",
                           "model.layers.3.norm.weight", "lm_head.weight", "model.norm.weight"));
}

TEST(StackLayers, PointsToWhereTheTensorsLie) {
  const Catalog a = model("a", 3);
  Catalog b = model("b", 2);
  b.files.push_back("b/second");
  for (TensorInfo& each : b.tensors) each.file = 1;

  const Catalog stacked = stack_layers("stack", {{&a, 2, 3}, {&b, 0, 2}, {&a, 0, 1}});

  EXPECT_THAT(stacked.files, ElementsAre("a/model.safetensors", "b/model.safetensors", "b/second"));
  const TensorInfo& first = find(stacked, "model.layers.0.norm.weight");
  EXPECT_EQ(first.file, 0U);
  EXPECT_EQ(first.offset, find(a, "model.layers.2.norm.weight").offset);
  const TensorInfo& second = find(stacked, "model.layers.2.norm.weight");
  EXPECT_EQ(second.file, 2U);
  EXPECT_EQ(second.offset, find(b, "model.layers.1.norm.weight").offset);
  EXPECT_EQ(second.bytes, base::Bytes{8});
  EXPECT_EQ(find(stacked, "model.layers.3.norm.weight").file, 0U);
}

TEST(StackLayers, KeepsTensorsInStorageOrder) {
  const Catalog a = model("a", 3);

  // Layer 2 lies last, layer 1 in the middle, twice.
  EXPECT_THAT(
      names(stack_layers("stack", {{&a, 2, 3}, {&a, 1, 2}, {&a, 1, 2}})),
      ElementsAre("lm_head.weight", "model.embed_tokens.weight", "model.layers.1.mlp.experts.1.w",
                  "model.layers.2.mlp.experts.1.w", "model.layers.1.norm.weight",
                  "model.layers.2.norm.weight", "model.layers.0.mlp.experts.1.w",
                  "model.layers.0.norm.weight", "model.norm.weight"));
}

TEST(StackLayers, TakesEmbeddingsFromTheFirstAndTheRestFromTheLast) {
  const Catalog a = model("a", 3);
  const Catalog b = model("b", 2);

  const Catalog stacked = stack_layers("stack", {{&a, 0, 1}, {&b, 0, 1}});

  EXPECT_EQ(find(stacked, "model.embed_tokens.weight").file, 0U);
  EXPECT_EQ(find(stacked, "lm_head.weight").file, 1U);
  EXPECT_EQ(find(stacked, "model.norm.weight").file, 1U);
}

TEST(StackLayers, CountsLayersThatNoneHas) {
  const Catalog a = model("a", 1);

  EXPECT_THAT(names(stack_layers("stack", {{nullptr, 0, 5}, {&a, 0, 1}, {nullptr, 0, 1}})),
              ElementsAre("model.layers.5.mlp.experts.1.w", "model.layers.5.norm.weight"));
}

TEST(StackLayers, MakesModelsThatAPlanCanMerge) {
  const Catalog a = model("a", 4);
  const Catalog b = model("b", 6);

  const Plan plan = build_plan({}, stack_layers("base", {{&a, 0, 2}, {&a, 0, 2}}),
                               {stack_layers("task", {{&b, 0, 2}, {&b, 4, 6}})});

  EXPECT_EQ(plan.tensors.size(), 2U + 4 * 2 + 1);
  EXPECT_EQ(plan.merged, base::Elements{3 + 3 + 4 * 6 + 2});
}

TEST(StackLayers, RefusesALayerThatIsNotThere) {
  const Catalog a = model("models/a", 32);
  EXPECT_EQ(refusal({{&a, 0, 33}}), "models/a: has no layer 32, which slices take; its last is 31");
}

TEST(StackLayers, RefusesACheckpointWithoutLayers) {
  const Catalog a = model("models/a", 0);
  EXPECT_THAT(refusal({{&a, 0, 1}}), HasSubstr("models/a: no tensor belongs to a layer"));
}

TEST(StackLayers, RefusesLayersOfSeveralKinds) {
  Catalog a = model("models/a", 2);
  a.tensors.push_back(tensor("visual.blocks.0.w", Dtype::f32, {1}));
  EXPECT_THAT(refusal({{&a, 0, 1}}),
              HasSubstr("models/a: has layers of several kinds, `model.layers.` and "
                        "`visual.blocks.`"));
}

TEST(StackLayers, RefusesLayersThatOthersCallDifferently) {
  const Catalog a = model("a", 2);
  const Catalog b = model("models/b", 2, "transformer.h.");
  EXPECT_THAT(refusal({{&a, 0, 1}, {&b, 1, 2}}),
              HasSubstr("models/b: calls its layers `transformer.h.`, but others of the slices "
                        "call them `model.layers.`"));
}

}  // namespace
}  // namespace mpimerge::plan
