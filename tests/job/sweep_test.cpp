#include "mpimerge/job/sweep.hpp"

#include <cstddef>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/job/numbers.hpp"
#include "mpimerge/job/parse.hpp"

#include "support.hpp"

namespace mpimerge::job {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;

constexpr const char* kTwo =
    "merge_method: ties\n"
    "base_model: base\n"
    "models:\n"
    "  - {model: math, parameters: {density: 0.7, weight: 3}}\n"
    "  - model: code\n";

Sweep read(const std::string& yaml, const std::vector<std::string>& sets = {}) {
  return parse_sweep(yaml, "dir/job.yaml", sets);
}

std::string fault_of(const std::string& yaml, const std::vector<std::string>& sets = {}) {
  try {
    read(yaml, sets);
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), base::ErrorKind::job) << error.what();
    return error.what();
  }
  return "none";
}

std::size_t lines_of(const std::string& text) {
  std::istringstream lines(text);
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line);) ++count;
  return count;
}

TEST(Sweep, AJobWithoutOneIsOneMerge) {
  const Sweep sweep = read(kTwo);

  EXPECT_FALSE(sweep.is_sweep());
  EXPECT_EQ(sweep.points.size(), 1U);
  EXPECT_EQ(sweep.label(0), "");
  EXPECT_EQ(sweep.job.text, kTwo);
  EXPECT_EQ(sweep.points[0].text, kTwo);
}

TEST(Sweep, IsAGridWhoseLastKeyVariesFirst) {
  const Sweep sweep =
      read(std::string(kTwo) + "sweep: {lambda: [1.0, 0.50], density: [0.1, .2]}\n");

  EXPECT_THAT(sweep.keys, ElementsAre("lambda", "density"));
  std::vector<std::string> labels;
  for (std::size_t point = 0; point < sweep.points.size(); ++point) {
    labels.push_back(sweep.label(point));
    EXPECT_EQ(constant(sweep.points[point], "lambda"), point < 2 ? 1 : 0.5);
    // Of every model, whatever the job says of it.
    for (const std::size_t task : {0U, 1U})
      EXPECT_EQ(constant(sweep.points[point], "density", task), point % 2 == 0 ? 0.1 : 0.2);
    EXPECT_EQ(constant(sweep.points[point], "weight", 0), 3);
  }
  EXPECT_THAT(labels, ElementsAre("-lambda-1-density-0.1", "-lambda-1-density-0.2",
                                  "-lambda-0.5-density-0.1", "-lambda-0.5-density-0.2"));
}

TEST(Sweep, APointsTextIsAJobOfItsOwn) {
  const Sweep sweep =
      read(std::string(kTwo) + "sweep: {weight: [[1, -2], 4], rescale: [true, false]}\n");

  EXPECT_THAT(sweep.job.text, HasSubstr("sweep"));
  EXPECT_EQ(sweep.label(1), "-weight-1_-2-rescale-false");
  ASSERT_EQ(sweep.points.size(), 4U);
  for (const Job& point : sweep.points) {
    const Job again = parse_job(point.text, "dir/job.yaml", {});
    for (const std::size_t task : {0U, 1U})
      EXPECT_EQ(constant(again, "weight", task), constant(point, "weight", task));
    EXPECT_EQ(constant(again, "rescale"), constant(point, "rescale"));
    EXPECT_EQ(constant(again, "density", 0), 0.7);
  }
  EXPECT_EQ(constant(sweep.points[1], "weight", 1), -2);
  EXPECT_EQ(constant(sweep.points[2], "weight", 0), 4);
}

TEST(Sweep, ComesFromTheCommandLineToo) {
  const Sweep sweep = read(kTwo, {"sweep.lambda=[1, 2]", "sweep.density=[0.3]"});

  EXPECT_THAT(sweep.keys, ElementsAre("lambda", "density"));
  EXPECT_EQ(sweep.points.size(), 2U);
  EXPECT_THAT(fault_of(kTwo, {"sweep.density=[0.1, 2]"}), HasSubstr("--set sweep.density"));
}

TEST(Sweep, ABaseAmongTheModelsHasNoPlaceInALists) {
  const Sweep sweep = read(
      "merge_method: ties\nbase_model: base\nmodels: [{model: base}, {model: a}, {model: b}]\n"
      "sweep: {weight: [[1, 2]]}\n");

  ASSERT_EQ(sweep.points[0].tasks.size(), 2U);
  EXPECT_EQ(constant(sweep.points[0], "weight", 1), 2);
}

TEST(Sweep, EveryFaultIsToldOnceWithItsLine) {
  const std::string grid = "sweep: {density: [0.1, 5, 0], lambda: [1, 2, x]}\nnan: maybe\n";
  const std::string text = fault_of(kTwo + grid);

  EXPECT_EQ(lines_of(text), 4U) << text;
  EXPECT_THAT(text, HasSubstr("dir/job.yaml:6: parameters.density: found `5`"));
  EXPECT_THAT(text, HasSubstr("dir/job.yaml:6: parameters.lambda: found `x`"));
  EXPECT_THAT(text, HasSubstr("dir/job.yaml:7: nan"));
}

TEST(Sweep, ALongJobHasFewPoints) {
  std::string values;
  for (int value = 0; value < 900; ++value) values += std::to_string(value) + ", ";
  std::string hint(100'000, ' ');
  for (std::size_t at = 0; at < hint.size(); at += 2) hint[at] = 'x';
  const std::string text =
      fault_of(kTwo + std::string("sweep: {lambda: [") + values + "]}\nscore: \"" + hint + "\"\n");

  EXPECT_THAT(text, HasSubstr("too long for 900 points"));
}

TEST(Sweep, IsNoSingleMerge) {
  EXPECT_THAT(test::faults_of(std::string(kTwo) + "sweep: {lambda: [1]}\n"),
              ElementsAre(HasSubstr("not one merge but several")));
}

TEST(Score, IsACommandOrItsWords) {
  const std::string job(kTwo);
  EXPECT_THAT(test::parse(job + "score: python3  eval.py -x\n").score,
              ElementsAre("python3", "eval.py", "-x"));
  EXPECT_THAT(test::parse(job + "score: [./my tool, a b]\n").score,
              ElementsAre(EndsWith("/dir/my tool"), "a b"));
  EXPECT_THAT(test::faults_of(job + "score: ' '\n"), ElementsAre(HasSubstr("expected a command")));
}

}  // namespace
}  // namespace mpimerge::job
