#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/output/hdf5_catalog.hpp"
#include "mpimerge/output/hdf5_writer.hpp"

#include "hdf5/shared_dir.hpp"
#include "output/sample.hpp"
#include "support/world.hpp"

namespace mpimerge::output {
namespace {

using base::Dtype;
using base::Elements;
using base::ErrorKind;
using std::filesystem::exists;
using std::filesystem::path;
using test::SharedDir;
using test::world;
using testing::HasSubstr;

// Collective.
TransferMode write_file(const path& name, const test::Cut& cut, std::uint64_t slab,
                        bool overwrite = false) {
  const Hdf5Layout layout = test::sample_layout();
  Hdf5Writer writer = Hdf5Writer::begin(world(), name, layout, overwrite);
  test::write_sample(writer, world(), layout, cut, slab);
  const TransferMode mode = writer.close();
  writer.publish("{\"ranks\": 1}");
  return mode;
}

void expect_sample(const path& name) {
  const Hdf5Layout layout = test::sample_layout();
  const checkpoint::Catalog catalog = open_hdf5(name);
  std::map<std::string, checkpoint::TensorInfo> found;
  for (const checkpoint::TensorInfo& info : catalog.tensors) found[info.name] = info;
  const base::FileDescriptor file = base::open_for_reading(name);
  EXPECT_EQ(found.size(), layout.tensors.size());
  EXPECT_EQ(catalog.metadata, layout.metadata);
  for (const Hdf5Tensor& tensor : layout.tensors) {
    const checkpoint::TensorInfo& info = found[tensor.name];
    EXPECT_EQ(info.dtype, tensor.dtype) << tensor.name;
    EXPECT_EQ(info.shape, tensor.shape) << tensor.name;
    std::vector<std::byte> bytes(info.bytes.value());
    base::read_exactly(file, name, info.offset, bytes);
    EXPECT_EQ(bytes,
              test::sample_bytes(tensor.dtype, {tensor.offset, tensor.offset + info.elements}))
        << tensor.name;
  }
}

TEST(Hdf5Writer, KeepsEveryByteWhateverTheCut) {
  const SharedDir dir(world());
  const std::vector<std::pair<std::string, test::Cut>> cuts{{"even.h5", test::even_cut},
                                                            {"growing.h5", test::growing_cut},
                                                            {"last.h5", test::last_has_all}};
  for (const auto& [name, cut] : cuts) {
    const TransferMode mode = write_file(dir / name, cut, 30'000);
    EXPECT_EQ(mode.actual_io_mode, "contiguous collective") << name;
    EXPECT_EQ(mode.no_collective_cause, "none") << name;
    expect_sample(dir / name);
    comm::barrier(world());
  }
}

TEST(Hdf5Writer, KeepsEveryByteOfOddSlabsInAnyOrder) {
  const SharedDir dir(world());
  write_file(dir / "a.h5", test::growing_cut, 12'347);
  expect_sample(dir / "a.h5");
}

TEST(Hdf5Writer, ShowsNothingUnderTheNameBeforeTheEnd) {
  const SharedDir dir(world());
  const Hdf5Layout layout = test::sample_layout();
  Hdf5Writer writer = Hdf5Writer::begin(world(), dir / "a.h5", layout, false);
  test::write_sample(writer, world(), layout, test::even_cut, 100'000);
  writer.close();
  EXPECT_FALSE(exists(dir / "a.h5"));
  EXPECT_TRUE(exists(dir / "a.h5.partial"));
  EXPECT_THROW(open_hdf5(dir / "a.h5.partial"), base::Error);
  comm::barrier(world());

  writer.publish("{}");

  EXPECT_TRUE(exists(dir / "a.h5"));
  EXPECT_FALSE(exists(dir / "a.h5.partial"));
}

TEST(Hdf5Writer, MayBeGivenUpAtAnyMoment) {
  const SharedDir dir(world());
  const Hdf5Layout layout = test::sample_layout();
  for (const int steps : {0, 1, 2}) {
    {
      Hdf5Writer writer = Hdf5Writer::begin(world(), dir / "a.h5", layout, false);
      if (steps > 0) test::write_sample(writer, world(), layout, test::even_cut, 100'000);
      if (steps > 1) writer.close();
    }
    comm::barrier(world());
    EXPECT_FALSE(exists(dir / "a.h5")) << steps;
    EXPECT_FALSE(exists(dir / "a.h5.partial")) << steps;
    comm::barrier(world());
  }
}

TEST(Hdf5Writer, LeavesNothingAfterAnAgreedError) {
  const SharedDir dir(world());
  const auto run = [&] {
    Hdf5Writer writer = Hdf5Writer::begin(world(), dir / "a.h5", test::sample_layout(), false);
    comm::collectively(world(), "read", [] {
      if (world().rank() == world().ranks() - 1) throw base::Error(ErrorKind::input, "model: NaN");
    });
  };
  EXPECT_THROW(run(), comm::AgreedError);
  comm::barrier(world());
  EXPECT_FALSE(exists(dir / "a.h5.partial"));
}

TEST(Hdf5Writer, LeavesThePartialFileToAnErrorThatRanksDoNotShare) {
  const SharedDir dir(world());
  const auto run = [&] {
    Hdf5Writer writer = Hdf5Writer::begin(world(), dir / "a.h5", test::sample_layout(), false);
    throw std::runtime_error("here alone");
  };
  EXPECT_THROW(run(), std::runtime_error);
  comm::barrier(world());
  EXPECT_TRUE(exists(dir / "a.h5.partial"));
}

struct Refusal {
  ErrorKind kind;
  std::string message;
};

// Collective. How `begin` refuses; every rank must see the same.
Refusal refusal_of(const path& name, const Hdf5Layout& layout, bool overwrite) {
  try {
    Hdf5Writer::begin(world(), name, layout, overwrite);
  } catch (const comm::AgreedError& error) {
    return {error.kind(), error.what()};
  }
  return {ErrorKind::bug, "no error"};
}

void put_text(const path& file, const std::string& text) {
  if (world().is_root()) std::ofstream(file) << text;
  comm::barrier(world());
}

std::string text_of(const path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

TEST(Hdf5Writer, ReplacesAnExistingFileOnlyWhenAskedTo) {
  const SharedDir dir(world());
  put_text(dir / "a.h5", "precious");

  const Refusal refusal = refusal_of(dir / "a.h5", test::sample_layout(), false);
  EXPECT_EQ(refusal.kind, ErrorKind::output);
  EXPECT_THAT(refusal.message, HasSubstr("a.h5: exists; use --overwrite"));
  EXPECT_EQ(text_of(dir / "a.h5"), "precious");
  EXPECT_FALSE(exists(dir / "a.h5.partial"));
  comm::barrier(world());

  write_file(dir / "a.h5", test::even_cut, 100'000, true);
  expect_sample(dir / "a.h5");
}

TEST(Hdf5Writer, KeepsTheOldFileUntilTheNewOneIsComplete) {
  const SharedDir dir(world());
  put_text(dir / "a.h5", "precious");
  const Hdf5Layout layout = test::sample_layout();
  {
    Hdf5Writer writer = Hdf5Writer::begin(world(), dir / "a.h5", layout, true);
    test::write_sample(writer, world(), layout, test::even_cut, 100'000);
    writer.close();
    EXPECT_EQ(text_of(dir / "a.h5"), "precious");
  }
  EXPECT_EQ(text_of(dir / "a.h5"), "precious");
}

TEST(Hdf5Writer, KeepsACompleteResultWhoseNameWasTakenMeanwhile) {
  const SharedDir dir(world());
  const Hdf5Layout layout = test::sample_layout();
  {
    Hdf5Writer writer = Hdf5Writer::begin(world(), dir / "a.h5", layout, false);
    test::write_sample(writer, world(), layout, test::even_cut, 100'000);
    writer.close();
    put_text(dir / "a.h5", "precious");
    EXPECT_THROW(writer.publish("{}"), comm::AgreedError);
  }
  comm::barrier(world());
  EXPECT_EQ(text_of(dir / "a.h5"), "precious");
  expect_sample(dir / "a.h5.partial");
}

TEST(Hdf5Writer, ReplacesThePartialFileOfAnEarlierRun) {
  const SharedDir dir(world());
  put_text(dir / "a.h5.partial", "left over");
  write_file(dir / "a.h5", test::even_cut, 100'000);
  expect_sample(dir / "a.h5");
}

TEST(Hdf5Writer, NamesAMissingDirectory) {
  const SharedDir dir(world());
  const Refusal refusal = refusal_of(dir / "nowhere" / "a.h5", test::sample_layout(), false);
  EXPECT_EQ(refusal.kind, ErrorKind::output);
  EXPECT_THAT(refusal.message, HasSubstr("nowhere: no such directory"));
}

TEST(Hdf5Writer, NamesATensorThatHdf5CannotHold) {
  const SharedDir dir(world());
  Hdf5Layout layout = test::sample_layout();
  layout.tensors.push_back({"model//weight", Dtype::f32, {}, Elements{0}});
  const Refusal refusal = refusal_of(dir / "a.h5", layout, false);
  EXPECT_EQ(refusal.kind, ErrorKind::input);
  EXPECT_THAT(refusal.message, HasSubstr("tensor `model//weight`: HDF5 cannot hold this name"));
  EXPECT_FALSE(exists(dir / "a.h5.partial"));
}

TEST(Hdf5Writer, NeedsNoData) {
  const SharedDir dir(world());
  Hdf5Layout layout;
  layout.tensors.push_back({"empty", Dtype::f32, {0}, Elements{0}});
  Hdf5Writer writer = Hdf5Writer::begin(world(), dir / "a.h5", layout, false);
  const TransferMode mode = writer.close();
  writer.publish("{}");
  EXPECT_EQ(mode.actual_io_mode, "none");
  EXPECT_EQ(open_hdf5(dir / "a.h5").tensors.size(), 1U);
}

TEST(Hdf5Writer, FindsAByteThatChangedOnItsWayToTheFile) {
  const SharedDir dir(world());
  const Hdf5Layout layout = test::sample_layout();
  std::string message = "no error";
  try {
    Hdf5Writer writer = Hdf5Writer::begin(world(), dir / "a.h5", layout, false);
    test::write_sample(writer, world(), layout, test::even_cut, 100'000);
    comm::barrier(world());
    if (world().is_root()) {
      std::fstream file(dir / "a.h5.partial", std::ios::in | std::ios::out | std::ios::binary);
      const std::string all = text_of(dir / "a.h5.partial");
      // Element 70,003 of F64, wherever the dataset is: found by its own bytes.
      const auto wanted = test::sample_bytes(Dtype::f64, {Elements{70'003}, Elements{70'011}});
      const std::size_t at =
          all.find(std::string(reinterpret_cast<const char*>(wanted.data()), wanted.size()));
      EXPECT_NE(at, std::string::npos);
      file.seekp(static_cast<std::streamoff>(at)).put(static_cast<char>(all[at] ^ 1));
    }
    comm::barrier(world());
    writer.close();
  } catch (const comm::AgreedError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::output);
    message = error.what();
  }
  EXPECT_THAT(message, HasSubstr("of /parameters/F64 do not read back as they were written"));
  comm::barrier(world());
  EXPECT_FALSE(exists(dir / "a.h5.partial"));
  EXPECT_FALSE(exists(dir / "a.h5"));
}

// An earlier run: the first half of each dataset, written, synced and kept.
std::vector<Slab> leave_half(const path& name, const Hdf5Layout& layout) {
  Hdf5Writer writer = Hdf5Writer::begin(world(), name, layout, false);
  const auto first_half = [](Elements elements, int rank, int ranks) {
    return test::growing_cut(Elements{elements.value() / 2}, rank, ranks);
  };
  test::write_sample(writer, world(), layout, first_half, 30'000);
  writer.sync();
  writer.keep();
  return writer.take_new_slabs();
}

base::ElementRange second_half(Elements elements, int rank, int ranks) {
  const Elements half{elements.value() / 2};
  base::ElementRange range = test::even_cut(elements - half, rank, ranks);
  return {range.begin + half, range.end + half};
}

TEST(Hdf5Writer, GoesOnWithWhatAnEarlierRunLeft) {
  const SharedDir dir(world());
  const Hdf5Layout layout = test::sample_layout();
  const std::vector<Slab> slabs = leave_half(dir / "a.h5", layout);
  comm::barrier(world());
  EXPECT_TRUE(exists(dir / "a.h5.partial"));

  Hdf5Writer writer = Hdf5Writer::resume(world(), dir / "a.h5", layout, false);
  writer.adopt(slabs);
  test::write_sample(writer, world(), layout, second_half, 100'000);
  writer.close();
  writer.publish("{}");

  expect_sample(dir / "a.h5");
  EXPECT_TRUE(is_finished(dir / "a.h5", layout.job));
  EXPECT_FALSE(is_finished(dir / "a.h5", "another job"));
}

TEST(Hdf5Writer, ReadsBackWhatAnEarlierRunWroteToo) {
  const SharedDir dir(world());
  const Hdf5Layout layout = test::sample_layout();
  std::vector<Slab> slabs = leave_half(dir / "a.h5", layout);
  for (Slab& slab : slabs) slab.checksum ^= 1;  // as if the bytes were others
  const bool any = comm::all_reduce_sum(world(), std::uint64_t{slabs.size()}) > 0;

  Hdf5Writer writer = Hdf5Writer::resume(world(), dir / "a.h5", layout, false);
  writer.adopt(slabs);
  test::write_sample(writer, world(), layout, second_half, 100'000);

  EXPECT_TRUE(any);
  EXPECT_THROW(writer.close(), comm::AgreedError);
}

// Collective.
std::string refusal_to_resume(const path& name, const Hdf5Layout& layout) {
  try {
    Hdf5Writer::resume(world(), name, layout, false);
  } catch (const comm::AgreedError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::output);
    return error.what();
  }
  return "no error";
}

TEST(Hdf5Writer, GoesOnOnlyWithAPartialFileOfTheSameMerge) {
  const SharedDir dir(world());
  const Hdf5Layout layout = test::sample_layout();
  EXPECT_THAT(refusal_to_resume(dir / "a.h5", layout), HasSubstr("is missing"));
  leave_half(dir / "a.h5", layout);
  comm::barrier(world());

  Hdf5Layout other_job = layout;
  other_job.job = "another";
  EXPECT_THAT(refusal_to_resume(dir / "a.h5", other_job), HasSubstr("another job"));
  Hdf5Layout longer = layout;
  longer.datasets[0].elements += Elements{1};
  EXPECT_THAT(refusal_to_resume(dir / "a.h5", longer), HasSubstr("other datasets"));
  EXPECT_TRUE(exists(dir / "a.h5.partial")) << "refusing removed it";
  comm::barrier(world());
  put_text(dir / "a.h5.partial", "no HDF5");
  EXPECT_THAT(refusal_to_resume(dir / "a.h5", layout), HasSubstr("a.h5.partial"));
}

}  // namespace
}  // namespace mpimerge::output
