#include "report/colour.hpp"

#include <cstdlib>
#include <regex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace mpimerge::report {
namespace {

// Lightness of the steps of a scale, in order: first those for light surroundings, then for dark.
std::vector<double> lightness(char scale) {
  const std::string rules = colour_rules();
  const std::regex rule(std::string("\n?\\.") + scale + "\\d+\\{fill:#(..)(..)(..)\\}");
  std::vector<double> found;
  for (std::sregex_iterator match(rules.begin(), rules.end(), rule), end; match != end; ++match) {
    const auto part = [&](std::size_t which) {
      return static_cast<double>(std::strtol((*match)[which].str().c_str(), nullptr, 16));
    };
    found.push_back(0.2126 * part(1) + 0.7152 * part(2) + 0.0722 * part(3));
  }
  return found;
}

TEST(Colours, MoreIsFurtherFromTheBackground) {
  const std::vector<double> found = lightness('q');

  ASSERT_EQ(found.size(), 2 * kSequentialSteps);
  for (std::size_t step = 1; step < kSequentialSteps; ++step) {
    EXPECT_LT(found[step], found[step - 1]) << "light, " << step;
    EXPECT_GT(found[kSequentialSteps + step], found[kSequentialSteps + step - 1])
        << "dark, " << step;
  }
}

TEST(Colours, ZeroIsNextToTheBackgroundAndBothEndsAreFar) {
  const std::vector<double> found = lightness('d');

  ASSERT_EQ(found.size(), 2 * kDivergingSteps);
  const std::size_t middle = kDivergingSteps / 2;
  for (std::size_t step = 1; step < kDivergingSteps; ++step) {
    const bool falling = step > middle;
    EXPECT_EQ(found[step] < found[step - 1], falling) << "light, " << step;
    EXPECT_EQ(found[kDivergingSteps + step] > found[kDivergingSteps + step - 1], falling)
        << "dark, " << step;
  }
}

TEST(Colours, ValuesBeyondTheScaleTakeItsEnds) {
  EXPECT_EQ(sequential_class(-1), "q0");
  EXPECT_EQ(sequential_class(0.5), "q16");
  EXPECT_EQ(sequential_class(7), "q31");
  EXPECT_EQ(diverging_class(-2), "d0");
  EXPECT_EQ(diverging_class(0), "d15");
  EXPECT_EQ(diverging_class(2), "d30");
  EXPECT_EQ(category_class(7), "c7");
  EXPECT_EQ(category_class(8), "cx");
}

}  // namespace
}  // namespace mpimerge::report
