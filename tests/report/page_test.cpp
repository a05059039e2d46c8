#include "mpimerge/report/page.hpp"

#include <regex>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/example.hpp"

namespace mpimerge::report {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::string page_of(const ordered_json& summary, const std::string& title = "merged.h5") {
  Document document = read_document(summary.dump(), "merged.h5");
  document.title = title;
  return page(document);
}

std::vector<std::string> figures_of(const std::string& page) {
  std::vector<std::string> found;
  const std::regex figure("<figure id=\"([a-z-]+)\">");
  for (std::sregex_iterator match(page.begin(), page.end(), figure), end; match != end; ++match)
    found.push_back((*match)[1]);
  return found;
}

TEST(Page, ShowsWhatWasCounted) {
  EXPECT_THAT(figures_of(page_of(full_summary())),
              ElementsAre("conflicts-before", "conflicts-after", "conflicts-by-tasks", "agreement",
                          "kept-by-layer", "norm-share", "cosines", "sign-agreement",
                          "cosines-by-layer", "magnitude-by-agreement", "norms-by-layer"));
}

TEST(Page, OfBasicStatisticsSaysHowToGetTheRest) {
  const std::string made = page_of(basic_summary());

  EXPECT_THAT(figures_of(made),
              ElementsAre("conflicts-before", "conflicts-after", "kept-by-layer"));
  EXPECT_THAT(made, HasSubstr("<code>report: full</code>"));
  EXPECT_THAT(page_of(full_summary()), Not(HasSubstr("<code>report: full</code>")));
}

TEST(Page, OfAMethodWithoutATrimLeavesItOut) {
  ordered_json summary = full_summary();
  const auto untrim = [](ordered_json& row) {
    for (const char* key : {"kept", "signs"}) row.erase(key);
    for (const char* key : {"conflicts", "conflicts_by_tasks", "agreement"})
      row[key].erase("after_trim");
    for (ordered_json& vector : row["task_vectors"]) vector.erase("norm_kept");
  };
  summary["report"]["trimmed"] = false;
  untrim(summary["report"]["all"]);
  for (ordered_json& tensor : summary["report"]["tensors"]) untrim(tensor);

  const std::string made = page_of(summary);

  EXPECT_THAT(figures_of(made),
              ElementsAre("conflicts-before", "conflicts-by-tasks", "agreement", "norm-share",
                          "cosines", "sign-agreement", "cosines-by-layer", "magnitude-by-agreement",
                          "norms-by-layer"));
  EXPECT_THAT(made, Not(HasSubstr("before the trim")));
}

TEST(Page, NeedsNothingFromElsewhereAndRunsNothing) {
  const std::string made = page_of(full_summary());

  for (const char* part :
       {"http://", "https://", "src=", "url(", "@import", "<script", "<link", "onload"})
    EXPECT_THAT(made, Not(HasSubstr(part)));
  EXPECT_THAT(made, HasSubstr("content=\"default-src 'none'; style-src 'unsafe-inline'\""));
}

// Names come from files of anybody: of tasks, of tensors, of the output, of the job.
TEST(Page, NamesCannotBeMarkup) {
  const std::string evil =
      "</title></style></pre>\"><script>alert(1)</script><img src=x onerror='x'>\xc2\x85\x1b";
  ordered_json summary = full_summary();
  summary["mpimerge"] = evil;
  summary["method"] = evil;
  summary["tasks"][0]["name"] = evil;
  summary["tasks"][0][evil] = evil;
  summary["phases"][0]["name"] = evil;
  summary["provenance"] = {{"inputs", {{{"path", evil}}}}, {"runs", {{{"started", evil}}}}};
  summary["report"]["tasks"][1] = evil;
  for (ordered_json& tensor : summary["report"]["tensors"]) {
    tensor["name"] = evil;
    tensor["kind"] = evil + tensor["kind"].get<std::string>();
  }
  Document document = read_document(summary.dump(), "merged.h5");
  document.title = evil;
  document.job = "a: 1\n" + evil + "\n";

  const std::string made = page(document);

  for (const char* part : {"<script", "<img", "\">\"><", "\x1b", "\xc2\x85", "onerror='"})
    EXPECT_THAT(made, Not(HasSubstr(part)));
  // One of each, which are the page's own.
  for (const char* part : {"</title></style>", "</style></pre>"})
    EXPECT_THAT(made, Not(HasSubstr(part)));
  EXPECT_THAT(made, HasSubstr("&lt;script&gt;alert(1)"));
}

TEST(Page, HasTheNumbersInItsTables) {
  const std::string made = page_of(full_summary());

  // Layer 1: 4 of 20 elements in conflict, kept (5 + 6) / 2 of 20.
  EXPECT_THAT(
      made,
      HasSubstr(
          "<th scope=\"row\"><code>h.<wbr>1</code></th><td class=\"n\" data-value=\"3\">3</td>"
          "<td class=\"n\" data-value=\"20\">20</td><td class=\"n\" data-value=\"0.2\">"));
  EXPECT_THAT(made, HasSubstr("data-value=\"0.275\""));
  EXPECT_THAT(made, HasSubstr("<div><dt>in conflict before the trim</dt><dd "
                              "data-value=\"0.25\">25.0\u202f%</dd></div>"));
}

TEST(Page, LeavesOutDirectoriesThatAllTasksAreIn) {
  ordered_json summary = full_summary();
  summary["report"]["level"] = "compare";
  summary["report"]["tasks"] = {"runs/a/math", "runs/a/code"};

  const std::string made = page_of(summary, "base");

  EXPECT_THAT(made, HasSubstr("<code>math</code>"));
  EXPECT_THAT(made, Not(HasSubstr("runs/a")));
  EXPECT_THAT(made, HasSubstr("<h1>Task vectors against base</h1>"));
}

TEST(Page, OfNoElementsHasNoNumbers) {
  ordered_json summary = summary_of("basic", basic_row(0, {0, 0}, 0, 0), ordered_json::array());
  summary["report"]["all"]["signs"] = {
      {"positive", 0}, {"negative", 0}, {"cancelled", 0}, {"untouched", 0}};

  EXPECT_THAT(page_of(summary), Not(HasSubstr("nan")));
}

TEST(Page, ListsTenThousandTensorsAtMost) {
  ordered_json tensors = ordered_json::array();
  for (int number = 0; number < 10'002; ++number)
    tensors.push_back(
        tensor(basic_row(10, {2, 5}, 4, 2), "t" + std::to_string(number), nullptr, "t"));
  ordered_json all = basic_row(100'020, {20'004, 50'010}, 40'008, 20'004);

  const std::string made = page_of(summary_of("basic", all, tensors));

  EXPECT_THAT(made, HasSubstr("<code>t9999</code>"));
  EXPECT_THAT(made, Not(HasSubstr("<code>t10000</code>")));
  EXPECT_THAT(made, HasSubstr("The other 2 tensors are in the JSON"));
}

}  // namespace
}  // namespace mpimerge::report
