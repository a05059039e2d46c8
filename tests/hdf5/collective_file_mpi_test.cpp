#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <hdf5.h>

#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/hdf5/collective_file.hpp"
#include "mpimerge/hdf5/dataset.hpp"
#include "mpimerge/hdf5/file.hpp"

#include "hdf5/shared_dir.hpp"
#include "support/world.hpp"

namespace mpimerge::hdf5 {
namespace {

using base::Bytes;
using base::Dtype;
using base::Elements;
using comm::Comm;
using test::SharedDir;
using test::world;

const std::vector<std::string> kDatasets{"/parameters/U8", "/parameters/BF16"};
constexpr std::uint64_t kElements = 1000;

// Collective. Two datasets of 1000 elements; the first one's place in the file, on all ranks.
Bytes make_file(const Comm& comm, const std::filesystem::path& path) {
  std::uint64_t offset = 0;
  if (comm.is_root()) {
    File file = create_file(path, Bytes{1});
    offset =
        file_offset(create_contiguous(file, kDatasets[0], Dtype::u8, Elements{kElements}))->value();
    create_contiguous(file, kDatasets[1], Dtype::bf16, Elements{kElements});
    close_file(std::move(file));
  }
  return Bytes{comm::all_reduce_max(comm, offset)};
}

std::vector<std::byte> filled(std::size_t count, int value) {
  return std::vector<std::byte>(count, static_cast<std::byte>(value));
}

std::vector<std::byte> read_back(const std::filesystem::path& path, Bytes offset) {
  std::vector<std::byte> bytes(kElements);
  base::read_exactly(base::open_for_reading(path), path, offset, bytes);
  return bytes;
}

TEST(CollectiveFile, HoldsWhatEachRankWrote) {
  const SharedDir dir(world());
  const Bytes offset = make_file(world(), dir / "a.h5");
  CollectiveFile file = CollectiveFile::open(world(), dir / "a.h5", kDatasets, {});
  const auto rank = static_cast<std::uint64_t>(world().rank());

  file.write(0, Elements{10 * rank}, filled(10, world().rank() + 1));
  const TransferReport report = file.report_transfers();
  file.close();

  const std::vector<std::byte> bytes = read_back(dir / "a.h5", offset);
  for (int other = 0; other < world().ranks(); ++other) {
    const auto at = static_cast<std::size_t>(10 * other);
    EXPECT_EQ(bytes[at], std::byte(other + 1));
    EXPECT_EQ(bytes[at + 9], std::byte(other + 1));
  }
  EXPECT_EQ(report.actual_io_mode, "contiguous collective");
  EXPECT_EQ(report.no_collective_cause, "none");
}

TEST(CollectiveFile, StaysCollectiveWhereSomeOrAllRanksHaveNothing) {
  const SharedDir dir(world());
  const Bytes offset = make_file(world(), dir / "a.h5");
  CollectiveFile file = CollectiveFile::open(world(), dir / "a.h5", kDatasets, {});
  const bool last = world().rank() == world().ranks() - 1;

  file.write(0, Elements{0}, last ? filled(kElements, 7) : filled(0, 0));
  file.write(1, Elements{0}, {});
  file.write(1, Elements{kElements}, {});
  const TransferReport report = file.report_transfers();
  file.close();

  EXPECT_EQ(read_back(dir / "a.h5", offset), filled(kElements, 7));
  EXPECT_EQ(report.actual_io_mode, "contiguous collective");
  EXPECT_EQ(report.no_collective_cause, "none");
}

TEST(CollectiveFile, ReportsNothingIfNothingWasWritten) {
  const SharedDir dir(world());
  make_file(world(), dir / "a.h5");
  CollectiveFile file = CollectiveFile::open(world(), dir / "a.h5", kDatasets, {});

  const TransferReport report = file.report_transfers();
  file.close();

  EXPECT_EQ(report.actual_io_mode, "none");
  EXPECT_EQ(report.no_collective_cause, "none");
}

// Datasets that this program never makes; HDF5 cannot write the second one collectively.
TEST(CollectiveFile, ReportsOtherModesAndWhatCausedThem) {
  const SharedDir dir(world());
  if (world().is_root()) {
    File file = create_file(dir / "a.h5", Bytes{1});
    for (const H5D_layout_t layout : {H5D_CHUNKED, H5D_COMPACT}) {
      constexpr hsize_t kLength = 8;
      const Space space(H5Screate_simple(1, &kLength, nullptr));
      const Properties creation(H5Pcreate(H5P_DATASET_CREATE));
      H5Pset_layout(creation.get(), layout);
      if (layout == H5D_CHUNKED) H5Pset_chunk(creation.get(), 1, &kLength);
      const Dataset made(H5Dcreate2(file.get(), layout == H5D_CHUNKED ? "/chunked" : "/compact",
                                    H5T_STD_U8LE, space.get(), H5P_DEFAULT, creation.get(),
                                    H5P_DEFAULT));
      EXPECT_GE(made.get(), 0);
    }
    close_file(std::move(file));
  }
  comm::barrier(world());
  CollectiveFile file = CollectiveFile::open(world(), dir / "a.h5", {"/chunked", "/compact"}, {});

  file.write(1, Elements{0}, filled(8, 1));
  const TransferReport compact = file.report_transfers();
  file.write(0, Elements{0}, world().is_root() ? filled(8, 1) : filled(0, 0));
  const TransferReport both = file.report_transfers();
  file.close();

  EXPECT_EQ(compact.actual_io_mode, "independent");
  EXPECT_EQ(compact.no_collective_cause, "dataset neither contiguous nor chunked");
  EXPECT_EQ(both.actual_io_mode, "independent, chunk collective");
}

TEST(CollectiveFile, TakesHintsOfTheUser) {
  const SharedDir dir(world());
  const Bytes offset = make_file(world(), dir / "a.h5");
  CollectiveFile file =
      CollectiveFile::open(world(), dir / "a.h5", kDatasets,
                           {{"romio_cb_write", "enable"}, {"cb_nodes", "1"}, {"unheard", "of"}});

  file.write(0, Elements{0}, world().is_root() ? filled(kElements, 3) : filled(0, 0));
  file.close();

  EXPECT_EQ(read_back(dir / "a.h5", offset), filled(kElements, 3));
}

TEST(CollectiveFile, NamesAHintThatMpiDoesNotTake) {
  const SharedDir dir(world());
  make_file(world(), dir / "a.h5");
  for (const auto& [key, value] :
       std::map<std::string, std::string>{{"", "1"},
                                          {"cb_nodes", ""},
                                          {std::string(300, 'k'), "1"},
                                          {"key", std::string(3000, 'v')}}) {
    try {
      CollectiveFile::open(world(), dir / "a.h5", kDatasets, {{key, value}}).close();
      ADD_FAILURE() << key << ": no error";
    } catch (const comm::AgreedError& error) {
      EXPECT_EQ(error.kind(), base::ErrorKind::job);
      EXPECT_NE(std::string(error.what()).find("the hint `" + key.substr(0, 100)),
                std::string::npos);
    }
  }
}

TEST(CollectiveFile, MayHaveAColonInItsPath) {
  const SharedDir dir(world());
  const Bytes offset = make_file(world(), dir / "run 12:30.h5");
  CollectiveFile file = CollectiveFile::open(world(), dir / "run 12:30.h5", kDatasets, {});

  file.write(0, Elements{0}, world().is_root() ? filled(kElements, 3) : filled(0, 0));
  file.close();

  EXPECT_EQ(read_back(dir / "run 12:30.h5", offset), filled(kElements, 3));
}

TEST(CollectiveFile, WorksOnPartsOfTheRanks) {
  Comm part = world().split(world().rank() % 2);
  {
    const SharedDir dir(part);
    const Bytes offset = make_file(part, dir / "a.h5");
    CollectiveFile file = CollectiveFile::open(part, dir / "a.h5", kDatasets, {});
    for (int round = 0; round <= world().rank() % 2; ++round) {
      file.write(0, Elements{0}, part.is_root() ? filled(kElements, round) : filled(0, 0));
    }
    file.close();
    EXPECT_EQ(read_back(dir / "a.h5", offset), filled(kElements, world().rank() % 2));
  }
  part.close();
}

std::string agreed_failure(const std::filesystem::path& path,
                           const std::vector<std::string>& datasets) {
  try {
    CollectiveFile::open(world(), path, datasets, {}).close();
  } catch (const comm::AgreedError& error) {
    EXPECT_EQ(error.kind(), base::ErrorKind::output);
    return error.what();
  }
  return "no error";
}

TEST(CollectiveFile, ThatIsMissingIsAnErrorOnAllRanks) {
  const SharedDir dir(world());
  EXPECT_NE(agreed_failure(dir / "a.h5", kDatasets).find("a.h5: HDF5 could not open the file: "),
            std::string::npos);
}

TEST(CollectiveFile, ThatLacksADatasetIsAnErrorOnAllRanks) {
  const SharedDir dir(world());
  make_file(world(), dir / "a.h5");
  EXPECT_NE(agreed_failure(dir / "a.h5", {"/parameters/U8", "/parameters/F64"})
                .find("could not open a dataset"),
            std::string::npos);
}

}  // namespace
}  // namespace mpimerge::hdf5
