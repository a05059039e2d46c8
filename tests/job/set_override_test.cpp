#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/job/numbers.hpp"

#include "job/support.hpp"

namespace mpimerge::job::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

std::string only_fault(const std::vector<std::string>& sets) {
  const auto faults = faults_of(kSmallest, sets);
  EXPECT_EQ(faults.size(), 1U) << testing::PrintToString(faults);
  return faults.empty() ? std::string() : faults[0];
}

std::string usage_error(const std::string& set) {
  const auto lines = faults_of(kSmallest, {set}, base::ErrorKind::usage);
  EXPECT_EQ(lines.size(), 1U);
  return lines.empty() ? std::string() : lines[0];
}

TEST(SetOverride, ReplacesAValueAndMakesMapsOnTheWay) {
  const Job job = parse(kSmallest, {"models.0.parameters.density=0.3", "parameters.lambda=2",
                                    "base_model=other", "nan=allow"});
  EXPECT_EQ(constant(job, "density", 0), 0.3);
  EXPECT_EQ(constant(job, "lambda"), 2.0);
  EXPECT_EQ(job.base_path, "dir/other");
  EXPECT_EQ(job.nan, NanPolicy::allow);
}

TEST(SetOverride, AppendsAtTheLengthOfAList) {
  const Job job = parse(kSmallest, {"models.1.model=code", "models.2={model: law}"});
  ASSERT_EQ(job.tasks.size(), 3U);
  EXPECT_EQ(job.tasks[1].name, "code");
  EXPECT_EQ(job.tasks[1].line, 0);
  EXPECT_EQ(job.tasks[2].name, "law");
}

TEST(SetOverride, TakesAnyYamlAndEverythingAfterTheFirstEqualsSign) {
  const Job job = parse(kSmallest, {"output=[a.h5, \"b=c.h5\"]"});
  EXPECT_THAT(job.outputs, ElementsAre("dir/a.h5", "dir/b=c.h5"));
}

TEST(SetOverride, IsAppliedInOrder) {
  EXPECT_EQ(constant(parse(kSmallest, {"parameters.lambda=2", "parameters.lambda=3"}), "lambda"),
            3.0);
  EXPECT_EQ(constant(parse(kSmallest, {"parameters.lambda=2", "parameters={weight: 2}"}), "lambda"),
            1.0);
}

TEST(SetOverride, MendsAFaultOfTheFile) {
  const std::string yaml = std::string(kSmallest) + "parameters:\n  density: 20\n";
  EXPECT_EQ(constant(parse(yaml, {"parameters.density=0.2"}), "density", 0), 0.2);
}

TEST(SetOverride, FillsAKeyWithoutValue) {
  const std::string yaml = std::string(kSmallest) + "parameters:\n";
  EXPECT_EQ(constant(parse(yaml, {"parameters.lambda=2"}), "lambda"), 2.0);
}

TEST(SetOverride, IsNamedAsThePlaceOfAFault) {
  EXPECT_EQ(
      only_fault({"parameters.density=20"}),
      "--set parameters.density: found `20`; expected a number above 0 and at most 1; 20 % is "
      "written 0.2");
  EXPECT_THAT(only_fault({"parameters.densty=0.2"}),
              StartsWith("--set parameters.densty: unknown key; did you mean `density`?"));
  EXPECT_THAT(only_fault({"foo.bar=1"}), StartsWith("--set foo.bar: foo: unknown key"));
  EXPECT_THAT(only_fault({"models.0={model: a, foo: 1}"}),
              StartsWith("--set models.0: models.0.foo: unknown key"));
  EXPECT_THAT(only_fault({"models.1.parameters.density=0.1"}),
              StartsWith("--set models.1.parameters.density: models.1.model: missing"));
  EXPECT_THAT(only_fault({"models.1={model: ./base}"}),
              StartsWith("--set models.1: models.1.model: "));
  EXPECT_THAT(only_fault({"parameters={lambda: 1, lambda: 2}"}),
              StartsWith("--set parameters: parameters.lambda: given twice; expected"));
  EXPECT_THAT(only_fault({"output="}), StartsWith("--set output: found no value"));
}

