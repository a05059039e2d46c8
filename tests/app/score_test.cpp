#include "app/score.hpp"

#include <optional>
#include <vector>

#include <gtest/gtest.h>

namespace mpimerge::app {
namespace {

TEST(LastNumber, IsTheLastWordThatIsOne) {
  EXPECT_EQ(last_number("accuracy 0.91 of 400 images\n"), 400);
  EXPECT_EQ(last_number("loss=-1.5e-3, (done)"), -1.5e-3);
  EXPECT_EQ(last_number("{\"acc\": 0.5}"), 0.5);
  EXPECT_EQ(last_number("87 %"), 87);
  EXPECT_EQ(last_number("+3"), 3);
  EXPECT_EQ(last_number("0.25 nan inf v2.0 3x"), 0.25);
  EXPECT_EQ(last_number("none"), std::nullopt);
  EXPECT_EQ(last_number(""), std::nullopt);
}

TEST(BestOf, IsTheFirstOfTheHighest) {
  EXPECT_EQ(best_of({{1, ""}, {3, ""}, {{}, "ended"}, {3, ""}, {-4, ""}}), 1U);
  EXPECT_EQ(best_of({{{}, "ended"}}), std::nullopt);
  EXPECT_EQ(best_of({}), std::nullopt);
}

TEST(ScoreOf, RunsTheCommandWithTheOutputsName) {
  const auto quietly = [] {};
  EXPECT_EQ(score_of({"echo", "7"}, "8", quietly).value, 8) << "the name is the last word";
  EXPECT_EQ(score_of({"printf", "%s 5 $HOME"}, "x", quietly).value, 5) << "no shell";
  EXPECT_EQ(score_of({"cat"}, "/dev/stdin", quietly).why_not, "printed no number") << "no stdin";
  EXPECT_EQ(score_of({"false"}, "x", quietly).why_not, "ended with exit code 1");
  EXPECT_EQ(score_of({"sh", "-c", "kill -9 $$"}, "x", quietly).why_not, "ended by signal 9");
  EXPECT_EQ(score_of({"/no/such/program"}, "x", quietly).why_not.substr(0, 18),
            "cannot be started:");
}

TEST(ScoreOf, TakesTheEndOfMuchOutput) {
  EXPECT_EQ(score_of({"seq"}, "100000", [] {}).value, 100'000);
}

}  // namespace
}  // namespace mpimerge::app
