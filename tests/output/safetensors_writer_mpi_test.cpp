#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/checkpoint/safetensors.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/output/safetensors_writer.hpp"

#include "hdf5/shared_dir.hpp"
#include "output/sample.hpp"
#include "support/world.hpp"

namespace mpimerge::output {
namespace {

using base::Bytes;
using base::Dtype;
using base::Elements;
using base::ErrorKind;
using std::filesystem::exists;
using std::filesystem::path;
using test::SharedDir;
using test::world;
using testing::AllOf;
using testing::HasSubstr;

constexpr Bytes kSomeFiles{300'000};  // the sample becomes a dozen

SafetensorsOptions options_of(Bytes shard_size, bool overwrite = false) {
  SafetensorsOptions options;
  options.shard_size = shard_size;
  options.overwrite = overwrite;
  return options;
}

// Collective.
void write_directory(const path& name, const test::Cut& cut, std::uint64_t slab,
                     const SafetensorsOptions& options) {
  const Hdf5Layout layout = test::sample_layout();
  SafetensorsWriter writer = SafetensorsWriter::begin(world(), name, layout, options);
  test::write_sample(writer, world(), layout, cut, slab);
  writer.close();
  writer.publish("{\"ranks\": 1}");
}

void expect_tensors(const path& name, const Hdf5Layout& layout) {
  const checkpoint::Catalog catalog = checkpoint::open_safetensors(name);
  std::map<std::string, checkpoint::TensorInfo> found;
  for (const checkpoint::TensorInfo& info : catalog.tensors) found[info.name] = info;
  EXPECT_EQ(found.size(), layout.tensors.size());
  EXPECT_EQ(catalog.metadata, layout.metadata);
  for (const Hdf5Tensor& tensor : layout.tensors) {
    const checkpoint::TensorInfo& info = found[tensor.name];
    EXPECT_EQ(info.dtype, tensor.dtype) << tensor.name;
    EXPECT_EQ(info.shape, tensor.shape) << tensor.name;
    std::vector<std::byte> bytes(info.bytes.value());
    const path& file = catalog.files.at(info.file);
    base::read_exactly(base::open_for_reading(file), file, info.offset, bytes);
    EXPECT_EQ(bytes,
              test::sample_bytes(tensor.dtype, {tensor.offset, tensor.offset + info.elements}))
        << tensor.name;
  }
}

void expect_sample(const path& name) { expect_tensors(name, test::sample_layout()); }

std::string text_of(const path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

std::map<std::string, std::string> content_of(const path& directory) {
  std::map<std::string, std::string> content;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    content[entry.path().filename().string()] = text_of(entry.path());
  return content;
}

void put_text(const path& file, const std::string& text) {
  if (world().is_root()) {
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  comm::barrier(world());
}

TEST(SafetensorsWriter, WritesTheSameFilesWhateverTheCut) {
  const SharedDir dir(world());
  for (const Bytes shard_size : {Bytes{1}, kSomeFiles, kDefaultShardSize}) {
    const SafetensorsOptions options = options_of(shard_size, true);
    const std::vector<std::pair<test::Cut, std::uint64_t>> cuts{
        {test::even_cut, 30'000}, {test::growing_cut, 12'347}, {test::last_has_all, 1'000'000}};
    std::map<std::string, std::string> first;
    for (const auto& [cut, slab] : cuts) {
      write_directory(dir / "a", cut, slab, options);
      expect_sample(dir / "a");
      auto content = content_of(dir / "a");
      if (first.empty()) first = content;
      EXPECT_EQ(content, first) << shard_size.value() << " " << slab;
      comm::barrier(world());
    }
  }
}

TEST(SafetensorsWriter, MakesAnIndexOnlyForSeveralFiles) {
  const SharedDir dir(world());
  write_directory(dir / "one", test::even_cut, 30'000, options_of(kDefaultShardSize));
  write_directory(dir / "some", test::even_cut, 30'000, options_of(kSomeFiles));
  EXPECT_TRUE(exists(dir / "one" / "model.safetensors"));
  EXPECT_FALSE(exists(dir / "one" / "model.safetensors.index.json"));
  EXPECT_FALSE(exists(dir / "some" / "model.safetensors"));
  EXPECT_TRUE(exists(dir / "some" / "model.safetensors.index.json"));
  EXPECT_EQ(text_of(dir / "some" / "mpimerge_summary.json"), "{\"ranks\": 1}\n");
  EXPECT_EQ(text_of(dir / "some" / "mpimerge_job.yaml"), "merge_method: ties\n");
}

TEST(SafetensorsWriter, TakesFewerElementsThanRanks) {
  const SharedDir dir(world());
  Hdf5Layout layout;
  layout.metadata = {{"format", "pt"}};
  layout.datasets = {{Dtype::bf16, Elements{2}}};
  layout.tensors = {{"a", Dtype::bf16, {}, Elements{0}},
                    {"empty", Dtype::f32, {0, 3}, Elements{0}},
                    {"b", Dtype::bf16, {1}, Elements{1}}};
  SafetensorsWriter writer =
      SafetensorsWriter::begin(world(), dir / "a", layout, options_of(Bytes{2}));
  test::write_sample(writer, world(), layout, test::even_cut, 5);
  writer.close();
  writer.publish("{}");
  expect_tensors(dir / "a", layout);
}

TEST(SafetensorsWriter, NeedsNoTensors) {
  const SharedDir dir(world());
  Hdf5Layout layout;
  layout.metadata = {{"format", "pt"}};
  SafetensorsWriter writer = SafetensorsWriter::begin(world(), dir / "a", layout, {});
  writer.close();
  writer.publish("{}");
  expect_tensors(dir / "a", layout);
  EXPECT_FALSE(exists(dir / "a" / "mpimerge_job.yaml"));
}

TEST(SafetensorsWriter, ShowsNothingThatCouldBeTakenForAResultBeforeTheEnd) {
  const SharedDir dir(world());
  const Hdf5Layout layout = test::sample_layout();
  SafetensorsWriter writer = SafetensorsWriter::begin(world(), dir / "a", layout, {});
  test::write_sample(writer, world(), layout, test::even_cut, 100'000);
  writer.close();
  EXPECT_FALSE(exists(dir / "a"));
  EXPECT_TRUE(exists(dir / "a.partial" / "model.safetensors"));
  EXPECT_THROW(checkpoint::open_safetensors(dir / "a.partial"), base::Error);
  comm::barrier(world());

  writer.publish("{}");

  EXPECT_TRUE(exists(dir / "a"));
  EXPECT_FALSE(exists(dir / "a.partial"));
}

TEST(SafetensorsWriter, MayBeGivenUpAtAnyMoment) {
  const SharedDir dir(world());
  const Hdf5Layout layout = test::sample_layout();
  for (const int steps : {0, 1, 2}) {
    {
      SafetensorsWriter writer =
          SafetensorsWriter::begin(world(), dir / "a", layout, options_of(kSomeFiles));
      if (steps > 0) test::write_sample(writer, world(), layout, test::even_cut, 100'000);
      if (steps > 1) writer.close();
    }
    comm::barrier(world());
    EXPECT_FALSE(exists(dir / "a")) << steps;
    EXPECT_FALSE(exists(dir / "a.partial")) << steps;
    comm::barrier(world());
  }
}

TEST(SafetensorsWriter, LeavesThePartialDirectoryToAnErrorThatRanksDoNotShare) {
  const SharedDir dir(world());
  const auto run = [&] {
    const SafetensorsWriter writer =
        SafetensorsWriter::begin(world(), dir / "a", test::sample_layout(), {});
    throw std::runtime_error("here alone");
  };
  EXPECT_THROW(run(), std::runtime_error);
  comm::barrier(world());
  EXPECT_TRUE(exists(dir / "a.partial"));
}

struct Outcome {
  ErrorKind kind;
  std::string message;
};

template <class Call>
Outcome outcome_of(Call&& call) {
  try {
    call();
  } catch (const comm::AgreedError& error) {
    return {error.kind(), error.what()};
  }
  return {ErrorKind::bug, "no error"};
}

TEST(SafetensorsWriter, AWriteThatFailsOnOneRankIsEveryRanksErrorAndLeavesNothing) {
  const SharedDir dir(world());
  const Hdf5Layout layout = test::sample_layout();
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const Outcome outcome = outcome_of([&] {
    SafetensorsWriter writer =
        SafetensorsWriter::begin(world(), dir / "a", layout, options_of(kSomeFiles));
    if (world().rank() == world().ranks() - 1) {
      std::signal(SIGXFSZ, SIG_IGN);  // so that the limit is an error of write, as a quota is
      const rlimit small{4096, before.rlim_max};
      setrlimit(RLIMIT_FSIZE, &small);
    }
    test::write_sample(writer, world(), layout, test::even_cut, 10'000);
  });
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(outcome.kind, ErrorKind::output);
  EXPECT_THAT(outcome.message, AllOf(HasSubstr(".safetensors: cannot be written: File too large"),
                                     HasSubstr("a.partial")));
  comm::barrier(world());
  EXPECT_FALSE(exists(dir / "a.partial"));
}

TEST(SafetensorsWriter, KeepsFewFilesOpenHoweverManyItWrites) {
  const SharedDir dir(world());
  const Hdf5Layout layout = test::sample_layout();
  const auto open_files = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  const auto before = open_files();
  SafetensorsWriter writer =
      SafetensorsWriter::begin(world(), dir / "a", layout, options_of(Bytes{1}));
  test::write_sample(writer, world(), layout, test::last_has_all, 1'000'000);
  EXPECT_LE(open_files(), before + 16);
  writer.close();
  EXPECT_EQ(open_files(), before);
  writer.publish("{}");
  expect_sample(dir / "a");
}

// Collective. How `begin` refuses; every rank must see the same.
Outcome refusal_of(const path& name, const Hdf5Layout& layout, const SafetensorsOptions& options) {
  return outcome_of([&] { SafetensorsWriter::begin(world(), name, layout, options); });
}

TEST(SafetensorsWriter, ReplacesADirectoryThatMpimergeWroteOnlyWhenAskedTo) {
  const SharedDir dir(world());
  write_directory(dir / "a", test::even_cut, 100'000, options_of(kSomeFiles));
  put_text(dir / "a" / "mpimerge_summary.json", "precious");

  const Outcome refusal = refusal_of(dir / "a", test::sample_layout(), options_of(kSomeFiles));
  EXPECT_EQ(refusal.kind, ErrorKind::output);
  EXPECT_THAT(refusal.message, HasSubstr("a: exists; use --overwrite"));
  EXPECT_EQ(text_of(dir / "a" / "mpimerge_summary.json"), "precious");
  EXPECT_FALSE(exists(dir / "a.partial"));
  comm::barrier(world());

  write_directory(dir / "a", test::even_cut, 100'000, options_of(kDefaultShardSize, true));
  expect_sample(dir / "a");
  EXPECT_FALSE(exists(dir / "a" / "model.safetensors.index.json"));
  EXPECT_FALSE(exists(dir / "a.partial"));
}

TEST(SafetensorsWriter, KeepsTheOldDirectoryUntilTheNewOneIsComplete) {
  const SharedDir dir(world());
  put_text(dir / "a" / "mpimerge_summary.json", "precious");
  {
    const Hdf5Layout layout = test::sample_layout();
    SafetensorsWriter writer =
        SafetensorsWriter::begin(world(), dir / "a", layout, options_of(kSomeFiles, true));
    test::write_sample(writer, world(), layout, test::even_cut, 100'000);
    writer.close();
    EXPECT_EQ(text_of(dir / "a" / "mpimerge_summary.json"), "precious");
  }
  EXPECT_EQ(text_of(dir / "a" / "mpimerge_summary.json"), "precious");
}

TEST(SafetensorsWriter, KeepsACompleteResultWhoseNameWasTakenMeanwhile) {
  const SharedDir dir(world());
  {
    const Hdf5Layout layout = test::sample_layout();
    SafetensorsWriter writer = SafetensorsWriter::begin(world(), dir / "a", layout, {});
    test::write_sample(writer, world(), layout, test::even_cut, 100'000);
    writer.close();
    put_text(dir / "a" / "notes.txt", "precious");
    const Outcome outcome = outcome_of([&] { writer.publish("{}"); });
    EXPECT_EQ(outcome.kind, ErrorKind::output);
    EXPECT_THAT(outcome.message, HasSubstr("stays as"));
  }
  comm::barrier(world());
  EXPECT_EQ(text_of(dir / "a" / "notes.txt"), "precious");
  expect_sample(dir / "a.partial");
}

TEST(SafetensorsWriter, ReplacesThePartialDirectoryOfAnEarlierRun) {
  const SharedDir dir(world());
  put_text(dir / "a.partial" / "model-00001-of-00009.safetensors", "left over");
  write_directory(dir / "a", test::even_cut, 100'000, options_of(kSomeFiles));
  expect_sample(dir / "a");
  EXPECT_FALSE(exists(dir / "a" / "model-00001-of-00009.safetensors"));
}

TEST(SafetensorsWriter, ASlashAtTheEndOfTheNameChangesNothing) {
  const SharedDir dir(world());
  write_directory(path((dir / "a").string() + "/"), test::even_cut, 100'000, {});
  expect_sample(dir / "a");
}

TEST(SafetensorsWriter, NamesATensorThatSafetensorsCannotHold) {
  const SharedDir dir(world());
  Hdf5Layout layout = test::sample_layout();
  layout.tensors.push_back({"__metadata__", Dtype::f32, {0}, Elements{0}});
  const Outcome refusal = refusal_of(dir / "a", layout, {});
  EXPECT_EQ(refusal.kind, ErrorKind::input);
  EXPECT_THAT(refusal.message, HasSubstr("`__metadata__`: safetensors cannot hold this name"));
  EXPECT_FALSE(exists(dir / "a.partial"));
}

TEST(SafetensorsWriter, CopiesCompanionsSetsTheTypeAndAddsTexts) {
  const SharedDir dir(world());
  put_text(dir / "base" / "config.json", "{\"torch_dtype\": \"float32\"}");
  put_text(dir / "base" / "tokenizer.json", "{\"a\":1}");
  put_text(dir / "base" / "README.md", "of the base");
  put_text(dir / "base" / "notes.txt", "private");
  SafetensorsOptions options;
  options.companions = dir / "base";
  options.torch_dtype = Dtype::bf16;
  options.texts = {{"README.md", "of the merge"}};

  write_directory(dir / "a", test::even_cut, 100'000, options);
  options.torch_dtype.reset();
  write_directory(dir / "b", test::even_cut, 100'000, options);

  EXPECT_EQ(text_of(dir / "a" / "config.json"), "{\n  \"torch_dtype\": \"bfloat16\"\n}\n");
  EXPECT_EQ(text_of(dir / "b" / "config.json"), "{\"torch_dtype\": \"float32\"}");
  EXPECT_EQ(text_of(dir / "a" / "tokenizer.json"), "{\"a\":1}");
  EXPECT_EQ(text_of(dir / "a" / "README.md"), "of the merge");
  EXPECT_FALSE(exists(dir / "a" / "notes.txt"));
}

// An earlier run: the first half of each dataset, written, synced and kept.
std::vector<Slab> leave_half(const path& name, const Hdf5Layout& layout) {
  SafetensorsWriter writer =
      SafetensorsWriter::begin(world(), name, layout, options_of(kSomeFiles));
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
  const base::ElementRange range = test::even_cut(elements - half, rank, ranks);
  return {range.begin + half, range.end + half};
}

TEST(SafetensorsWriter, GoesOnWithWhatAnEarlierRunLeft) {
  const SharedDir dir(world());
  const Hdf5Layout layout = test::sample_layout();
  const std::vector<Slab> slabs = leave_half(dir / "a", layout);
  comm::barrier(world());
  EXPECT_TRUE(exists(dir / "a.partial"));
  EXPECT_FALSE(is_finished_directory(dir / "a", layout.job));

  SafetensorsWriter writer =
      SafetensorsWriter::resume(world(), dir / "a", layout, options_of(kSomeFiles));
  writer.adopt(slabs);
  test::write_sample(writer, world(), layout, second_half, 100'000);
  writer.close();
  writer.publish("{}");

  expect_sample(dir / "a");
  EXPECT_TRUE(is_finished_directory(dir / "a", layout.job));
  EXPECT_FALSE(is_finished_directory(dir / "a", "another job"));
}

TEST(SafetensorsWriter, ReadsBackWhatAnEarlierRunWroteToo) {
  const SharedDir dir(world());
  const Hdf5Layout layout = test::sample_layout();
  std::vector<Slab> slabs = leave_half(dir / "a", layout);
  for (Slab& slab : slabs) slab.checksum ^= 1;  // as if the bytes were others
  const bool any = comm::all_reduce_sum(world(), std::uint64_t{slabs.size()}) > 0;
  const auto write_the_rest = [&](bool forgets) {
    SafetensorsWriter writer =
        SafetensorsWriter::resume(world(), dir / "a", layout, options_of(kSomeFiles));
    writer.adopt(slabs);
    if (forgets) writer.forget();
    test::write_sample(writer, world(), layout, second_half, 100'000);
    writer.close();
  };

  EXPECT_TRUE(any);
  EXPECT_THROW(write_the_rest(false), comm::AgreedError);
  EXPECT_TRUE(exists(dir / "a.partial")) << "what a journal speaks of was removed";
  EXPECT_NO_THROW(write_the_rest(true));
}

TEST(SafetensorsWriter, ReportsEachSlabOnce) {
  const SharedDir dir(world());
  const Hdf5Layout layout = test::sample_layout();
  SafetensorsWriter writer =
      SafetensorsWriter::begin(world(), dir / "a", layout, options_of(kSomeFiles));
  EXPECT_TRUE(writer.take_new_slabs().empty());
  test::write_sample(writer, world(), layout, test::even_cut, 1'000'000);
  std::uint64_t elements = 0;
  for (const Slab& slab : writer.take_new_slabs()) {
    EXPECT_FALSE(slab.range.empty());
    elements += slab.range.count().value();
  }
  EXPECT_TRUE(writer.take_new_slabs().empty());
  std::uint64_t all = 0;
  for (const Hdf5Dataset& dataset : layout.datasets) all += dataset.elements.value();
  EXPECT_EQ(comm::all_reduce_sum(world(), elements), all);
}

// Collective.
std::string refusal_to_resume(const path& name, const Hdf5Layout& layout, Bytes shard_size) {
  const Outcome outcome =
      outcome_of([&] { SafetensorsWriter::resume(world(), name, layout, options_of(shard_size)); });
  EXPECT_EQ(outcome.kind, ErrorKind::output);
  return outcome.message;
}

TEST(SafetensorsWriter, GoesOnOnlyWithAPartialDirectoryOfTheSameMerge) {
  const SharedDir dir(world());
  const Hdf5Layout layout = test::sample_layout();
  EXPECT_THAT(refusal_to_resume(dir / "a", layout, kSomeFiles), HasSubstr("is missing"));
  leave_half(dir / "a", layout);
  comm::barrier(world());

  Hdf5Layout other_job = layout;
  other_job.job = "another";
  EXPECT_THAT(refusal_to_resume(dir / "a", other_job, kSomeFiles), HasSubstr("another job"));
  EXPECT_THAT(refusal_to_resume(dir / "a", layout, kDefaultShardSize),
              HasSubstr("model.safetensors: No such file"));
  Hdf5Layout other_shape = layout;
  other_shape.tensors[0].shape = {1000, 70};
  EXPECT_THAT(refusal_to_resume(dir / "a", other_shape, kSomeFiles),
              HasSubstr("is not a file of this merge"));
  EXPECT_TRUE(exists(dir / "a.partial")) << "refusing removed it";

  comm::barrier(world());
  const SafetensorsPlan plan = plan_safetensors(layout, kSomeFiles);
  if (world().is_root()) {
    std::fstream file(dir / "a.partial" / plan.files[1].name,
                      std::ios::in | std::ios::out | std::ios::binary);
    file.write(plan.files[1].header.data(), 8);
  }
  comm::barrier(world());
  EXPECT_THAT(refusal_to_resume(dir / "a", layout, kSomeFiles), HasSubstr("was being completed"));
}

TEST(SafetensorsWriter, FindsAByteThatChangedOnItsWayToTheFile) {
  const SharedDir dir(world());
  const Hdf5Layout layout = test::sample_layout();
  const SafetensorsPlan plan = plan_safetensors(layout, kSomeFiles);
  const Outcome outcome = outcome_of([&] {
    SafetensorsWriter writer =
        SafetensorsWriter::begin(world(), dir / "a", layout, options_of(kSomeFiles));
    test::write_sample(writer, world(), layout, test::even_cut, 100'000);
    comm::barrier(world());
    if (world().is_root()) {
      const Stretch place = stretches(plan, 0, {Elements{70'003}, Elements{70'004}}).at(0);
      std::fstream file(dir / "a.partial" / plan.files[place.file].name,
                        std::ios::in | std::ios::out | std::ios::binary);
      const auto wanted = test::sample_bytes(Dtype::f64, place.elements);
      file.seekp(static_cast<std::streamoff>(place.offset.value()))
          .put(static_cast<char>(std::to_integer<int>(wanted[0]) ^ 1));
    }
    comm::barrier(world());
    writer.close();
  });
  EXPECT_EQ(outcome.kind, ErrorKind::output);
  EXPECT_THAT(outcome.message, HasSubstr("do not read back as they were written"));
  comm::barrier(world());
  EXPECT_FALSE(exists(dir / "a.partial"));
  EXPECT_FALSE(exists(dir / "a"));
}

}  // namespace
}  // namespace mpimerge::output
