#include "mpimerge/job/hub.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "job/support.hpp"
#include "support/temp_dir.hpp"

namespace mpimerge::job::test {
namespace {

using testing::HasSubstr;

constexpr std::string_view kVariables[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME",
                                           "XDG_CACHE_HOME", "HOME"};

/// No cache but what a test makes: the variables that name one are gone until its end.
class Hub : public testing::Test {
 protected:
  Hub() {
    for (const std::string_view name : kVariables) {
      const char* const value = std::getenv(name.data());
      saved_.emplace_back(value == nullptr ? "" : value);
      ::unsetenv(name.data());
    }
  }
  ~Hub() override {
    for (std::size_t i = 0; i < saved_.size(); ++i) set(kVariables[i], saved_[i]);
  }

  static void set(std::string_view name, const std::string& value) {
    if (value.empty()) {
      ::unsetenv(name.data());
    } else {
      ::setenv(name.data(), value.c_str(), 1);
    }
  }

  /// A model in the cache at `hub`, with one snapshot that `reference` names.
  static void fetch(const std::filesystem::path& hub, const std::string& directory,
                    const std::string& commit, const std::string& reference) {
    std::filesystem::create_directories(hub / directory / "snapshots" / commit);
    const auto file = hub / directory / "refs" / reference;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << commit << '\n';
  }

  mpimerge::test::TempDir temp_;