TEST(SetOverride, ReportsWhatCannotBeReached) {
  EXPECT_THAT(only_fault({"models.7.model=a"}),
              StartsWith("--set models.7.model: `7` is no index of a list of 1; expected 0 to 1"));
  EXPECT_THAT(only_fault({"models.math.model=a"}), HasSubstr("`math` is no index"));
  EXPECT_THAT(only_fault({"models.-1.model=a"}), HasSubstr("`-1` is no index"));
  EXPECT_THAT(only_fault({"merge_method.name=a"}),
              StartsWith("--set merge_method.name: found `ties` above `name`; expected a map"));
}

TEST(SetOverride, FaultsComeAfterThoseOfTheFileInTheirOwnOrder) {
  const auto faults =
      faults_of(std::string(kSmallest) + "foo: 1\n", {"nan=x", "elect=[]", "bar=1"});
  ASSERT_EQ(faults.size(), 4U);
  EXPECT_THAT(faults[0], StartsWith("dir/job.yaml:5: foo: "));
  EXPECT_THAT(faults[1], StartsWith("--set nan: "));
  EXPECT_THAT(faults[2], StartsWith("--set elect: "));
  EXPECT_THAT(faults[3], StartsWith("--set bar: unknown key"));
}

TEST(SetOverride, NeedsAKeyAndAnEqualsSign) {
  EXPECT_THAT(usage_error("parameters.density"), HasSubstr("expected KEY=VALUE"));
  EXPECT_THAT(usage_error(""), HasSubstr("expected KEY=VALUE"));
  for (const char* text : {"=1", ".a=1", "a.=1", "a..b=1"}) {
    EXPECT_THAT(usage_error(text), HasSubstr("KEY has an empty part")) << text;
  }
  std::string deep = "a";
  for (int i = 0; i < 64; ++i) deep += ".a";
  EXPECT_THAT(usage_error(deep + "=1"), HasSubstr("65 parts"));
}

TEST(SetOverride, NeedsAValueThatIsOneYamlDocument) {
  EXPECT_THAT(usage_error("output=[a"),
              HasSubstr("--set output=[a: VALUE cannot be read: not valid YAML"));
  EXPECT_THAT(usage_error("output='a\n"), HasSubstr("never closed"));
  EXPECT_THAT(usage_error("nan=a\n---\nb"), HasSubstr("second YAML document"));
  EXPECT_THAT(usage_error("nan=\xff"), HasSubstr("UTF-8"));
}

TEST(SetOverride, DoesNotHideThatTheFileIsEmpty) {
  const auto faults = faults_of("", {"merge_method=ties"});
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_THAT(faults[0], HasSubstr("the job is empty"));
}

TEST(SetOverride, IsPartOfTheJobsText) {
  const Job job =
      parse("merge_method: ties # here\nbase_model: \"007\"\nmodels:\n  - model: math\n",
            {"parameters.density=0.3", "dtype=", "output=[a.h5]"});
  EXPECT_EQ(job.text,
            "merge_method: ties\nbase_model: \"007\"\nmodels:\n  - model: math\nparameters:\n"
            "  density: 0.3\ndtype: ~\noutput:\n  - a.h5\n");
}

TEST(SetOverride, GivesATextThatReadsAsTheSameJob) {
  const std::string yaml =
      "merge_method: ties\nbase_model: \"a: b # \\\"c\\\"\"\nmodels:\n"
      "  - &first {model: 'null', parameters: &p {weight: '0.5'}}\n"
      "  - {model: \"gr\xc3\xbc\xc3\x9f\\t\", parameters: *p}\noutput_hints: {cb_nodes: 007, two: "
      "\"a\\nb\"}\n";
  const Job once = parse(yaml, {"parameters.lambda=1e-3"});
  const Job again = parse(once.text);
  EXPECT_EQ(again.base_path, once.base_path);
  ASSERT_EQ(again.tasks.size(), once.tasks.size());
  for (std::size_t i = 0; i < once.tasks.size(); ++i) {
    EXPECT_EQ(again.tasks[i].path, once.tasks[i].path);
    EXPECT_EQ(constant(again, "weight", i), constant(once, "weight", i));
  }
  EXPECT_EQ(constant(again, "lambda"), constant(once, "lambda"));
  EXPECT_EQ(again.output_hints.mpi_io, once.output_hints.mpi_io);
}

}  // namespace
}  // namespace mpimerge::job::test
