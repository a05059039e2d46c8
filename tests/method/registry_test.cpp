#include <algorithm>
#include <set>
#include <string_view>

#include <gtest/gtest.h>

#include "mpimerge/method/method.hpp"

namespace mpimerge::method {
namespace {

TEST(Registry, HasEveryMethodOnce) {
  const std::set<std::string_view> expected{
      "average",     "linear",      "task_arithmetic",  "ties",       "dare_ties",
      "dare_linear", "breadcrumbs", "breadcrumbs_ties", "della",      "della_linear",
      "fisher",      "slerp",       "nuslerp",          "multislerp", "karcher",
      "model_stock", "sce",         "arcee_fusion",     "nearswap",   "ram",
      "ramplus_tl",  "passthrough", "regmean",          "cat",        "perturb"};
  std::multiset<std::string_view> found;
  for (const Description& each : methods()) found.insert(each.name);
  EXPECT_EQ(found, (std::multiset<std::string_view>(expected.begin(), expected.end())));
  EXPECT_EQ(find("no such method"), nullptr);
}

TEST(Registry, FallbacksKeepTheirOwnBounds) {
  for (const Description& each : methods()) {
    EXPECT_FALSE(each.about.empty()) << each.name;
    for (const Parameter& parameter : each.parameters) {
      for (const auto& value : {parameter.fallback, parameter.mergekit_fallback}) {
        if (!value) continue;
        EXPECT_LE(*value, parameter.most) << each.name << " " << parameter.name;
        EXPECT_GE(*value, parameter.least) << each.name << " " << parameter.name;
        EXPECT_FALSE(parameter.above_least && *value == parameter.least);
        EXPECT_FALSE(parameter.is_flag && *value != 0 && *value != 1);
      }
    }
  }
}

TEST(Registry, MethodsHaveMergekitsDefaults) {
  const auto fallback = [](std::string_view method, std::string_view parameter) {
    const auto& parameters = find(method)->parameters;
    const auto found = std::ranges::find(parameters, parameter, &Parameter::name);
    return found->mergekit_fallback ? *found->mergekit_fallback : *found->fallback;
  };
  struct Case {
    const char* method;
    double normalize;
    double rescale;
  };
  for (const auto& [method, normalize, rescale] :
       {Case{"ties", 1, 0}, Case{"dare_ties", 0, 1}, Case{"dare_linear", 0, 1},
        Case{"breadcrumbs", 0, 0}, Case{"breadcrumbs_ties", 0, 0}, Case{"della", 1, 1},
        Case{"della_linear", 0, 1}}) {
    EXPECT_EQ(fallback(method, "normalize"), normalize) << method;
    EXPECT_EQ(fallback(method, "rescale"), rescale) << method;
    EXPECT_EQ(fallback(method, "density"), 1) << method;
    EXPECT_EQ(fallback(method, "lambda"), 1) << method;
  }
  EXPECT_EQ(fallback("task_arithmetic", "normalize"), 0);
  EXPECT_EQ(fallback("breadcrumbs", "gamma"), 0.01);
  EXPECT_EQ(fallback("della", "epsilon"), 0.15);
  EXPECT_EQ(
      *std::ranges::find(find("ties")->parameters, std::string_view("density"), &Parameter::name)
           ->fallback,
      0.2);
}

}  // namespace
}  // namespace mpimerge::method