 private:
  std::vector<std::string> saved_;
};

TEST_F(Hub, NamesAreAnOrganisationAndAName) {
  ASSERT_TRUE(parse_hub_model("org/Name-7B_v0.1"));
  EXPECT_EQ(parse_hub_model("org/name")->revision, "");
  EXPECT_EQ(parse_hub_model("org/name@refs/pr/1")->id, "org/name");
  EXPECT_EQ(parse_hub_model("org/name@refs/pr/1")->revision, "refs/pr/1");
  for (const std::string_view text :
       {"name", "a/b/c", "/a/b", "./a", "../a", "a/", "/a", "a/..", "-a/b", "a/b@", "a/b@../c",
        "a/b@/c", "a/b@c@d", "a/b c", "a/b+c", "~/a", ""}) {
    EXPECT_FALSE(parse_hub_model(text)) << text;
  }
}

TEST_F(Hub, CacheIsWhereTheVariablesOfTheHubSay) {
  set("HOME", "/home/me");
  EXPECT_EQ(hub_cache(), "/home/me/.cache/huggingface/hub");
  set("XDG_CACHE_HOME", "/caches");
  EXPECT_EQ(hub_cache(), "/caches/huggingface/hub");
  set("HF_HOME", "~/hf");
  EXPECT_EQ(hub_cache(), "/home/me/hf/hub");
  set("HF_HOME", "/hf");
  EXPECT_EQ(hub_cache(), "/hf/hub");
  set("HUGGINGFACE_HUB_CACHE", "/old");
  EXPECT_EQ(hub_cache(), "/old");
  set("HF_HUB_CACHE", "/new");
  EXPECT_EQ(hub_cache(), "/new");
}

TEST_F(Hub, ModelsAreFoundByBranchAndByCommit) {
  set("HF_HOME", temp_.path().string());
  const auto hub = temp_ / "hub";
  fetch(hub, "models--org--name", "abc123", "main");
  fetch(hub, "models--org--name", "def456", "refs/pr/1");
  const auto snapshots = hub / "models--org--name" / "snapshots";
  EXPECT_EQ(find_in_hub_cache({"org/name", ""}), snapshots / "abc123");
  EXPECT_EQ(find_in_hub_cache({"org/name", "def456"}), snapshots / "def456");
  EXPECT_EQ(find_in_hub_cache({"org/name", "refs/pr/1"}), snapshots / "def456");
  EXPECT_EQ(find_in_hub_cache({"org/name", "v2"}), std::nullopt);
  EXPECT_EQ(find_in_hub_cache({"org/other", ""}), std::nullopt);
}

TEST_F(Hub, AReferenceThatLeadsOutOfTheCacheIsNone) {
  set("HF_HUB_CACHE", temp_.path().string());
  std::filesystem::create_directories(temp_ / "models--org--name" / "snapshots");
  std::filesystem::create_directories(temp_ / "models--org--name" / "refs");
  std::ofstream(temp_ / "models--org--name" / "refs" / "main") << "../..";
  EXPECT_EQ(find_in_hub_cache({"org/name", ""}), std::nullopt);
}

TEST_F(Hub, ModelsOfAJobAreTakenFromTheCache) {
  set("HF_HUB_CACHE", temp_.path().string());
  fetch(temp_.path(), "models--org--base", "abc123", "main");
  fetch(temp_.path(), "models--org--math", "def456", "v2");
  fetch(temp_.path(), "models--org--math", "789abc", "main");
  const Job job = parse(
      "merge_method: ties\nbase_model: org/base\nmodels:\n  - model: org/math@v2\n"
      "  - model: {model: {path: org/math, revision: 789abc}}\n  - model: {model: law}\n");
  EXPECT_EQ(job.base_name, "org/base");
  EXPECT_EQ(job.base_path, (temp_ / "models--org--base/snapshots/abc123").string());
  EXPECT_EQ(job.tasks[0].name, "org/math@v2");
  EXPECT_EQ(job.tasks[0].path, (temp_ / "models--org--math/snapshots/def456").string());
  EXPECT_EQ(job.tasks[1].path, (temp_ / "models--org--math/snapshots/789abc").string());
  EXPECT_EQ(job.tasks[2].path, "dir/law");
}

TEST_F(Hub, APathComesFirst) {
  set("HF_HUB_CACHE", temp_.path().string());
  fetch(temp_.path(), "models--org--base", "abc123", "main");
  std::filesystem::create_directories(temp_ / "org/base");
  std::filesystem::create_directories(temp_ / "org/base@main+x");
  const Job job =
      parse_job("merge_method: ties\nbase_model: org/base\nmodels: [{model: org/base@main+x}]\n",
                temp_ / "job.yaml", {});
  EXPECT_EQ(job.base_path, (temp_ / "org/base").string());
  EXPECT_EQ(job.tasks[0].path, (temp_ / "org/base@main+x").string());
}

TEST_F(Hub, ARevisionThatIsNotInTheCacheIsAFault) {
  set("HF_HUB_CACHE", "/cache");
  const auto faults =
      faults_of("merge_method: ties\nbase_model: base\nmodels:\n  - model: org/math@v2\n");
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_EQ(
      faults[0],
      "dir/job.yaml:4: models.0.model: `org/math@v2` is neither a path nor in the Hub's cache "
      "(/cache/models--org--math); mpimerge fetches nothing; `hf download "
      "org/math --revision v2` does");
}

TEST_F(Hub, AdaptersGoAlongWithModels) {
  for (const std::string_view reference :
       {"org/math+org/adapter", "{model: {path: org/math}, lora: {path: org/adapter}}"}) {
    const Job job = parse("merge_method: ties\nbase_model: base\nmodels:\n  - model: " +
                          std::string(reference) + "\n");
    EXPECT_EQ(job.tasks.at(0).name, "org/math+org/adapter");
    EXPECT_EQ(job.tasks[0].path, "dir/org/math");
    EXPECT_EQ(job.tasks[0].adapter, "dir/org/adapter");
  }
}

TEST_F(Hub, TheBaseTakesNoAdapter) {
  for (const std::string_view reference :
       {"org/math+org/adapter", "{model: {path: a}, lora: {path: b}}"}) {
    const auto faults = faults_of("merge_method: ties\nbase_model: " + std::string(reference) +
                                  "\nmodels:\n  - model: a\n");
    ASSERT_EQ(faults.size(), 1U) << testing::PrintToString(faults);
    EXPECT_THAT(faults[0], HasSubstr("dir/job.yaml:2: base_model"));
    EXPECT_THAT(faults[0], HasSubstr("into its model first"));
  }
}

}  // namespace
}  // namespace mpimerge::job::test
