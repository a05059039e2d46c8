// `checkpoints`: a training run as a list of models with weights.
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/job/numbers.hpp"

#include "job/support.hpp"
#include "support/temp_dir.hpp"

namespace mpimerge::job::test {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;

class Checkpoints : public testing::Test {
 protected:
  Job read(std::string_view checkpoints) const {
    return parse_job("merge_method: average\ncheckpoints: " + std::string(checkpoints) + "\n",
                     temp_ / "job.yaml", {});
  }

  std::string fault(std::string_view checkpoints) const {
    try {
      read(checkpoints);
    } catch (const base::Error& error) {
      return error.what();
    }
    return "was read";
  }

  void make(const std::vector<std::string>& names) const {
    for (const std::string& name : names) std::filesystem::create_directories(temp_ / name);
  }

  static std::vector<std::string> names(const Job& job) {
    std::vector<std::string> list;
    for (const Task& task : job.tasks) list.push_back(task.name);
    return list;
  }

  std::vector<double> weights(std::string_view weighting) const {
    const Job job = read("{pattern: run/step_*, weights: " + std::string(weighting) + "}");
    std::vector<double> list;
    for (std::size_t task = 0; task < job.tasks.size(); ++task)
      list.push_back(constant(job, "weight", task).value());
    return list;
  }

  mpimerge::test::TempDir temp_;
};

TEST_F(Checkpoints, StandInTheOrderOfTheNumbersInTheirNames) {
  make({"run/step_100", "run/step_9", "run/step_020", "run/step_20b", "run/other", "run/.step_1"});

  const Job job = read("{pattern: run/step_*}");

  EXPECT_THAT(names(job),
              ElementsAre("run/step_9", "run/step_020", "run/step_20b", "run/step_100"));
  EXPECT_EQ(job.tasks[0].path, (temp_ / "run/step_9").string());
  EXPECT_TRUE(job.tasks[0].parameters.empty());
}

TEST_F(Checkpoints, MayLieBesideTheJob) {
  make({"a2", "a1", "b"});

  EXPECT_THAT(names(read("{pattern: \"a?\"}")), ElementsAre("a1", "a2"));
}

TEST_F(Checkpoints, HaveTheWeightsOfAListOrAnAverageThatMoves) {
  make({"run/step_1", "run/step_2", "run/step_3"});

  EXPECT_THAT(weights("uniform"), ElementsAre(1, 1, 1));
  EXPECT_THAT(weights("[0.5, 2, -1]"), ElementsAre(0.5, 2, -1));
  // ((θ_1·0.75 + θ_2·0.25)·0.75 + θ_3·0.25
  EXPECT_THAT(weights("{ema: 0.75}"), ElementsAre(0.5625, 0.1875, 0.25));
  EXPECT_THAT(weights("{ema: 0}"), ElementsAre(0, 0, 1));
}

TEST_F(Checkpoints, HaveTheWeightsThatStandForADecayOfTheLearningRate) {
  make({"run/step_1", "run/step_2", "run/step_3", "run/step_4"});
  const auto near = [](double value) { return DoubleNear(value, 1e-15); };

  EXPECT_THAT(weights("linear"), ElementsAre(near(0.25), near(0.25), near(0.25), near(0.25)));
  EXPECT_THAT(weights("minus-sqrt"),
              ElementsAre(near(0.5), near(std::sqrt(0.5) - 0.5),
                          near(std::sqrt(0.75) - std::sqrt(0.5)), near(1 - std::sqrt(0.75))));
  const double half = std::sqrt(0.5) / 2;
  EXPECT_THAT(weights("cosine"),
              ElementsAre(near(0.5 - half), near(half), near(half), near(0.5 - half)));
}

TEST_F(Checkpoints, ThatAreNotThereAreAFault) {
  make({"run"});
  EXPECT_THAT(
      fault("{pattern: run/step_*}"),
      HasSubstr("job.yaml:2: checkpoints.pattern: found `run/step_*`; expected a pattern that "
                "something in " +
                (temp_ / "run").string() + " fits"));
  EXPECT_THAT(fault("{pattern: none/step_*}"), HasSubstr("checkpoints.pattern: "));
}

TEST_F(Checkpoints, WithOtherWeightsAreAFault) {
  make({"run/step_1", "run/step_2"});
  const auto fault_of = [&](std::string_view weighting) {
    return fault("{pattern: run/step_*, weights: " + std::string(weighting) + "}");
  };
  EXPECT_THAT(fault_of("[1]"), HasSubstr("found 1 weights; expected one for each of the 2"));
  EXPECT_THAT(fault_of("[1, x]"), HasSubstr("checkpoints.weights.1: found `x`"));
  EXPECT_THAT(fault_of("{ema: 1}"),
              HasSubstr("checkpoints.weights.ema: found `1`; expected a number of"));
  EXPECT_THAT(fault_of("{eam: 0.9}"), HasSubstr("checkpoints.weights.ema: missing"));
  EXPECT_THAT(fault_of("cosin"), HasSubstr("did you mean `cosine`?"));
}

TEST_F(Checkpoints, GoWithTheAverageAloneAndNotWithModels) {
  EXPECT_THAT(faults_of("merge_method: ties\nbase_model: b\ncheckpoints: {pattern: \"*\"}\n"),
              ElementsAre(HasSubstr(":3: checkpoints: ties has no use for checkpoints")));
  EXPECT_THAT(
      faults_of("merge_method: average\nmodels: [{model: a}]\ncheckpoints: {pattern: \"*\"}\n"),
      ElementsAre(HasSubstr(":3: checkpoints: checkpoints and models exclude each other")));
}

}  // namespace
}  // namespace mpimerge::job::test
