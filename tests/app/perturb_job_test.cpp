#include "app/perturb_job.hpp"

#include <stdexcept>

#include <gtest/gtest.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/job/numbers.hpp"
#include "mpimerge/job/parse.hpp"

namespace mpimerge::app {
namespace {

TEST(PerturbJob, ReadsSharesInPerCentOrAsNumbers) {
  EXPECT_EQ(parse_share("20%"), 20);
  EXPECT_EQ(parse_share("0.2"), 20);
  EXPECT_EQ(parse_share("12.5%"), 12.5);
  EXPECT_EQ(parse_share("1"), 100);
  for (const char* text : {"", "%", "0", "0%", "20", "-5%", "101%", "nan", "inf%", "20%%", "20 %"})
    EXPECT_THROW(parse_share(text), std::invalid_argument) << text;
}

TEST(PerturbJob, MeansByTheSmallestAllButTheLargest) {
  Perturbation wanted;
  choose_bottom(parse_share("80%"), wanted);
  EXPECT_TRUE(wanted.bottom);
  EXPECT_EQ(wanted.density, 0.2);  // the very number of --top 20%
  choose_bottom(parse_share("0.7"), wanted);
  EXPECT_EQ(wanted.density, 0.3);
  choose_bottom(100, wanted);
  EXPECT_FALSE(wanted.bottom);
  EXPECT_EQ(wanted.density, 1);
}

TEST(PerturbJob, IsAValidJob) {
  Perturbation wanted{.model = "a \"b\": [c]",
                      .base = "base #1",
                      .density = 0.1,
                      .bottom = true,
                      .drop = true,
                      .probability = 1.0 / 3,
                      .seed = "18446744073709551615"};
  const job::Job job = job::parse_job(perturb_job(wanted), "options of perturb", {});
  EXPECT_EQ(job.method, "perturb");
  EXPECT_EQ(job.base_name, wanted.base);
  ASSERT_EQ(job.tasks.size(), 1);
  EXPECT_EQ(job.tasks[0].path, wanted.model);
  EXPECT_EQ(job.rules.seed, UINT64_MAX);
  EXPECT_EQ(job::constant(job, "density", 0), 0.1);
  EXPECT_EQ(job::constant(job, "probability"), 1.0 / 3);
  EXPECT_EQ(job::constant(job, "bottom"), 1);
  EXPECT_EQ(job::constant(job, "drop"), 1);
}

TEST(PerturbJob, RefusesNamesThatNoJobCanHold) {
  EXPECT_THROW((void)perturb_job({.model = "\xff", .base = "base"}), base::Error);
}

}  // namespace
}  // namespace mpimerge::app
