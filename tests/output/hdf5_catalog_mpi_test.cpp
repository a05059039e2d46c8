#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/hdf5/attribute.hpp"
#include "mpimerge/hdf5/dataset.hpp"
#include "mpimerge/hdf5/file.hpp"
#include "mpimerge/output/hdf5_catalog.hpp"
#include "mpimerge/output/hdf5_writer.hpp"

#include "output/sample.hpp"
#include "support/temp_dir.hpp"
#include "support/world.hpp"

// Reading is local; the files to read are written by one rank.
namespace mpimerge::output {
namespace {

using base::Dtype;
using base::Elements;
using test::world;
using testing::HasSubstr;

class Catalog : public testing::Test {
 protected:
  void SetUp() override {
    const Hdf5Layout layout = test::sample_layout();
    Hdf5Writer writer = Hdf5Writer::begin(world(), file_, layout, false);
    test::write_sample(writer, world(), layout, test::even_cut, 1'000'000);
    writer.close();
    writer.publish("{}");
  }

  void change(const std::function<void(const hdf5::File&)>& how) const {
    hdf5::File file = hdf5::open_file(file_, hdf5::Access::update);
    how(file);
    hdf5::close_file(std::move(file));
  }

  [[nodiscard]] std::string refusal() const {
    try {
      open_hdf5(file_);
    } catch (const base::Error& error) {
      EXPECT_EQ(error.kind(), base::ErrorKind::input);
      return error.what();
    }
    return "no error";
  }

