#include "mpimerge/job/numbers.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/job/job.hpp"
#include "mpimerge/method/method.hpp"

#include "job/support.hpp"

namespace mpimerge::job::test {
namespace {

using testing::ElementsAre;

std::string with(std::string_view more) { return std::string(kSmallest) + std::string(more); }

Numbers numbers_of(const Job& job, std::string_view tensor, double depth = 0) {
  return numbers(job, *method::find(job.method), tensor, depth);
}

std::size_t place_of(const Job& job, std::string_view parameter) {
  const auto& parameters = method::find(job.method)->parameters;
  std::size_t place = 0;
  while (parameters[place].name != parameter) ++place;
  return place;
}

TEST(Numbers, ComeFromTheModelThenFromTheJobThenFromTheMethod) {
  const Job job = parse(R"(merge_method: ties
base_model: base
models:
  - {model: a, parameters: {weight: 3}}
  - model: b
  - {model: c, parameters: {density: 0.5}}
parameters: {weight: 2, lambda: 0.5}
)");
  const Numbers found = numbers_of(job, "x");
  const std::size_t weight = place_of(job, "weight") * 3;
  const std::size_t density = place_of(job, "density") * 3;
  EXPECT_EQ(found.of_models[weight], 3);
  EXPECT_EQ(found.of_models[weight + 1], 2);
  EXPECT_EQ(found.of_models[weight + 2], 2);
  EXPECT_EQ(found.of_models[density], 0.2);
  EXPECT_EQ(found.of_models[density + 2], 0.5);
  EXPECT_EQ(found.of_merge[place_of(job, "lambda")], 0.5);
}

TEST(Numbers, FollowTheFirstFilterThatFitsTheTensorAndElseTheNextLevel) {
  const Job job = parse(R"(merge_method: ties
base_model: base
models:
  - model: a
    parameters:
      weight:
        - {filter: mlp, value: [0, 1]}
        - {filter: down, value: 9}
parameters:
  weight:
    - {filter: attn, value: 4}
    - {filter: "*", value: 5}
    - {filter: attn, value: 6}
)");
  const auto weight = [&](std::string_view tensor) {
    return numbers_of(job, tensor, 0.25).of_models[place_of(job, "weight")];
  };
  EXPECT_EQ(weight("layers.1.mlp.down.weight"), 0.25);
  EXPECT_EQ(weight("down"), 9);
  EXPECT_EQ(weight("layers.1.attn.q"), 4);
  EXPECT_EQ(weight("norm"), 5);
}

TEST(Numbers, OfMergekitsRulesHaveMergekitsFallbacks) {
  const Job job = parse(with("compat: mergekit\n"));
  EXPECT_EQ(numbers_of(job, "x").of_models[place_of(job, "density")], 1);
  EXPECT_EQ(constant(job, "density", 0), 1);
}

constexpr std::string_view kTwoSlices = R"(merge_method: ties
base_model: base
trim_scope: tensor
slices:
  - sources:
      - {model: a, layer_range: [0, 3], parameters: {weight: 3}}
      - {model: b, layer_range: [4, 7]}
    parameters: {weight: 4, lambda: 0.5}
  - sources: [{model: b, layer_range: [0, 2], parameters: {density: 0.5}}]
parameters: {weight: 5}
)";

TEST(Numbers, OfSlicesComeFromTheSourceThenTheSliceThenTheJob) {
  const Job job = parse(kTwoSlices);
  ASSERT_EQ(job.tasks.size(), 2U);
  const std::size_t weight = place_of(job, "weight") * 2;
  const auto weights = [&](std::string_view tensor) {
    const Numbers found = numbers_of(job, tensor);
    return std::pair(found.of_models[weight], found.of_models[weight + 1]);
  };
  EXPECT_EQ(weights("layers.2.w"), std::pair(3.0, 4.0));
  EXPECT_EQ(weights("layers.3.w").first, 5.0);
  EXPECT_EQ(weights("embed.w"), std::pair(3.0, 4.0));
  EXPECT_EQ(weights("norm.w").first, 5.0);
  const std::size_t lambda = place_of(job, "lambda");
  EXPECT_EQ(numbers_of(job, "layers.0.w").of_merge[lambda], 0.5);
  EXPECT_EQ(numbers_of(job, "layers.4.w").of_merge[lambda], 1);
}

TEST(Numbers, OfModelsInSlicesFollowTheNameInTheModelThoseOfTheMergeTheNameInTheOutput) {
  const Job job = parse(R"(merge_method: ties
base_model: base
trim_scope: tensor
slices:
  - sources: [{model: a, layer_range: [2, 4]}]
  - sources:
      - {model: a, layer_range: [0, 2]}
      - {model: b, layer_range: [5, 7], parameters: {weight: [{filter: layers.6., value: 7}]}}
parameters:
  weight: [{filter: layers.1., value: 2}, {filter: layers.5., value: 5}, {value: 1}]
  lambda: [{filter: layers.1., value: 3}, {value: 1}]
)");
  ASSERT_EQ(job.tasks.size(), 2U);
  const auto weights = [&](std::string_view tensor) {
    const Numbers found = numbers_of(job, tensor);
    const std::size_t weight = place_of(job, "weight") * 2;
    return std::pair(found.of_models[weight], found.of_models[weight + 1]);
  };
  EXPECT_EQ(weights("layers.1.w").first, 1.0);            // layer 3 of a
  EXPECT_EQ(weights("layers.2.w"), std::pair(1.0, 5.0));  // layers 0 and 5
  EXPECT_EQ(weights("layers.3.w"), std::pair(2.0, 7.0));  // layers 1 and 6
  const std::size_t lambda = place_of(job, "lambda");
  EXPECT_EQ(numbers_of(job, "layers.1.w").of_merge[lambda], 3);
  EXPECT_EQ(numbers_of(job, "layers.3.w").of_merge[lambda], 1);
}

TEST(Depths, OfSlicesBeginAnewInEach) {
  EXPECT_THAT(depths(parse(kTwoSlices), {"embed", "layers.0.w", "layers.1.w", "layers.2.w",
                                         "layers.3.w", "layers.4.w", "norm"}),
              ElementsAre(0, 0, 0.5, 1, 0, 1, 0));
}

TEST(Constant, OfSlicesIsTheSameInAll) {
  const Job job = parse(kTwoSlices);
  EXPECT_EQ(constant(job, "weight", 0), std::nullopt);
  EXPECT_EQ(constant(job, "density", 0), std::nullopt);
  EXPECT_EQ(constant(job, "lambda"), std::nullopt);
  EXPECT_EQ(constant(job, "normalize"), 1);
}

TEST(Depths, AreTheLayersShareOfTheWay) {
  EXPECT_THAT(depths({"embed", "layers.0.a", "layers.0.b", "layers.3.a", "layers.12.a", "norm"}),
              ElementsAre(0, 0, 0, 0.25, 1, 0));
}

TEST(Depths, AreCountedApartForEachRowOfLayers) {
  EXPECT_THAT(depths({"encoder.1.mlp.7.w", "encoder.2.w", "decoder.4.w", "decoder.8.w", "0.w"}),
              ElementsAre(0.5, 1, 0.5, 1, 1));
}

TEST(Depths, TakeNoPartThatIsNoNumberForALayer) {
  EXPECT_THAT(depths({"h4.w", "a.4b.w", "a.-4.w", "a.99999999999999999999999.w", "..", ""}),
              ElementsAre(0, 0, 0, 0, 0, 0));
}

TEST(Constant, IsNothingWhereTheNumberDependsOnTheTensor) {
  const Job job = parse(R"(merge_method: ties
base_model: base
trim_scope: tensor
models:
  - {model: a, parameters: {density: [0.1, 0.9], weight: 2}}
  - {model: b, parameters: {density: [0.3]}}
parameters: {weight: [1, 2], lambda: [{value: 3}]}
)");
  EXPECT_EQ(constant(job, "density", 0), std::nullopt);
  EXPECT_EQ(constant(job, "density", 1), 0.3);
  EXPECT_EQ(constant(job, "weight", 0), 2);
  EXPECT_EQ(constant(job, "weight", 1), std::nullopt);
  EXPECT_EQ(constant(job, "lambda"), 3);
  EXPECT_EQ(constant(job, "lamda"), std::nullopt);
}

}  // namespace
}  // namespace mpimerge::job::test
