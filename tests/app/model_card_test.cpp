#include "app/model_card.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mpimerge::app {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

job::Job some_job() {
  job::Job job;
  job.base_name = "org/base";
  job.tasks.resize(2);
  job.tasks[0].name = "org/math";
  job.tasks[1].name = "code|`x`";
  job.tasks[1].parameters["density"] = method::Setting(0.35);
  job.tasks[1].parameters["weight"] = method::Setting(-2);
  job.text = "merge_method: ties\nbase_model: org/base";
  return job;
}

TEST(ModelCard, BeginsWithWhatTheHubReads) {
  EXPECT_THAT(model_card(some_job(), "merged"), StartsWith(R"(---
base_model:
- "org/base"
- "org/math"
- "code|`x`"
library_name: transformers
tags:
- mpimerge
- merge
---

# merged

Merged by mpimerge )"));
}

TEST(ModelCard, QuotesNamesSoThatYamlTakesThemAsTheyAre) {
  job::Job job = some_job();
  job.base_name = "a: \"b\"\n- c #";
  EXPECT_THAT(model_card(job, "merged"),
              StartsWith("---\nbase_model:\n- \"a: \\\"b\\\"\\n- c #\"\n"));
}

TEST(ModelCard, ListsTheModelsWithTheirParameters) {
  const std::string card = model_card(some_job(), "merged");
  EXPECT_THAT(card, HasSubstr("| `org/math` | 1 | 0.2 |\n"));
  EXPECT_THAT(card, HasSubstr("| `` code\\|`x` `` | -2 | 0.35 |\n"));
  EXPECT_THAT(card, HasSubstr("Yadav et al. 2023"));
}

TEST(ModelCard, EndsWithTheJobInABlockThatItCannotClose) {
  job::Job job = some_job();
  EXPECT_THAT(model_card(job, "merged"),
              EndsWith("\n```yaml\nmerge_method: ties\nbase_model: org/base\n```\n"));
  job.text = "# ```` \nmerge_method: ties\n";
  EXPECT_THAT(model_card(job, "merged"),
              EndsWith("\n`````yaml\n# ```` \nmerge_method: ties\n`````\n"));
}

}  // namespace
}  // namespace mpimerge::app