  test::TempDir dir_;
  std::filesystem::path file_ = dir_ / "a.h5";
};

TEST_F(Catalog, ListsTensorsInTheOrderOfTheFile) {
  const checkpoint::Catalog catalog = open_hdf5(file_);
  EXPECT_EQ(catalog.path, file_.string());
  EXPECT_EQ(catalog.files, std::vector{file_});
  EXPECT_TRUE(std::is_sorted(catalog.tensors.begin(), catalog.tensors.end(),
                             [](const auto& a, const auto& b) { return a.offset < b.offset; }));
}

TEST_F(Catalog, KnowsHdf5ByItsFirstBytes) {
  std::ofstream(dir_ / "text.h5") << "not HDF5 at all";
  std::ofstream(dir_ / "short.h5") << "x";
  EXPECT_TRUE(is_hdf5(file_));
  EXPECT_FALSE(is_hdf5(dir_ / "text.h5"));
  EXPECT_FALSE(is_hdf5(dir_ / "short.h5"));
  EXPECT_FALSE(is_hdf5(dir_ / "missing.h5"));
  EXPECT_FALSE(is_hdf5(dir_.path()));
}

TEST_F(Catalog, RefusesAFileThatIsNotHdf5) {
  std::ofstream(file_) << "not HDF5 at all";
  EXPECT_THAT(refusal(), HasSubstr("a.h5: is not an HDF5 file"));
}

TEST_F(Catalog, RefusesAMissingFile) {
  std::filesystem::remove(file_);
  EXPECT_THAT(refusal(), HasSubstr("a.h5: No such file or directory"));
}

TEST_F(Catalog, RefusesATruncatedFile) {
  std::filesystem::resize_file(file_, std::filesystem::file_size(file_) / 2);
  EXPECT_THAT(refusal(), HasSubstr("a.h5: HDF5 could not open the file: truncated file"));
}

TEST_F(Catalog, RefusesAFileOfAnotherProgram) {
  std::filesystem::remove(file_);
  hdf5::close_file(hdf5::create_file(file_, base::Bytes{1}));
  EXPECT_THAT(refusal(), HasSubstr("is an HDF5 file, but not one that mpimerge wrote"));
}

TEST_F(Catalog, RefusesAFileThatIsNotComplete) {
  change([](const hdf5::File& file) { hdf5::write_number(file.get(), "complete", 0); });
  EXPECT_THAT(refusal(), HasSubstr("is not complete"));
}

TEST_F(Catalog, RefusesANewerFormat) {
  change([](const hdf5::File& file) { hdf5::write_number(file.get(), "format_version", 2); });
  EXPECT_THAT(refusal(), HasSubstr("has format_version 2; this mpimerge reads 1"));
}

TEST_F(Catalog, RefusesATensorOutsideItsDataset) {
  for (const std::int64_t offset : {std::int64_t{-1}, std::int64_t{2000}, std::int64_t{1} << 62}) {
    change([&](const hdf5::File& file) {
      hdf5::write_number(hdf5::open_dataset(file, "/tensors/model.F32.weight").get(), "offset",
                         offset);
    });
    EXPECT_THAT(refusal(), HasSubstr("tensor `model.F32.weight`: 70000 elements at offset"));
  }
}

TEST_F(Catalog, RefusesTensorsThatOverlap) {
  // Otherwise many of them could claim the bytes of one, and add up to more than any disk holds.
  change([](const hdf5::File& file) {
    hdf5::write_number(hdf5::open_dataset(file, "/tensors/model.F32.weight").get(), "offset", 1);
  });
  EXPECT_THAT(refusal(), HasSubstr("tensor `größe/F32` overlaps tensor `model.F32.weight`"));
}

TEST_F(Catalog, RefusesATensorWhoseSizeOverflows) {
  change([](const hdf5::File& file) {
    // 2^62 bytes, as HDF5 knows them; 2^65 of the type that the attribute says.
    const std::vector<std::uint64_t> shape{std::uint64_t{1} << 32, std::uint64_t{1} << 30};
    const auto made = hdf5::create_small(file, "/tensors/huge", Dtype::u8, shape);
    hdf5::write_text(made.get(), "dtype", "F64");
    hdf5::write_number(made.get(), "offset", 0);
  });
  EXPECT_THAT(refusal(), HasSubstr("tensor `huge`: its shape overflows 64 bits"));
}

TEST_F(Catalog, RefusesATensorWithoutItsAttributes) {
  change([](const hdf5::File& file) {
    H5Adelete_by_name(file.get(), "/tensors/model.F32.weight", "offset", H5P_DEFAULT);
  });
  EXPECT_THAT(refusal(),
              HasSubstr("a.h5: tensor `model.F32.weight`: the attribute `offset` is missing"));
}

TEST_F(Catalog, RefusesAnElementTypeItDoesNotKnow) {
  change([](const hdf5::File& file) {
    const auto made = hdf5::create_small(file, "/tensors/new", Dtype::f32, {});
    hdf5::write_text(made.get(), "dtype", "F4_E2M1");
  });
  EXPECT_THAT(refusal(), HasSubstr("tensor `new`: unknown element type `F4_E2M1`"));
}

TEST_F(Catalog, RefusesATensorWithoutADatasetOfItsType) {
  change([](const hdf5::File& file) { H5Ldelete(file.get(), "/parameters/I16", H5P_DEFAULT); });
  EXPECT_THAT(refusal(), HasSubstr("there is no /parameters/I16"));
}

// Replaces /parameters/I16 by a dataset that another program might make of it.
void replace_i16(const hdf5::File& file, hid_t type, std::vector<hsize_t> shape,
                 H5D_layout_t layout) {
  H5Ldelete(file.get(), "/parameters/I16", H5P_DEFAULT);
  const hdf5::Space space(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr));
  const hdf5::Properties creation(H5Pcreate(H5P_DATASET_CREATE));
  H5Pset_alloc_time(creation.get(), H5D_ALLOC_TIME_EARLY);
  if (layout == H5D_CHUNKED)
    H5Pset_chunk(creation.get(), static_cast<int>(shape.size()), shape.data());
  const hdf5::Dataset made(H5Dcreate2(file.get(), "/parameters/I16", type, space.get(), H5P_DEFAULT,
                                      creation.get(), H5P_DEFAULT));
  EXPECT_GE(made.get(), 0);
}

TEST_F(Catalog, RefusesAChunkedDataset) {
  change([](const hdf5::File& file) { replace_i16(file, H5T_STD_I16LE, {100'000}, H5D_CHUNKED); });
  EXPECT_THAT(refusal(), HasSubstr("/parameters/I16: expected a contiguous dataset"));
}

TEST_F(Catalog, RefusesADatasetOfAnotherTypeOrShape) {
  change(
      [](const hdf5::File& file) { replace_i16(file, H5T_STD_I16BE, {100'000}, H5D_CONTIGUOUS); });
  EXPECT_THAT(refusal(), HasSubstr("/parameters/I16: expected one dimension"));
  change([](const hdf5::File& file) {
    replace_i16(file, H5T_STD_I16LE, {100, 1000}, H5D_CONTIGUOUS);
  });
  EXPECT_THAT(refusal(), HasSubstr("/parameters/I16: expected one dimension"));
}

TEST_F(Catalog, RefusesADatasetOutsideTheFile) {
  // Made in HDF5's oldest format, which has no checksums, so that an address can be changed.
  std::uint64_t address = 0;
  {
    const hdf5::File file(H5Fcreate(file_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT));
    hdf5::write_text(file.get(), "format", "mpimerge");
    hdf5::write_number(file.get(), "format_version", 1);
    hdf5::write_number(file.get(), "complete", 1);
    hdf5::create_group(file, "/parameters");
    const auto made = hdf5::create_contiguous(file, "/parameters/I16", Dtype::i16, Elements{1000});
    address = hdf5::file_offset(made)->value();
  }
  std::ostringstream bytes;
  bytes << std::ifstream(file_, std::ios::binary).rdbuf();
  std::string text(8, '\0');
  std::memcpy(text.data(), &address, 8);
  const std::size_t at = bytes.str().find(text);
  ASSERT_NE(at, std::string::npos);
  std::fstream(file_, std::ios::in | std::ios::out | std::ios::binary)
      .seekp(static_cast<std::streamoff>(at) + 4)
      .put(1);  // 2^32 more

  EXPECT_THAT(refusal(), HasSubstr("/parameters/I16: 1000 elements at byte"));
}

TEST_F(Catalog, RefusesMetadataThatIsNoMapOfTexts) {
  change([](const hdf5::File& file) {
    H5Adelete(file.get(), "__metadata__");
    hdf5::write_text(file.get(), "__metadata__", "{\"a\": 1}");
  });
  EXPECT_THAT(refusal(), HasSubstr("`__metadata__` is not a JSON object of texts"));
}

}  // namespace
}  // namespace mpimerge::output
