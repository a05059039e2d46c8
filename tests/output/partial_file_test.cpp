#include "output/partial_file.hpp"

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "mpimerge/base/error.hpp"

#include "support/temp_dir.hpp"

namespace mpimerge::output {
namespace {

using base::ErrorKind;
using std::filesystem::path;
using testing::HasSubstr;

struct Refusal {
  ErrorKind kind;
  std::string message;
};

Refusal refusal_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const base::Error& error) {
    return {error.kind(), error.what()};
  }
  return {ErrorKind::bug, "no error"};
}

void expect_output_error(const std::function<void()>& call, const std::string& text) {
  const Refusal refusal = refusal_of(call);
  EXPECT_EQ(refusal.kind, ErrorKind::output) << refusal.message;
  EXPECT_THAT(refusal.message, HasSubstr(text));
}

// File permissions do not bind root: as somebody else for a moment.
class AsNobody {
 public:
  AsNobody() {
    if (::geteuid() == 0) changed_ = ::seteuid(65534) == 0;
  }
  ~AsNobody() {
    if (changed_ && ::seteuid(0) != 0) std::abort();
  }
  AsNobody(const AsNobody&) = delete;
  AsNobody& operator=(const AsNobody&) = delete;

 private:
  bool changed_ = false;
};

TEST(MakeWay, AcceptsAFreeNameInTheWorkingDirectory) {
  EXPECT_NO_THROW(make_way("no-such-file.h5", false));
}

TEST(MakeWay, NamesADirectoryThatIsMissing) {
  const test::TempDir dir;
  expect_output_error([&] { make_way(dir / "nowhere" / "a.h5", false); },
                      "nowhere: no such directory for the output");
}

TEST(MakeWay, NamesADirectoryThatIsAFile) {
  const test::TempDir dir;
  std::ofstream(dir / "file") << "x";
  expect_output_error([&] { make_way(dir / "file" / "a.h5", false); }, "file: is not a directory");
  expect_output_error([&] { make_way(dir / "file" / "deeper" / "a.h5", false); }, "deeper: ");
}

TEST(MakeWay, NamesADirectoryThatIsNotWritable) {
  const test::TempDir dir;
  ASSERT_EQ(::chmod(dir.path().c_str(), 0555), 0);
  {
    const AsNobody nobody;
    expect_output_error([&] { make_way(dir / "a.h5", false); },
                        "is not writable: Permission denied");
  }
  ASSERT_EQ(::chmod(dir.path().c_str(), 0755), 0);
}

TEST(MakeWay, RefusesADirectoryOfThatNameEvenToOverwrite) {
  const test::TempDir dir;
  std::filesystem::create_directory(dir / "a.h5");
  std::filesystem::create_directory_symlink(dir / "a.h5", dir / "b.h5");
  expect_output_error([&] { make_way(dir / "a.h5", true); }, "a.h5: is a directory");
  expect_output_error([&] { make_way(dir / "b.h5", true); }, "b.h5: is a directory");
  expect_output_error([&] { make_way(path((dir / "a.h5").string() + "/"), true); },
                      "a.h5/: is a directory");
}

TEST(MakeWay, RefusesAFifoOfThatName) {
  const test::TempDir dir;
  ASSERT_EQ(::mkfifo((dir / "a.h5").c_str(), 0600), 0);
  expect_output_error([&] { make_way(dir / "a.h5", true); }, "a.h5: is not a regular file");
}

TEST(MakeWay, RefusesALinkOfThatNameUnlessToOverwrite) {
  const test::TempDir dir;
  std::filesystem::create_symlink(dir / "nowhere", dir / "a.h5");
  expect_output_error([&] { make_way(dir / "a.h5", false); }, "a.h5: exists; use --overwrite");
  EXPECT_NO_THROW(make_way(dir / "a.h5", true));
}

TEST(MakeWay, RemovesAnOldPartialFileButNothingElseOfThatName) {
  const test::TempDir dir;
  std::ofstream(dir / "a.h5.partial") << "old";
  std::ofstream(dir / "precious") << "x";
  std::filesystem::create_symlink(dir / "precious", dir / "b.h5.partial");

  make_way(dir / "a.h5", false);
  expect_output_error([&] { make_way(dir / "b.h5", true); }, "b.h5.partial: is in the way");

  EXPECT_FALSE(std::filesystem::exists(dir / "a.h5.partial"));
  EXPECT_TRUE(std::filesystem::exists(dir / "precious"));
}

TEST(ReserveSpace, FillsTheHolesOfAFile) {
  const test::TempDir dir;
  std::ofstream(dir / "a.h5.partial") << "x";
  std::filesystem::resize_file(dir / "a.h5.partial", 1'000'000);

  reserve_space(dir / "a.h5.partial");

  struct stat status {};
  ASSERT_EQ(::stat((dir / "a.h5.partial").c_str(), &status), 0);
  EXPECT_EQ(status.st_size, 1'000'000);
  EXPECT_GE(status.st_blocks * 512, 1'000'000);
}

TEST(ReserveSpace, TellsWhatIsNeededAndWhatIsFree) {
  const test::TempDir dir;
  struct statvfs space {};
  ASSERT_EQ(::statvfs(dir.path().c_str(), &space), 0);
  const auto size = space.f_blocks * space.f_frsize + (1U << 30U);
  std::ofstream(dir / "a.h5.partial") << "x";
  std::filesystem::resize_file(dir / "a.h5.partial", size);

  const Refusal refusal = refusal_of([&] { reserve_space(dir / "a.h5.partial"); });

  EXPECT_EQ(refusal.kind, ErrorKind::resources);
  EXPECT_THAT(refusal.message,
              testing::MatchesRegex(".*a.h5.partial: needs .*B, but .* are free in .*"));
}

TEST(ReserveSpace, DoesNotFollowALink) {
  const test::TempDir dir;
  std::ofstream(dir / "precious") << "x";
  std::filesystem::create_symlink(dir / "precious", dir / "a.h5.partial");
  expect_output_error([&] { reserve_space(dir / "a.h5.partial"); },
                      "a.h5.partial: cannot be opened");
}

TEST(RenamePartial, ReplacesOnlyWhenAskedTo) {
  const test::TempDir dir;
  std::ofstream(dir / "a.h5.partial") << "new";
  std::ofstream(dir / "a.h5") << "precious";

  expect_output_error([&] { rename_partial(dir / "a.h5", false); }, "stays as");
  EXPECT_EQ(std::filesystem::file_size(dir / "a.h5"), 8U);

  rename_partial(dir / "a.h5", true);
  EXPECT_EQ(std::filesystem::file_size(dir / "a.h5"), 3U);
  EXPECT_FALSE(std::filesystem::exists(dir / "a.h5.partial"));
}

TEST(RenamePartial, TakesAFreeName) {
  const test::TempDir dir;
  std::ofstream(dir / "a.h5.partial") << "new";
  rename_partial(dir / "a.h5", false);
  EXPECT_EQ(std::filesystem::file_size(dir / "a.h5"), 3U);
}

}  // namespace
}  // namespace mpimerge::output
