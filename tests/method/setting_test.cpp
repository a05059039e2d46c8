#include "mpimerge/method/setting.hpp"

#include <gtest/gtest.h>

namespace mpimerge::method {
namespace {

Setting setting_of(std::vector<Setting::Case> cases) {
  Setting setting;
  setting.cases = std::move(cases);
  return setting;
}

TEST(Setting, OfOneValueIsTheSameEverywhere) {
  EXPECT_EQ(Setting(0.3).at("model.layers.3.mlp.weight", 0.5), 0.3);
  EXPECT_EQ(Setting(0.3).constant(), 0.3);
}

TEST(Setting, OfSeveralValuesIsAGradientOverTheLayers) {
  const Setting gradient = setting_of({{"", {0, 1, 0.5}}});
  EXPECT_EQ(gradient.at("t", 0), 0.0);
  EXPECT_EQ(gradient.at("t", 0.25), 0.5);
  EXPECT_EQ(gradient.at("t", 0.5), 1.0);
  EXPECT_EQ(gradient.at("t", 0.75), 0.75);
  EXPECT_EQ(gradient.at("t", 1), 0.5);
  EXPECT_FALSE(gradient.constant());
}

TEST(Setting, TakesTheFirstCaseWhoseFilterIsInTheName) {
  const Setting filtered = setting_of({{"mlp", {0.1}}, {"layers.1", {0.2}}, {"", {0.9}}});
  EXPECT_EQ(filtered.at("layers.1.mlp", 0), 0.1);
  EXPECT_EQ(filtered.at("layers.1.attention", 0), 0.2);
  EXPECT_EQ(filtered.at("embed", 0), 0.9);
  EXPECT_EQ(filtered.at("MLP", 0), 0.9);
  EXPECT_FALSE(filtered.constant());
}

TEST(Setting, IsNothingWhereNoCaseFits) {
  const Setting filtered = setting_of({{"mlp", {0.1}}});
  EXPECT_FALSE(filtered.at("attention", 0));
  EXPECT_FALSE(filtered.constant());
  EXPECT_FALSE(Setting().at("mlp", 0));
}

}  // namespace
}  // namespace mpimerge::method
