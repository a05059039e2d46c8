// RegMean against golden vectors of the published formula and against what defines it.
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/method/method.hpp"

namespace mpimerge::method {
namespace {

// Gram matrices in memory, by model and tensor.
class Grams final : public Files {
 public:
  std::vector<std::map<std::string, std::vector<float>, std::less<>>> of_models;

  [[nodiscard]] std::optional<std::vector<std::uint64_t>> shape(std::size_t model,
                                                                std::string_view tensor) override {
    const auto found = of_models[model].find(tensor);
    if (found == of_models[model].end()) return std::nullopt;
    const auto side = static_cast<std::uint64_t>(std::sqrt(found->second.size()));
    return std::vector<std::uint64_t>{side, side};
  }
  void read(std::size_t model, std::string_view tensor, std::uint64_t first,
            std::span<float> values) override {
    const std::vector<float>& gram = of_models[model].find(tensor)->second;
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = gram[first + i];
  }
};

// Two outputs, four inputs.
const std::vector<float> kOne{1.5F, -2.25F, 0.5F, 3.0F, -1.125F, 0.5625F, 3.1875F, -1.625F};
const std::vector<float> kTwo{0.5F, -2.4375F, 1.5F, 4.5625F, -0.75F, 0.3125F, 1.75F, -0.625F};
const std::vector<float> kThree{1.1875F, -1.375F, 0.25F, 4.0625F, -3.0F, 0.375F, 3.5F, -0.5F};

std::vector<float> gram(float added) {
  std::vector<float> values{2, 0.5F,  0, 0.25F, 0.5F,  1, 0.25F, 0,
                            0, 0.25F, 3, 0.5F,  0.25F, 0, 0.5F,  1.5F};
  for (std::size_t i = 0; i < 4; ++i) values[i * 5] += added;
  return values;
}

class RegMean : public testing::Test {
 protected:
  RegMean() { grams_.of_models.resize(3); }

  void give_all() {
    for (std::size_t model = 0; model < 3; ++model)
      grams_.of_models[model]["w"] = gram(0.5F * static_cast<float>(model));
  }

  // Rows [first, first + rows) of the tensor, as a rank that has only these would merge them.
  std::vector<float> merge(std::size_t first = 0, std::size_t rows = 2) {
    method::Setup setup;
    setup.models = 3;
    setup.files = &grams_;
    const std::unique_ptr<Method> method = find("regmean")->make(setup);
    const std::vector<std::uint64_t> shape{2, 4};
    const std::vector<std::size_t> numbers{0, 1, 2};
    const std::vector<double> of_merge{0, reduce_nondiag_};
    const std::vector<double> of_models{1, 1, 1, 0, 0, 0};
    Tensor tensor;
    tensor.name = "w";
    tensor.shape = shape;
    tensor.elements = 8;
    tensor.models = 3;
    tensor.numbers = numbers;
    tensor.of_merge = of_merge;
    tensor.of_models = of_models;
    const std::vector<const float*> models{kOne.data() + first * 4, kTwo.data() + first * 4,
                                           kThree.data() + first * 4};
    Tile tile;
    tile.first = first * 4;
    tile.elements = rows * 4;
    tile.models = models;
    tile.own_end = tile.elements;
    std::vector<float> merged(tile.elements);
    method->merge(tensor, tile, merged.data());
    return merged;
  }

  Grams grams_;
  double reduce_nondiag_ = 0.9;
};

TEST_F(RegMean, GivesTheGoldenVector) {
  give_all();
  const std::vector<float> golden{1.0113837F,  -1.9033985F, 0.717482F,  3.9766088F,
                                  -1.7636006F, 0.43749318F, 2.8119686F, -0.8072044F};
  EXPECT_THAT(merge(), testing::Pointwise(testing::FloatNear(4e-6F), golden));
}

TEST_F(RegMean, GivesARowTheSameBitsAlone) {
  give_all();
  const std::vector<float> whole = merge();
  std::vector<float> rows = merge(0, 1);
  const std::vector<float> second = merge(1, 1);
  rows.insert(rows.end(), second.begin(), second.end());
  EXPECT_EQ(rows, whole);
}

TEST_F(RegMean, AveragesWhatHasNoGramMatrix) {
  const std::vector<float> merged = merge();
  for (std::size_t i = 0; i < merged.size(); ++i)
    EXPECT_FLOAT_EQ(merged[i], (kOne[i] + kTwo[i] + kThree[i]) / 3) << i;
}

TEST_F(RegMean, KeepsTheMeanWhereNoModelHasSeenAnInput) {
  give_all();
  for (auto& model : grams_.of_models) {
    for (std::size_t i = 0; i < 4; ++i) model["w"][4 + i] = model["w"][i * 4 + 1] = 0;
  }
  const std::vector<float> merged = merge();
  EXPECT_FLOAT_EQ(merged[1], (kOne[1] + kTwo[1] + kThree[1]) / 3);
  EXPECT_NE(merged[0], (kOne[0] + kTwo[0] + kThree[0]) / 3);
}

TEST_F(RegMean, NamesTheTensorWhoseMatricesAreNotPositiveDefinite) {
  for (auto& model : grams_.of_models) model["w"] = std::vector<float>(16, 1.0F);
  reduce_nondiag_ = 1;
  try {
    merge();
    FAIL() << "a singular sum was solved for";
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), base::ErrorKind::input);
    EXPECT_THAT(error.what(), testing::HasSubstr("`w`"));
    EXPECT_THAT(error.what(), testing::HasSubstr("not positive definite"));
  }
}

TEST_F(RegMean, RefusesATensorOfWhichSomeModelsHaveNoGramMatrix) {
  give_all();
  grams_.of_models[1].clear();
  EXPECT_THROW(merge(), base::Error);
}

TEST_F(RegMean, RefusesAMatrixOfAnotherSize) {
  give_all();
  grams_.of_models[2]["w"].resize(9);
  EXPECT_THROW(merge(), base::Error);
}

}  // namespace
}  // namespace mpimerge::method
