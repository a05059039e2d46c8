#include "mpimerge/base/log.hpp"

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "mpimerge/base/error.hpp"

#include "support/temp_dir.hpp"

namespace mpimerge::base {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

template <class Function>
std::string stderr_of(Function&& function) {
  testing::internal::CaptureStderr();
  function();
  log().flush();
  return testing::internal::GetCapturedStderr();
}

void say_everything() {
  log().debug("a detail");
  log().info("a phase");
  log().warn("a doubt");
}

TEST(Log, RankZeroTellsPhasesButNoDetails) {
  start_log(0, 4, Verbosity::normal);

  EXPECT_THAT(stderr_of(say_everything),
              AllOf(HasSubstr("a phase"), HasSubstr("a doubt"), Not(HasSubstr("a detail"))));
}

TEST(Log, QuietLeavesWarnings) {
  start_log(0, 4, Verbosity::quiet);

  EXPECT_THAT(stderr_of(say_everything), AllOf(HasSubstr("a doubt"), Not(HasSubstr("a phase"))));
}

TEST(Log, VerboseTellsDetails) {
  start_log(0, 4, Verbosity::verbose);

  EXPECT_THAT(stderr_of(say_everything), AllOf(HasSubstr("a detail"), HasSubstr("a phase")));
}

TEST(Log, OtherRanksOnlyWarnAndSayWhoTheyAre) {
  for (const Verbosity verbosity : {Verbosity::quiet, Verbosity::normal, Verbosity::verbose}) {
    start_log(3, 4, verbosity);

    EXPECT_THAT(stderr_of(say_everything),
                AllOf(HasSubstr("[3/4]"), HasSubstr("a doubt"), Not(HasSubstr("a phase"))));
  }
}

TEST(Log, WritesNothingToStdout) {
  start_log(0, 1, Verbosity::verbose);
  testing::internal::CaptureStdout();

  const std::string err = stderr_of(say_everything);

  EXPECT_THAT(testing::internal::GetCapturedStdout(), IsEmpty());
  EXPECT_THAT(err, Not(IsEmpty()));
}

TEST(LogFile, IsNeitherALinkNorWaitedFor) {
  const test::TempDir dir;
  std::ofstream(dir / "precious") << "precious";
  const auto refusal = [&] {
    try {
      add_log_file(dir.path(), 3, 11);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::output);
      return std::string(error.what());
    }
    return std::string("no error");
  };

  std::filesystem::create_symlink(dir / "precious", dir / "rank-03.log");
  EXPECT_THAT(refusal(), HasSubstr("rank-03.log: is a directory, a link"));
  std::filesystem::remove(dir / "rank-03.log");
  ASSERT_EQ(::mkfifo((dir / "rank-03.log").c_str(), 0600), 0);
  EXPECT_THAT(refusal(), HasSubstr("rank-03.log: is a directory, a link"));

  EXPECT_EQ(std::filesystem::file_size(dir / "precious"), 8U);
}

}  // namespace
}  // namespace mpimerge::base
