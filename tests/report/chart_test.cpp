#include "report/chart.hpp"

#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mpimerge::report {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

TEST(Ticks, AreRoundAndReachTheEnd) {
  EXPECT_THAT(ticks(0, 1, 6), ElementsAre(0, 0.2, 0.4, 0.6, 0.8, 1));
  EXPECT_THAT(ticks(0, 0.27, 4), ElementsAre(0, 0.1, 0.2, 0.3));
  EXPECT_THAT(ticks(-0.03, 0.05, 5), ElementsAre(-0.02, 0, 0.02, 0.04, 0.06));
  EXPECT_THAT(ticks(2, 8, 7), ElementsAre(2, 3, 4, 5, 6, 7, 8));
}

TEST(Ticks, EndWhateverTheNumbers) {
  EXPECT_THAT(ticks(3, 3, 5), ElementsAre(3));
  EXPECT_THAT(ticks(0, kNan, 5), ElementsAre(0));
  EXPECT_THAT(ticks(0, std::numeric_limits<double>::infinity(), 5), ElementsAre(0));
  EXPECT_LE(ticks(0x1p60, 0x1p60 + 300, 7).size(), 100U);
  EXPECT_LE(ticks(0, 5e-324, 7).size(), 100U);
  EXPECT_LE(ticks(-1.7e308, 1.7e308, 7).size(), 100U);
}

TEST(LineChart, HasEveryPointWithItsNumber) {
  LineChart chart{"a chart", {"x", false, true, 2, 4}, {"y", true, false, 0, 0.5}, {}, false};
  chart.series.push_back({"one", "c0", false, true, {{2, 0.125, "first"}, {4, 0.5, "<b>"}}});

  const std::string drawn = draw(chart);

  EXPECT_THAT(drawn, HasSubstr("data-series=\"one\" data-x=\"2\" data-value=\"0.125\""));
  EXPECT_THAT(drawn, HasSubstr("data-series=\"one\" data-x=\"4\" data-value=\"0.5\""));
  EXPECT_THAT(drawn, HasSubstr("role=\"img\" aria-label=\"a chart\""));
  EXPECT_THAT(drawn, HasSubstr("<title>&lt;b&gt;</title>"));
  EXPECT_THAT(drawn, Not(HasSubstr("nan")));
}

TEST(BarChart, LeavesOutWhatIsNoNumber) {
  BarChart chart{"bars", "x", {"a", "b"}, {"y", false, false, 0, 1}, {}};
  chart.series.push_back({"one", "c0", {0.5, kNan}, {"", ""}});
  chart.series.push_back({"two", "c1", {1, 0.25}, {"", ""}});

  const std::string drawn = draw(chart);

  EXPECT_EQ(count_of(drawn, "data-series="), 3U);
  EXPECT_THAT(drawn, HasSubstr("data-series=\"two\" data-x=\"1\" data-value=\"0.25\""));
  EXPECT_THAT(drawn, Not(HasSubstr("nan")));
}

TEST(HeatMap, PutsCellsIntoTheirColumnsAndColoursThemByTheScale) {
  HeatMap map{"map", {"0", "1"}, "layer", {{"up", 0.5, {{0, 0.25, ""}, {1, 0.75, ""}}}},
              {},    0.25,       0.75};
  map.singles.push_back({"head", 0.5, {{0, 0.5, ""}}});

  const std::string drawn = draw(map);

  EXPECT_THAT(drawn, HasSubstr("<rect class=\"q0\" x=\"0\""));
  EXPECT_THAT(drawn, HasSubstr("data-column=\"1\" data-value=\"0.75\""));
  EXPECT_THAT(drawn, HasSubstr("<rect class=\"q31\""));
  EXPECT_THAT(drawn, HasSubstr("<rect class=\"q16\""));
  EXPECT_EQ(count_of(drawn, "data-row="), 2U);
}

TEST(Matrix, ShowsBothHalvesAndLeavesTheDiagonalWithoutColour) {
  Matrix matrix{"matrix", {"a", "<i>"}, {{1, -0.5}, {-0.5, 1}}, -1, 1};

  const std::string drawn = draw(matrix);

  EXPECT_EQ(count_of(drawn, "data-value=\"-0.5\""), 2U);
  EXPECT_EQ(count_of(drawn, "<rect class=\"none\""), 2U);
  EXPECT_THAT(drawn, HasSubstr("−0.50"));
  EXPECT_THAT(drawn, Not(HasSubstr("<i>")));
}

TEST(Matrix, OfManyTasksHasNoRoomForNumbers) {
  Matrix matrix;
  matrix.names.assign(64, "task");
  matrix.values.assign(64, std::vector<std::optional<double>>(64, 0.25));

  EXPECT_THAT(draw(matrix), Not(HasSubstr(">0.25<")));
}

}  // namespace
}  // namespace mpimerge::report
