#include "app/summary_file.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "mpimerge/base/error.hpp"

#include "support/temp_dir.hpp"

namespace mpimerge::app {
namespace {

using std::filesystem::path;
using testing::HasSubstr;

std::string content(const path& file) {
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::size_t files_in(const path& directory) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(directory), {}));
}

template <class Call>
std::string output_error(Call&& call) {
  try {
    call();
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), base::ErrorKind::output);
    return error.what();
  }
  return "no error";
}

TEST(SummaryFile, ReplacesAnOlderOne) {
  const test::TempDir dir;
  std::ofstream(dir / "s.json") << "older and longer";

  check_summary_file(dir / "s.json");
  write_summary_file(dir / "s.json", "new");

  EXPECT_EQ(content(dir / "s.json"), "new");
  EXPECT_EQ(files_in(dir.path()), 1U);
}

TEST(SummaryFile, IsNeverWrittenThroughALink) {
  const test::TempDir dir;
  std::ofstream(dir / "precious") << "precious";
  std::filesystem::create_symlink(dir / "precious", dir / "soft.json");
  std::filesystem::create_hard_link(dir / "precious", dir / "hard.json");

  EXPECT_THAT(output_error([&] { check_summary_file(dir / "soft.json"); }), HasSubstr("a link"));
  check_summary_file(dir / "hard.json");
  // The soft one too: it may have come after the check.
  for (const char* name : {"soft.json", "hard.json"}) write_summary_file(dir / name, "new");

  EXPECT_EQ(content(dir / "precious"), "precious");
  for (const char* name : {"soft.json", "hard.json"}) {
    EXPECT_EQ(content(dir / name), "new");
    EXPECT_FALSE(std::filesystem::is_symlink(dir / name));
  }
}

TEST(SummaryFile, RefusesWhatIsNoFile) {
  const test::TempDir dir;
  ASSERT_EQ(::mkfifo((dir / "fifo").c_str(), 0600), 0);
  for (const path& name : {dir / "fifo", path("/dev/null"), path("/dev/stdout"), dir.path()}) {
    EXPECT_THAT(output_error([&] { check_summary_file(name); }), HasSubstr("(--summary)"));
  }
  EXPECT_THAT(output_error([&] { check_summary_file(dir / "nowhere" / "s.json"); }),
              HasSubstr("a directory that exists"));
}

TEST(SummaryFile, LeavesNothingBehindWhereItCannotBe) {
  const test::TempDir dir;
  std::filesystem::create_directory(dir / "s.json");

  EXPECT_THAT(output_error([&] { write_summary_file(dir / "s.json", "new"); }),
              HasSubstr("cannot be written: Is a directory (--summary); the same text is the "
                        "attribute `summary` of the output"));

  EXPECT_EQ(files_in(dir.path()), 1U);
}

TEST(SummaryFile, HasTheModeOfAnOrdinaryNewFile) {
  const test::TempDir dir;
  const mode_t before = ::umask(027);
  write_summary_file(dir / "s.json", "new");
  ::umask(before);

  struct stat status {};
  ASSERT_EQ(::stat((dir / "s.json").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0640U);
}

}  // namespace
}  // namespace mpimerge::app
