// Files that were made to exhaust memory, stack or time: each ends in one line.
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "job/support.hpp"

namespace mpimerge::job::test {
namespace {

using testing::HasSubstr;

std::string repeat(std::string_view text, std::size_t times) {
  std::string all;
  all.reserve(text.size() * times);
  for (std::size_t i = 0; i < times; ++i) all += text;
  return all;
}

std::string only_fault(const std::string& yaml) {
  const auto faults = faults_of(yaml);
  EXPECT_EQ(faults.size(), 1U);
  return faults.empty() ? std::string() : faults[0];
}

TEST(HostileJob, ThatMultipliesByAliasesIsRefused) {
  std::string yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 30; ++i) {
    const std::string alias = "*a" + std::to_string(i - 1);
    yaml += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + repeat(alias + ", ", 9) +
            alias + "]\n";
  }
  EXPECT_THAT(only_fault(yaml), HasSubstr("more than 100000 values"));
}

TEST(HostileJob, ThatRepeatsALongListByAliasesIsRefused) {
  EXPECT_THAT(
      only_fault("a: &a [" + repeat("a, ", 1'000) + "a]\nb: [" + repeat("*a, ", 200) + "c]\n"),
      HasSubstr("job.yaml:2: more than 100000 values"));
}

TEST(HostileJob, ThatContainsItselfIsRefused) {
  EXPECT_THAT(only_fault("a: &a [1, *a]\n"),
              HasSubstr("job.yaml:1: an anchor contains an alias of itself"));
}

TEST(HostileJob, ThatNestsTooDeeplyIsRefusedBeforeTheStackEnds) {
  constexpr std::size_t kLevels = 200'000;
  for (const std::string_view opening : {"[", "{a: ", "- ", "? ", "[? "}) {
    SCOPED_TRACE(opening);
    EXPECT_THAT(only_fault(repeat(opening, kLevels)), HasSubstr("nested deeper than 64 levels"));
  }
  std::string block;
  for (std::size_t level = 0; level < 500; ++level) block += std::string(level, ' ') + "a:\n";
  EXPECT_THAT(only_fault(block), HasSubstr("job.yaml:65: lists and maps are nested deeper"));
}

TEST(HostileJob, ThatNestsTooDeeplyByAliasesIsRefused) {
  std::string yaml = "a0: &a0 [x]\n";
  for (int i = 1; i < 100; ++i) {
    yaml += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) +
            "]\n";
  }
  EXPECT_THAT(only_fault(yaml), HasSubstr("nested deeper than 64 levels"));
}

TEST(HostileJob, ThatIsTooLongIsRefused) {
  EXPECT_THAT(only_fault("a: [" + repeat("a, ", 200'000) + "a]\n"),
              HasSubstr("more than 100000 values"));
  std::string keys;
  for (int i = 0; i < 60'000; ++i) keys += "k" + std::to_string(i) + ": 1\n";
  EXPECT_THAT(only_fault(keys), HasSubstr("more than 100000 values"));
}

TEST(HostileJob, WithALongKeyOrValueGetsAShortLine) {
  const auto faults = faults_of(std::string(kSmallest) + "nan: " + std::string(1U << 20U, 'x') +
                                "\n? " + std::string(1U << 20U, 'y') + "\n: 1\n");
  ASSERT_EQ(faults.size(), 2U);
  for (const std::string& fault : faults) EXPECT_LT(fault.size(), 500U);
}

TEST(HostileJob, OfPropertiesAloneIsRefused) {
  EXPECT_THAT(only_fault("a: " + repeat("&a ", 10'000)), HasSubstr("not valid YAML"));
  EXPECT_THAT(only_fault("a: " + repeat("!a ", 10'000)), HasSubstr("not valid YAML"));
}

}  // namespace
}  // namespace mpimerge::job::test
