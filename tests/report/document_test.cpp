#include "mpimerge/report/document.hpp"

#include <cmath>
#include <functional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/base/error.hpp"

#include "report/example.hpp"

namespace mpimerge::report {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ReadDocument, TakesASummaryApart) {
  const Document document = read_document(full_summary().dump(), "merged.h5");

  EXPECT_EQ(document.program, "1.2.3");
  EXPECT_EQ(document.method, "ties");
  EXPECT_EQ(document.ranks, 4U);
  ASSERT_EQ(document.tasks.size(), 2U);
  EXPECT_EQ(document.tasks[0].threshold, 0.001);
  EXPECT_TRUE(std::isnan(*document.tasks[1].threshold));
  EXPECT_EQ(document.tasks[1].parameters.front().second, "by tensor");
  const Report& report = document.report;
  EXPECT_EQ(report.level, "full");
  EXPECT_THAT(report.tasks, ElementsAre("math", "code"));
  EXPECT_EQ(report.tensors, 5U);
  EXPECT_THAT(report.all.kept, ElementsAre(8, 20));
  EXPECT_EQ(report.all.conflicts_after_trim, 4U);
  EXPECT_EQ(report.all.task_vectors[1].norm, 4);
  EXPECT_THAT(report.all.cosine, ElementsAre(0.5));
  EXPECT_TRUE(std::isnan(report.all.average_by_agreement[1]));
  ASSERT_EQ(report.each.size(), 5U);
  EXPECT_EQ(report.each[0].layer, std::nullopt);
  EXPECT_EQ(report.each[2].layer, 1U);
}

TEST(ReadDocument, TakesBasicStatisticsToo) {
  const Document document = read_document(basic_summary().dump(), "merged.h5");

  EXPECT_TRUE(document.report.all.task_vectors.empty());
  EXPECT_EQ(document.report.all.conflicts_before_trim, 4U);
}

TEST(ReadDocument, RefusesWhatIsNotAsItShouldBe) {
  struct Case {
    const char* message;
    std::function<void(ordered_json&)> spoil;
  };
  const auto count_of_first = [](ordered_json& json) -> ordered_json& {
    return json["report"]["tensors"][0]["kept"][1];
  };
  const Case cases[] = {
      {"has no summary of mpimerge", [](ordered_json& json) { json.erase("mpimerge"); }},
      {"has no statistics", [](ordered_json& json) { json.erase("report"); }},
      {"report: `level` is missing", [](ordered_json& json) { json["report"].erase("level"); }},
      {"report.tasks: expected one",
       [](ordered_json& json) { json["report"]["tasks"] = ordered_json::array(); }},
      {"report.tasks[0]: expected text",
       [](ordered_json& json) { json["report"]["tasks"][0] = 7; }},
      {"report.all.kept: expected 2 entries, found 1",
       [](ordered_json& json) { json["report"]["all"]["kept"] = {1}; }},
      {"report.tensors[0].kept[1]: is 11; expected at most 10",
       [&](ordered_json& json) { count_of_first(json) = 11; }},
      {"report.tensors[0].kept[1]: expected a count",
       [&](ordered_json& json) { count_of_first(json) = -1; }},
      {"report.tensors[0].kept[1]: expected a count",
       [&](ordered_json& json) { count_of_first(json) = 1e3; }},
      {"report.tensors[0].kept[1]: expected a count",
       [&](ordered_json& json) { count_of_first(json) = nullptr; }},
      {"report.paired_tasks: is 4294967296; expected at most 2",
       [](ordered_json& json) { json["report"]["paired_tasks"] = 1ULL << 32U; }},
      {"report.all.pairs.cosine: expected 1 entries, found 0",
       [](ordered_json& json) {
         json["report"]["all"]["pairs"]["cosine"] = ordered_json::array();
       }},
      {"report.all.task_vectors[0].norm: expected a number",
       [](ordered_json& json) { json["report"]["all"]["task_vectors"][0]["norm"] = "3"; }},
      {"report.tensors[1]: the sum of all elements overflows",
       [](ordered_json& json) {
         json["report"]["tensors"][0]["elements"] = UINT64_MAX;
         json["report"]["tensors"][1]["elements"] = UINT64_MAX;
       }},
      {"report.all: expected an object", [](ordered_json& json) { json["report"]["all"] = 3; }},
      {"report.tensors: expected a list",
       [](ordered_json& json) { json["report"]["tensors"] = "x"; }},
  };
  for (const Case& one : cases) {
    ordered_json json = full_summary();
    one.spoil(json);
    try {
      read_document(json.dump(), "merged.h5");
      ADD_FAILURE() << "was taken: " << one.message;
    } catch (const base::Error& error) {
      EXPECT_EQ(error.kind(), base::ErrorKind::input);
      EXPECT_THAT(error.what(), HasSubstr(one.message));
      EXPECT_THAT(error.what(), HasSubstr("merged.h5: "));
    }
  }
}

TEST(ReadDocument, RefusesWhatIsNoJson) {
  for (const char* text : {"", "[1, 2]", "{\"mpimerge\": ", "null", "{\"mpimerge\": \"\xff\"}"})
    EXPECT_THROW(read_document(text, "x"), base::Error) << text;
}

}  // namespace
}  // namespace mpimerge::report
