#include "mpimerge/hdf5/file.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <sys/stat.h>

#include "mpimerge/hdf5/attribute.hpp"
#include "mpimerge/hdf5/dataset.hpp"

#include "support/temp_dir.hpp"

namespace mpimerge::hdf5 {
namespace {

using base::Bytes;
using base::Dtype;
using base::Elements;
using testing::HasSubstr;

template <class Call>
std::string failure_of(Call&& call) {
  try {
    call();
  } catch (const Failure& failure) {
    return failure.what();
  }
  return "no failure";
}

TEST(CreateFile, LeavesAnExistingFileAlone) {
  const test::TempDir dir;
  std::ofstream(dir / "a.h5") << "precious";

  EXPECT_THAT(failure_of([&] { create_file(dir / "a.h5", Bytes{1}); }), HasSubstr("File exists"));

  EXPECT_EQ(std::filesystem::file_size(dir / "a.h5"), 8U);
}

TEST(CreateFile, DoesNotFollowASymbolicLink) {
  const test::TempDir dir;
  std::filesystem::create_symlink(dir / "elsewhere.h5", dir / "a.h5");

  EXPECT_THROW(create_file(dir / "a.h5", Bytes{1}), Failure);

  EXPECT_FALSE(std::filesystem::exists(dir / "elsewhere.h5"));
}

TEST(CreateFile, GivesThePermissionsThatTheUmaskLeaves) {
  const test::TempDir dir;
  const mode_t before = ::umask(027);

  close_file(create_file(dir / "a.h5", Bytes{1}));
  ::umask(before);

  struct stat status {};
  ASSERT_EQ(::stat((dir / "a.h5").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0640U);
}

TEST(CreateFile, SaysWhyItCouldNot) {
  const test::TempDir dir;
  EXPECT_EQ(failure_of([&] { create_file(dir / "missing" / "a.h5", Bytes{1}); }),
            "HDF5 could not create the file: No such file or directory");
}

TEST(OpenFile, SaysThatAFileIsNotHdf5) {
  const test::TempDir dir;
  std::ofstream(dir / "a.h5") << std::string(4096, 'x');
  EXPECT_EQ(failure_of([&] { open_file(dir / "a.h5", Access::read); }),
            "HDF5 could not open the file: file signature not found");
}

class Attributes : public testing::Test {
 protected:
  test::TempDir dir_;
  File file_ = create_file(dir_ / "a.h5", Bytes{1});
};

TEST_F(Attributes, HoldTextsOfAnyLength) {
  const std::string longest(300'000, 'j');
  write_text(file_.get(), "empty", "");
  write_text(file_.get(), "umlaut", "größer: Ωé\n");
  write_text(file_.get(), "longest", longest);
  close_file(std::move(file_));

  const File again = open_file(dir_ / "a.h5", Access::read);
  EXPECT_EQ(read_text(again.get(), "empty"), "");
  EXPECT_EQ(read_text(again.get(), "umlaut"), "größer: Ωé\n");
  EXPECT_EQ(read_text(again.get(), "longest"), longest);
}

TEST_F(Attributes, RefuseTextThatHdf5WouldCut) {
  EXPECT_THAT(failure_of([&] { write_text(file_.get(), "job", std::string("a\0b", 3)); }),
              HasSubstr("`job` would have a NUL"));
}

TEST_F(Attributes, ChangeANumberInPlace) {
  write_number(file_.get(), "complete", 0);
  write_number(file_.get(), "complete", 1);
  write_number(file_.get(), "least", std::numeric_limits<std::int64_t>::min());
  close_file(std::move(file_));

  const File again = open_file(dir_ / "a.h5", Access::read);
  EXPECT_EQ(read_number(again.get(), "complete"), 1);
  EXPECT_EQ(read_number(again.get(), "least"), std::numeric_limits<std::int64_t>::min());
}

TEST_F(Attributes, AreNamedWhereTheyAreMissingOrOfAnotherKind) {
  write_number(file_.get(), "number", 1);
  write_text(file_.get(), "text", "1");
  EXPECT_EQ(failure_of([&] { read_text(file_.get(), "nothing"); }),
            "the attribute `nothing` is missing");
  EXPECT_THAT(failure_of([&] { read_text(file_.get(), "number"); }),
              HasSubstr("`number` is not text"));
  EXPECT_THAT(failure_of([&] { read_number(file_.get(), "text"); }),
              HasSubstr("`text` is not an integer"));
}

class Paths : public testing::Test {
 protected:
  Paths() { create_group(file_, "/tensors"); }

  std::vector<std::string> paths_in(const std::string& group) {
    std::vector<std::string> paths;
    for_each_dataset(file_, group, [&](const std::string& path, const Dataset& dataset) {
      EXPECT_TRUE(shape(dataset).empty());
      paths.push_back(path);
    });
    return paths;
  }

  // As a checkpoint is opened: opening a FIFO to read it would wait for somebody who writes.
  void reopen_for_reading() {
    file_.reset();
    file_ = open_file(dir_ / "a.h5", Access::read);
  }

  test::TempDir dir_;
  File file_ = create_file(dir_ / "a.h5", Bytes{1});
};

TEST_F(Paths, AreThoseOfTheDatasetsInGroupsToo) {
  create_small(file_, "/tensors/a", Dtype::f32, {});
  create_small(file_, "/tensors/b/c/d", Dtype::f32, {});
  create_small(file_, "/tensors/größe/ö", Dtype::f32, {});
  create_small(file_, "/elsewhere", Dtype::f32, {});
  create_group(file_, "/tensors/nothing");

  EXPECT_THAT(paths_in("/tensors"), testing::UnorderedElementsAre("a", "b/c/d", "größe/ö"));
}

TEST_F(Paths, AreRefusedBehindALink) {
  H5Lcreate_external("/etc/other.h5", "/x", file_.get(), "/tensors/outside", H5P_DEFAULT,
                     H5P_DEFAULT);
  EXPECT_THAT(failure_of([&] { paths_in("/tensors"); }),
              HasSubstr("/tensors/outside is a soft or external link"));
}

TEST_F(Paths, AreRefusedInAGroupBehindALink) {
  ASSERT_EQ(::mkfifo((dir_ / "fifo").c_str(), 0600), 0);
  H5Lcreate_external((dir_ / "fifo").c_str(), "/x", file_.get(), "/outside", H5P_DEFAULT,
                     H5P_DEFAULT);
  H5Lcreate_soft("/tensors", file_.get(), "/also", H5P_DEFAULT, H5P_DEFAULT);
  reopen_for_reading();

  EXPECT_EQ(failure_of([&] { paths_in("/outside"); }), "/outside is a soft or external link");
  EXPECT_EQ(failure_of([&] { paths_in("/also"); }), "/also is a soft or external link");
}

TEST_F(Paths, AreRefusedForAVirtualDatasetOfAnotherFile) {
  ASSERT_EQ(::mkfifo((dir_ / "fifo").c_str(), 0600), 0);
  constexpr std::array<hsize_t, 1> kLength{10};
  constexpr std::array<hsize_t, 1> kUnlimited{H5S_UNLIMITED};
  constexpr std::array<hsize_t, 1> kZero{0};
  constexpr std::array<hsize_t, 1> kOne{1};
  const Space all(H5Screate_simple(1, kLength.data(), kUnlimited.data()));
  H5Sselect_hyperslab(all.get(), H5S_SELECT_SET, kZero.data(), kOne.data(), kUnlimited.data(),
                      kOne.data());
  const Properties creation(H5Pcreate(H5P_DATASET_CREATE));
  ASSERT_GE(H5Pset_virtual(creation.get(), all.get(), (dir_ / "fifo").c_str(), "/x", all.get()), 0);
  ASSERT_TRUE(Dataset(H5Dcreate2(file_.get(), "/tensors/a", H5T_NATIVE_INT, all.get(), H5P_DEFAULT,
                                 creation.get(), H5P_DEFAULT)));
  reopen_for_reading();

  EXPECT_EQ(failure_of([&] { paths_in("/tensors"); }), "/tensors/a uses other files");
}

TEST_F(Paths, AreRefusedForADatasetInAnotherFile) {
  constexpr std::array<hsize_t, 1> kLength{10};
  const Properties creation(H5Pcreate(H5P_DATASET_CREATE));
  H5Pset_external(creation.get(), "/dev/zero", 0, H5F_UNLIMITED);
  ASSERT_TRUE(Dataset(H5Dcreate2(file_.get(), "/tensors/a", H5T_NATIVE_INT,
                                 Space(H5Screate_simple(1, kLength.data(), nullptr)).get(),
                                 H5P_DEFAULT, creation.get(), H5P_DEFAULT)));

  EXPECT_EQ(failure_of([&] { paths_in("/tensors"); }), "/tensors/a uses other files");
}

TEST_F(Paths, AreShownOnOneLineWhereTheyAreRefused) {
  H5Lcreate_soft("/x", file_.get(), "/tensors/two\nlines", H5P_DEFAULT, H5P_DEFAULT);
  EXPECT_EQ(failure_of([&] { paths_in("/tensors"); }),
            "/tensors/two\\x0alines is a soft or external link");
}

TEST_F(Paths, AreRefusedForAnObjectThatIsNoDataset) {
  H5Tcommit2(file_.get(), "/tensors/type", Type(H5Tcopy(H5T_NATIVE_INT)).get(), H5P_DEFAULT,
             H5P_DEFAULT, H5P_DEFAULT);
  EXPECT_THAT(failure_of([&] { paths_in("/tensors"); }),
              HasSubstr("/tensors/type is neither a group nor a dataset"));
}

TEST_F(Paths, NameAMissingGroup) {
  EXPECT_THAT(failure_of([&] { paths_in("/nowhere"); }), HasSubstr("could not find /nowhere"));
}

}  // namespace
}  // namespace mpimerge::hdf5
