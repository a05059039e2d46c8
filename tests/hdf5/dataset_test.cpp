#include "mpimerge/hdf5/dataset.hpp"

#include <cstdint>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include "mpimerge/hdf5/file.hpp"

#include "support/temp_dir.hpp"

namespace mpimerge::hdf5 {
namespace {

using base::Bytes;
using base::Dtype;
using base::Elements;
using testing::ElementsAre;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

std::vector<std::uint8_t> bytes_of(const File& file, const std::string& path, std::size_t count) {
  std::vector<std::uint8_t> values(count);
  const Dataset dataset = open_dataset(file, path);
  EXPECT_GE(H5Dread(dataset.get(), H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()),
            0);
  return values;
}

class Datasets : public testing::Test {
 protected:
  File again() {
    close_file(std::move(file_));
    return open_file(dir_ / "a.h5", Access::read);
  }

  test::TempDir dir_;
  File file_ = create_file(dir_ / "a.h5", Bytes{kMiB});
};

TEST_F(Datasets, BeginAtAMultipleOfTheAlignmentFromItsSizeOn) {
  const Dataset small = create_contiguous(file_, "/small", Dtype::f32, Elements{1000});
  const Dataset large = create_contiguous(file_, "/large", Dtype::f32, Elements{kMiB / 4});
  const Dataset larger = create_contiguous(file_, "/larger", Dtype::f32, Elements{kMiB / 4 + 1});

  EXPECT_LT(file_offset(small)->value(), kMiB);
  EXPECT_EQ(file_offset(large)->value() % kMiB, 0U);
  EXPECT_EQ(file_offset(larger)->value() % kMiB, 0U);
}

TEST_F(Datasets, AreInTheFileFromTheirCreationOn) {
  const std::uint64_t offset =
      file_offset(create_contiguous(file_, "/flat", Dtype::f64, Elements{kMiB}))->value();
  close_file(std::move(file_));
  EXPECT_GE(std::filesystem::file_size(dir_ / "a.h5"), offset + 8 * kMiB);
}

TEST_F(Datasets, AreStoredByType) {
  for (const Dtype dtype : base::kAllDtypes) {
    const std::string path = "/" + std::string(base::name(dtype));
    const Dataset made = create_contiguous(file_, path, dtype, Elements{3});
    for (const Dtype other : base::kAllDtypes) {
      const bool both_bytes = (dtype == Dtype::u8 && other == Dtype::f8_e4m3) ||
                              (dtype == Dtype::f8_e4m3 && other == Dtype::u8);
      EXPECT_EQ(is_stored_as(made, other), dtype == other || both_bytes)
          << path << " as " << base::name(other);
    }
    const Type type(H5Dget_type(made.get()));
    EXPECT_EQ(H5Tget_size(type.get()), base::element_bytes(dtype).value()) << path;
  }
}

TEST_F(Datasets, SliceShowsItsPartInItsShape) {
  std::vector<std::byte> values(100);
  for (std::size_t at = 0; at < values.size(); ++at) values[at] = std::byte(at);
  write_all(create_contiguous(file_, "/parameters/U8", Dtype::u8, Elements{100}), values);
  const Dataset slice =
      create_slice(file_, "/tensors/a/b", Dtype::u8, std::vector<std::uint64_t>{2, 3},
                   {"/parameters/U8", Elements{100}, Elements{40}});

  EXPECT_THAT(shape(slice), ElementsAre(2, 3));
  EXPECT_EQ(file_offset(slice), std::nullopt);
  EXPECT_THAT(bytes_of(file_, "/tensors/a/b", 6), ElementsAre(40, 41, 42, 43, 44, 45));
}

TEST_F(Datasets, SliceStillShowsItsPartAfterTheFileWasRenamed) {
  write_all(create_contiguous(file_, "/flat", Dtype::u8, Elements{3}),
            std::vector<std::byte>{std::byte{7}, std::byte{8}, std::byte{9}});
  create_slice(file_, "/slice", Dtype::u8, std::vector<std::uint64_t>{2},
               {"/flat", Elements{3}, Elements{1}});
  close_file(std::move(file_));
  std::filesystem::rename(dir_ / "a.h5", dir_ / "b.h5");

  EXPECT_THAT(bytes_of(open_file(dir_ / "b.h5", Access::read), "/slice", 2), ElementsAre(8, 9));
}

TEST_F(Datasets, SliceIsFoundBeyondFourThousandMillionElements) {
  constexpr std::uint64_t kAt = 4'500'000'000;
  const Elements all{5'000'000'000};
  const std::uint64_t begin =
      file_offset(create_contiguous(file_, "/flat", Dtype::u8, all))->value();
  create_slice(file_, "/slice", Dtype::u8, std::vector<std::uint64_t>{3, 1},
               {"/flat", all, Elements{kAt}});
  close_file(std::move(file_));
  std::fstream(dir_ / "a.h5", std::ios::in | std::ios::out | std::ios::binary)
      .seekp(static_cast<std::streamoff>(begin + kAt))
      .write("\x05\x06\x07", 3);

  EXPECT_THAT(bytes_of(open_file(dir_ / "a.h5", Access::read), "/slice", 3), ElementsAre(5, 6, 7));
}

TEST_F(Datasets, SingleValueCanBeReplacedLater) {
  create_small(file_, "/tensors/steps", Dtype::u8, {});
  close_file(std::move(file_));
  File update = open_file(dir_ / "a.h5", Access::update);
  write_all(open_dataset(update, "/tensors/steps"), std::vector<std::byte>{std::byte{42}});
  close_file(std::move(update));

  const File read = open_file(dir_ / "a.h5", Access::read);
  EXPECT_TRUE(shape(open_dataset(read, "/tensors/steps")).empty());
  EXPECT_THAT(bytes_of(read, "/tensors/steps", 1), ElementsAre(42));
}

TEST_F(Datasets, EmptyShapeIsKept) {
  create_small(file_, "/none", Dtype::bf16,
               std::vector<std::uint64_t>{4, 0, std::uint64_t{1} << 40});
  EXPECT_THAT(shape(open_dataset(again(), "/none")), ElementsAre(4, 0, std::uint64_t{1} << 40));
}

TEST_F(Datasets, RefuseDataOfAnotherLength) {
  const Dataset made = create_contiguous(file_, "/flat", Dtype::f32, Elements{2});
  EXPECT_THROW(write_all(made, std::vector<std::byte>(4)), Failure);
}

TEST_F(Datasets, HaveNoOffsetWhereTheirDataIsElsewhere) {
  const Properties creation(H5Pcreate(H5P_DATASET_CREATE));
  H5Pset_external(creation.get(), (dir_ / "raw").c_str(), 0, 12);
  constexpr hsize_t kThree = 3;
  const Space space(H5Screate_simple(1, &kThree, nullptr));
  const Dataset outside(H5Dcreate2(file_.get(), "/outside", H5T_STD_I32LE, space.get(), H5P_DEFAULT,
                                   creation.get(), H5P_DEFAULT));
  EXPECT_EQ(file_offset(outside), std::nullopt);
}

}  // namespace
}  // namespace mpimerge::hdf5
