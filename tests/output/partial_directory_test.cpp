#include "output/partial_directory.hpp"

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "mpimerge/base/error.hpp"

#include "support/temp_dir.hpp"

namespace mpimerge::output {
namespace {

using base::ErrorKind;
using std::filesystem::create_directory;
using std::filesystem::exists;
using std::filesystem::path;
using testing::HasSubstr;

constexpr const char* kMarker = "summary";

bool is_ours(const std::string& name) { return name == kMarker || name == "weights"; }

void make_way(const path& name, bool overwrite) {
  make_way_for_directory(name, overwrite, kMarker, is_ours);
}

void put(const path& file) { std::ofstream(file) << "x"; }

void make_ours(const path& name) {
  create_directory(name);
  put(name / kMarker);
  put(name / "weights");
}

void expect_output_error(const std::function<void()>& call, const std::string& text) {
  ErrorKind kind = ErrorKind::bug;
  std::string message = "no error";
  try {
    call();
  } catch (const base::Error& error) {
    kind = error.kind();
    message = error.what();
  }
  EXPECT_EQ(kind, ErrorKind::output) << message;
  EXPECT_THAT(message, HasSubstr(text));
}

TEST(DirectoryName, HasNoSlashAtItsEnd) {
  EXPECT_EQ(directory_name("merged"), "merged");
  EXPECT_EQ(directory_name("merged/"), "merged");
  EXPECT_EQ(directory_name("/scratch/merged/"), "/scratch/merged");
}

TEST(DirectoryName, RefusesNamesOfWhatIsAlwaysThere) {
  for (const char* name : {".", "..", "/", "a/.", "a/..", "./", ""})
    expect_output_error([&] { directory_name(name); }, "is not the name of a directory");
}

TEST(MakeWayForDirectory, AcceptsAFreeName) {
  const test::TempDir dir;
  EXPECT_NO_THROW(make_way(dir / "a", false));
  expect_output_error([&] { make_way(dir / "nowhere" / "a", false); },
                      "nowhere: no such directory for the output");
}

TEST(MakeWayForDirectory, RefusesADirectoryThatExistsUnlessToOverwrite) {
  const test::TempDir dir;
  make_ours(dir / "a");
  create_directory(dir / "empty");
  for (const char* name : {"a", "empty"}) {
    expect_output_error([&] { make_way(dir / name, false); }, "exists; use --overwrite");
    EXPECT_NO_THROW(make_way(dir / name, true)) << name;
    EXPECT_TRUE(exists(dir / name));
  }
}

TEST(MakeWayForDirectory, RefusesToOverwriteWhatMpimergeDidNotWrite) {
  const test::TempDir dir;
  create_directory(dir / "model");
  put(dir / "model" / "weights");
  expect_output_error([&] { make_way(dir / "model", true); },
                      "is a directory that mpimerge did not write (it has no summary)");
  make_ours(dir / "file");
  put(dir / "file" / "notes");
  expect_output_error([&] { make_way(dir / "file", true); }, "holds `notes`");
  make_ours(dir / "folder");
  std::filesystem::remove(dir / "folder" / "weights");
  create_directory(dir / "folder" / "weights");
  expect_output_error([&] { make_way(dir / "folder", true); }, "holds `weights`");
}

TEST(MakeWayForDirectory, RefusesWhatIsNoDirectory) {
  const test::TempDir dir;
  put(dir / "file");
  make_ours(dir / "a");
  std::filesystem::create_directory_symlink(dir / "a", dir / "link");
  for (const char* name : {"file", "link"})
    expect_output_error([&] { make_way(dir / name, true); }, "exists and is not a directory");
}

TEST(MakeWayForDirectory, RemovesThePartialDirectoryOfAnEarlierRun) {
  const test::TempDir dir;
  create_directory(dir / "a.partial");
  put(dir / "a.partial" / "weights");
  make_way(dir / "a", false);
  EXPECT_FALSE(exists(dir / "a.partial"));
}

TEST(MakeWayForDirectory, LeavesAPartialDirectoryThatHoldsSomethingElse) {
  const test::TempDir dir;
  make_ours(dir / "a.partial");
  put(dir / "a.partial" / "notes");
  put(dir / "b.partial");
  expect_output_error([&] { make_way(dir / "a", false); }, "a.partial: holds `notes`");
  expect_output_error([&] { make_way(dir / "b", false); }, "b.partial: is in the way");
  EXPECT_TRUE(exists(dir / "a.partial" / "weights"));
  EXPECT_TRUE(exists(dir / "b.partial"));
}

TEST(CheckWayForDirectory, WantsThePartialDirectoryAndKeepsIt) {
  const test::TempDir dir;
  const auto check_way = [&](const char* name, bool overwrite) {
    check_way_for_directory(dir / name, overwrite, kMarker, is_ours);
  };
  expect_output_error([&] { check_way("a", false); }, "a.partial: the partial directory of the");
  put(dir / "b.partial");
  expect_output_error([&] { check_way("b", false); }, "b.partial: is in the way");
  create_directory(dir / "a.partial");
  EXPECT_NO_THROW(check_way("a", false));
  make_ours(dir / "a");
  expect_output_error([&] { check_way("a", false); }, "exists; use --overwrite");
  EXPECT_NO_THROW(check_way("a", true));
  EXPECT_TRUE(exists(dir / "a.partial"));
}

TEST(RemoveDirectory, LeavesWhatIsNotOurs) {
  const test::TempDir dir;
  make_ours(dir / "a");
  put(dir / "a" / "notes");
  EXPECT_FALSE(remove_directory(dir / "a", is_ours));
  EXPECT_FALSE(exists(dir / "a" / "weights"));
  EXPECT_TRUE(exists(dir / "a" / "notes"));
  std::filesystem::remove(dir / "a" / "notes");
  EXPECT_TRUE(remove_directory(dir / "a", is_ours));
  EXPECT_FALSE(exists(dir / "a"));
}

TEST(WriteTextFile, MakesANewFileOnly) {
  const test::TempDir dir;
  const std::string text = std::string(100'000, 'x') + '\0';
  write_text_file(dir / "a", text);
  EXPECT_EQ(std::filesystem::file_size(dir / "a"), text.size());
  expect_output_error([&] { write_text_file(dir / "a", ""); }, "a: cannot be made: File exists");
}

TEST(RenamePartialDirectory, TakesAFreeNameOnly) {
  const test::TempDir dir;
  make_ours(dir / "a.partial");
  rename_partial_directory(dir / "a", false, is_ours);
  EXPECT_TRUE(exists(dir / "a" / "weights"));
  EXPECT_FALSE(exists(dir / "a.partial"));

  create_directory(dir / "b");
  make_ours(dir / "b.partial");
  expect_output_error([&] { rename_partial_directory(dir / "b", false, is_ours); }, "stays as");
  EXPECT_TRUE(exists(dir / "b.partial" / "weights"));
}

TEST(RenamePartialDirectory, TakesTheOldOnesPlaceWhenAskedTo) {
  const test::TempDir dir;
  make_ours(dir / "a");
  put(dir / "a" / "older");
  make_ours(dir / "a.partial");
  rename_partial_directory(dir / "a", true, [](const std::string&) { return true; });
  EXPECT_TRUE(exists(dir / "a" / "weights"));
  EXPECT_FALSE(exists(dir / "a" / "older"));
  EXPECT_FALSE(exists(dir / "a.partial"));
}

TEST(RenamePartialDirectory, ToOverwriteNothingIsFine) {
  const test::TempDir dir;
  make_ours(dir / "a.partial");
  rename_partial_directory(dir / "a", true, is_ours);
  EXPECT_TRUE(exists(dir / "a" / "weights"));
}

TEST(RenamePartialDirectory, KeepsWhatCameIntoTheOldOneMeanwhile) {
  const test::TempDir dir;
  make_ours(dir / "a");
  put(dir / "a" / "notes");
  make_ours(dir / "a.partial");
  rename_partial_directory(dir / "a", true, is_ours);
  EXPECT_TRUE(exists(dir / "a" / "weights"));
  EXPECT_TRUE(exists(dir / "a.partial" / "notes"));
}

}  // namespace
}  // namespace mpimerge::output
