#include "mpimerge/merge/block_store.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/plan/build.hpp"
#include "mpimerge/plan/read_plan.hpp"

#include "merge/models.hpp"
#include "support/hash.hpp"
#include "support/temp_dir.hpp"

namespace mpimerge::merge {
namespace {

using base::Bytes;
using base::Dtype;
using checkpoint::Catalog;
using test::Model;
using test::ModelTensor;
using test::Storage;
using test::TempDir;
using test::write_model;
using testing::HasSubstr;

constexpr Bytes kNothing{0};
constexpr Bytes kPlenty{std::uint64_t{1} << 40};

ModelTensor random_tensor(std::uint64_t seed, const std::string& name, Dtype dtype,
                          std::vector<std::uint64_t> shape) {
  ModelTensor tensor{name, dtype, shape, {}};
  tensor.bytes.resize(test::elements_of(shape) * base::element_bytes(dtype).value());
  for (std::size_t i = 0; i < tensor.bytes.size(); ++i)
    tensor.bytes[i] = static_cast<std::byte>(test::hash(seed, i) & 0xffU);
  return tensor;
}

Model random_model(std::uint64_t seed, Dtype floating) {
  return {random_tensor(seed + 1, "embed", floating, {61, 67}),
          random_tensor(seed + 2, "ids", Dtype::i64, {1001}),
          random_tensor(seed + 3, "none", floating, {0, 7}),
          random_tensor(seed + 4, "scale", floating, {}),
          random_tensor(seed + 5, "head", floating, {5000}),
          random_tensor(seed + 6, "mask", Dtype::boolean, {333}),
          random_tensor(seed + 7, "wide", Dtype::f64, {777})};
}

// A base and two tasks; types, order and files are different in each.
struct Sources {
  TempDir directory;
  std::vector<Model> models{random_model(100, Dtype::bf16), random_model(200, Dtype::f32),
                            random_model(300, Dtype::f16)};
  std::vector<Catalog> catalogs{
      write_model(directory.path(), "base", models[0]),
      write_model(directory.path(), "math", models[1], Storage{3, true, 101, 0}),
      write_model(directory.path(), "code", models[2], Storage{2, true, 7, 5})};

  plan::Plan plan(std::uint64_t ranks, std::uint64_t chunk_bytes) const {
    plan::Request request;
    request.ranks = ranks;
    request.chunk = Bytes{chunk_bytes};
    return plan::build_plan(request, catalogs[0], {catalogs[1], catalogs[2]});
  }
};

// Blocks of at most so many elements, and memory for resident ones.
plan::ReadPlan reads_of(const plan::Plan& plan, Bytes resident, std::uint64_t block = 1000) {
  plan::ReadPlan reads = plan::plan_reads(plan, kNothing);
  for (base::Elements& elements : reads.blocks)
    elements = base::Elements{std::min(elements.value(), block)};
  reads.resident = resident;
  return reads;
}

template <class Visit>
void for_each_block(const plan::Plan& plan, const plan::ReadPlan& reads, std::uint64_t rank,
                    Visit&& visit) {
  for (std::size_t group = 0; group < plan.groups.size(); ++group) {
    for (std::uint64_t round = 0; round < plan.rounds(group); ++round) {
      for (const plan::Block& block : plan::blocks(reads, group, plan.chunk(group, rank, round)))
        visit(block);
    }
  }
}

// How many bytes of the block are not those of the models.
std::size_t wrong_bytes(const BlockData& block, const plan::Plan& plan,
                        const std::vector<Model>& models) {
  std::size_t wrong = 0;
  for (std::size_t source = 0; source < models.size(); ++source) {
    for (std::size_t number = 0; number < block.segments.size(); ++number) {
      const plan::Segment& segment = block.segments[number];
      const plan::Tensor& tensor = plan.tensors[segment.tensor];
      const std::span<const std::byte> found = block.bytes(source, number);
      if ((source > 0 && tensor.role == plan::Role::copy) ||
          plan.sources[source].extents[segment.tensor].is_absent()) {
        wrong += found.size();
        continue;
      }
      const ModelTensor& expected = test::find(models[source], tensor.name);
      const std::size_t size = base::element_bytes(expected.dtype).value();
      EXPECT_EQ(found.size(), segment.elements.count().value() * size) << tensor.name;
      const std::byte* from = expected.bytes.data() + segment.elements.begin.value() * size;
      for (std::size_t i = 0; i < found.size(); ++i) wrong += found[i] == from[i] ? 0U : 1U;
    }
  }
  return wrong;
}

// A model lacks a tensor between others: what the merge does without is not read, what the base
// stands in for is the base's.
TEST(BlockStore, HoldsNothingOrTheBasesBytesOfATensorThatAModelLacks) {
  Sources sources;
  std::erase_if(sources.models[1], [](const ModelTensor& each) { return each.name == "scale"; });
  sources.catalogs[1] = write_model(sources.directory.path(), "less", sources.models[1]);
  for (const plan::Missing missing : {plan::Missing::skip, plan::Missing::base}) {
    plan::Request request;
    request.missing = missing;
    const plan::Plan plan =
        plan::build_plan(request, sources.catalogs[0], {sources.catalogs[1], sources.catalogs[2]});
    std::vector<Model> expected = sources.models;
    if (missing == plan::Missing::base)
      expected[1].push_back(test::find(sources.models[0], "scale"));
    for (const Bytes memory : {kNothing, kPlenty}) {
      const plan::ReadPlan reads = reads_of(plan, memory);
      BlockStore store(plan, reads, 0, true);
      std::uint64_t predicted = 0;
      for_each_block(plan, reads, 0, [&](const plan::Block& block) {
        store.read_ahead(block);
        EXPECT_EQ(wrong_bytes(store.load(block), plan, expected), 0U);
        predicted += plan::read_bytes(plan, block).value();
      });
      EXPECT_EQ(store.bytes_read(), Bytes{predicted});
    }
  }
}

// Between tensors that are read there are such as no file holds; memory and traffic are as planned.
TEST(BlockStore, FillsABaseOfOneValue) {
  Sources sources;
  std::vector<Model> expected = sources.models;
  for (ModelTensor& tensor : expected[0]) {
    if (base::is_merged(tensor.dtype)) {
      tensor.bytes =
          test::encode(tensor.dtype, std::vector<double>(test::elements_of(tensor.shape), 1));
    }
  }
  sources.catalogs[0].content = checkpoint::Content::ones;
  for (const std::uint64_t ranks : {1U, 3U}) {
    const plan::Plan plan = sources.plan(ranks, 20'000);
    for (const Bytes memory : {kNothing, Bytes{20'000}, kPlenty}) {
      const plan::ReadPlan reads = reads_of(plan, memory, 100);
      for (std::uint64_t rank = 0; rank < ranks; ++rank) {
        BlockStore store(plan, reads, rank, true);
        for (int pass = 0; pass < 2; ++pass) {
          for_each_block(plan, reads, rank, [&](const plan::Block& block) {
            if (pass == 0 && !plan.merges(block.group)) return;
            EXPECT_EQ(wrong_bytes(store.load(block), plan, expected), 0U);
          });
        }
        const plan::Traffic traffic = plan::predict_traffic(plan, reads, rank, {});
        EXPECT_EQ(store.bytes_read(), traffic.select + traffic.merge);
        EXPECT_EQ(store.resident_bytes(), traffic.resident);
      }
    }
  }
}

TEST(BlockStore, HoldsTheBytesOfEveryTensorForManyRanksBlocksAndBudgets) {
  const Sources sources;
  for (const std::uint64_t ranks : {1U, 2U, 3U, 7U, 600U}) {
    for (const std::uint64_t size : {100U, 4096U, 1'000'000U}) {
      const plan::Plan plan = sources.plan(ranks, 20'000);
      for (const Bytes memory : {kNothing, Bytes{20'000}, kPlenty}) {
        const plan::ReadPlan reads = reads_of(plan, memory, size);
        std::size_t wrong = 0;
        std::uint64_t elements = 0;
        for (std::uint64_t rank = 0; rank<ranks; rank += ranks> 10 ? 50 : 1) {
          BlockStore store(plan, reads, rank, true);
          for (int pass = 0; pass < 2; ++pass) {
            for_each_block(plan, reads, rank, [&](const plan::Block& block) {
              if (pass == 0) store.read_ahead(block);
              const BlockData& loaded = store.load(block);
              EXPECT_EQ(loaded.group, block.group);
              EXPECT_EQ(loaded.range, block.range);
              wrong += wrong_bytes(loaded, plan, sources.models);
              elements += loaded.range.count().value();
            });
          }
        }
        EXPECT_EQ(wrong, 0U) << ranks << " ranks, blocks of " << size;
        if (ranks < 10) {
          EXPECT_EQ(elements, 2U * (61 * 67 + 1001 + 1 + 5000 + 333 + 777));
        }
      }
    }
  }
}

// What is read in two passes over the blocks that are merged, and one over the others.
Bytes bytes_of_a_merge(const plan::Plan& plan, const plan::ReadPlan& reads, std::uint64_t rank) {
  BlockStore store(plan, reads, rank, true);
  for (int pass = 0; pass < 2; ++pass) {
    for_each_block(plan, reads, rank, [&](const plan::Block& block) {
      if (pass == 1 || plan.merges(block.group)) store.load(block);
    });
  }
  return store.bytes_read();
}

TEST(BlockStore, ReadsWhatThePlanPredicts) {
  const Sources sources;
  for (const std::uint64_t ranks : {1U, 3U, 7U}) {
    const plan::Plan plan = sources.plan(ranks, 4096);
    for (const std::uint64_t memory : {0U, 5'000U, 30'000U, 1U << 30}) {
      const plan::ReadPlan reads = reads_of(plan, Bytes{memory});
      for (std::uint64_t rank = 0; rank < ranks; ++rank) {
        const plan::Traffic traffic = plan::predict_traffic(plan, reads, rank, {});
        EXPECT_EQ(bytes_of_a_merge(plan, reads, rank), traffic.select + traffic.merge);
      }
    }
  }
}

TEST(BlockStore, ReadsOnceWhatStaysAndTwiceWhatDoesNot) {
  const Sources sources;
  const plan::Plan plan = sources.plan(1, 4096);
  const Bytes once = plan::shard_bytes(plan, 0).read;

  EXPECT_EQ(bytes_of_a_merge(plan, reads_of(plan, kPlenty), 0), once);
  const Bytes streamed = bytes_of_a_merge(plan, reads_of(plan, kNothing), 0);
  const Bytes half = bytes_of_a_merge(plan, reads_of(plan, Bytes{once.value() / 2}), 0);
  EXPECT_GT(half, once);
  EXPECT_LT(half, streamed);
  EXPECT_LT(streamed, once + once);  // what is only copied is read in one pass
}

TEST(BlockStore, KeepsNothingWhereNothingIsAskedForTwice) {
  const Sources sources;
  const plan::Plan plan = sources.plan(1, 4096);
  const plan::ReadPlan reads = reads_of(plan, kPlenty);
  BlockStore store(plan, reads, 0, false);
  for_each_block(plan, reads, 0, [&](const plan::Block& block) { store.load(block); });
  EXPECT_EQ(store.resident_bytes(), kNothing);
}

TEST(BlockStore, KeepsNothingThatIsOnlyCopied) {
  const Sources sources;
  const plan::Plan plan = sources.plan(1, 4096);
  const plan::ReadPlan reads = reads_of(plan, kPlenty);
  BlockStore store(plan, reads, 0, true);
  for_each_block(plan, reads, 0, [&](const plan::Block& block) {
    if (!plan.merges(block.group)) store.load(block);
  });
  EXPECT_GT(store.bytes_read(), kNothing);
  EXPECT_EQ(store.resident_bytes(), kNothing);
}

TEST(BlockStore, ReadsNotOnIntoAnotherFile) {
  // `first` ends in one file at the offset where `second` begins in the other.
  const Model model{random_tensor(1, "first", Dtype::f32, {50}),
                    random_tensor(2, "second", Dtype::f32, {50}),
                    random_tensor(3, "third", Dtype::f32, {50})};
  const TempDir directory;
  const Catalog base = write_model(directory.path(), "base", model);
  const Catalog task = write_model(directory.path(), "task", model, Storage{2, true});
  ASSERT_NE(task.tensors[2].file, task.tensors[1].file);
  ASSERT_EQ(task.tensors[2].offset + task.tensors[2].bytes, task.tensors[1].offset);
  const plan::Plan plan = plan::build_plan({}, base, {task});
  for (const Bytes memory : {kNothing, kPlenty}) {
    const plan::ReadPlan reads = reads_of(plan, memory);
    BlockStore store(plan, reads, 0, true);
    for_each_block(plan, reads, 0, [&](const plan::Block& block) {
      EXPECT_EQ(wrong_bytes(store.load(block), plan, {model, model}), 0U);
    });
  }
}

TEST(BlockStore, SaysHowMuchStaysInMemory) {
  const Sources sources;
  const plan::Plan plan = sources.plan(1, 4096);
  const plan::ReadPlan all = reads_of(plan, kPlenty);
  const plan::ReadPlan none = reads_of(plan, kNothing);
  BlockStore plenty(plan, all, 0, true);
  BlockStore nothing(plan, none, 0, true);
  for_each_block(plan, all, 0, [&](const plan::Block& block) {
    if (!plan.merges(block.group)) return;
    plenty.load(block);
    nothing.load(block);
  });

  EXPECT_GT(plenty.resident_bytes(), kNothing);
  EXPECT_EQ(nothing.resident_bytes(), kNothing);
}

TEST(BlockStore, PeeksAtSomeTasksOfAnyRangeAndKeepsNothing) {
  const Sources sources;
  const plan::Plan plan = sources.plan(1, 1 << 20);
  const plan::ReadPlan reads = reads_of(plan, kPlenty);
  BlockStore store(plan, reads, 0, true);
  for (std::size_t group = 0; group < plan.groups.size(); ++group) {
    if (!plan.merges(group) || plan.groups[group].elements < base::Elements{100}) continue;
    const plan::Block odd{group, {base::Elements{17}, base::Elements{93}}};
    for (const std::size_t task : {0U, 1U}) {
      const BlockData& data = store.peek(odd, task, task + 1);
      for (std::size_t number = 0; number < data.segments.size(); ++number) {
        const plan::Segment& segment = data.segments[number];
        EXPECT_TRUE(data.bytes(2 - task, number).empty());
        for (const std::size_t source : {std::size_t{0}, task + 1}) {
          const ModelTensor& expected =
              test::find(sources.models[source], plan.tensors[segment.tensor].name);
          const std::size_t size = base::element_bytes(expected.dtype).value();
          const auto found = data.bytes(source, number);
          ASSERT_EQ(found.size(), segment.elements.count().value() * size);
          EXPECT_TRUE(
              std::equal(found.begin(), found.end(),
                         expected.bytes.begin() +
                             static_cast<std::ptrdiff_t>(segment.elements.begin.value() * size)));
        }
      }
    }
  }
  EXPECT_EQ(store.resident_bytes(), kNothing);
}

TEST(BlockStore, ARankWithoutElementsReadsNothing) {
  const Sources sources;
  const plan::Plan plan = sources.plan(5000, 4096);
  const plan::ReadPlan reads = reads_of(plan, kNothing);
  BlockStore store(plan, reads, 4999, true);

  for_each_block(plan, reads, 4999, [&](const plan::Block& block) { store.load(block); });

  EXPECT_EQ(store.bytes_read(), kNothing);
}

// Bytes of addresses that this process has in use.
std::uint64_t address_space() {
  std::uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

constexpr std::size_t kLarge = std::size_t{1} << 30;

TEST(LargeMemory, GoesBackToTheSystemWithItsLastOwner) {
  const std::uint64_t before = address_space();
  {
    LargeMemory first(kLarge);
    LargeMemory second(std::move(first));
    EXPECT_TRUE(first.bytes().empty());
    EXPECT_EQ(second.bytes().size(), kLarge);
    EXPECT_GE(address_space(), before + kLarge);
    LargeMemory third;
    third = std::move(second);
    EXPECT_EQ(third.bytes().size(), kLarge);
  }
  EXPECT_LT(address_space(), before + kLarge);
}

TEST(LargeMemory, ThatTheSystemHasNotIsAnErrorOfResources) {
  try {
    const LargeMemory memory(std::size_t{1} << 60);
    ADD_FAILURE() << "the system gave 2^60 bytes";
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), base::ErrorKind::resources);
    EXPECT_THAT(error.what(), HasSubstr("--memory"));
  }
}

TEST(MappedFile, IsUnmappedWithItsLastOwner) {
  const TempDir directory;
  const auto path = directory.path() / "file";
  std::ofstream(path) << 'x';
  std::filesystem::resize_file(path, kLarge);  // a hole
  const base::FileDescriptor file = base::open_for_reading(path);
  const std::uint64_t before = address_space();
  {
    MappedFile first(file, Bytes{kLarge});
    const bool shown = first.populate(0, 1).has_value();
    const MappedFile second(std::move(first));
    EXPECT_EQ(second.populate(0, 1).has_value(), shown);
    EXPECT_FALSE(first.populate(0, 1));
  }
  EXPECT_LT(address_space(), before + kLarge);
}

TEST(MappedFile, ShowsTheFileAndNothingBehindItsEnd) {
  const TempDir directory;
  const auto path = directory.path() / "file";
  std::ofstream(path) << std::string(10'000, 'x') << "end";
  const base::FileDescriptor file = base::open_for_reading(path);
  const MappedFile mapped(file, base::file_size(file, path));

  const auto shown = mapped.populate(9'999, 4);
  // A system that cannot say what it could not read shows nothing.
  EXPECT_EQ(shown.has_value(), mapped.populate(0, 1).has_value());
  if (shown) {
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(shown->data()), shown->size()), "xend");
  }
  EXPECT_FALSE(mapped.populate(9'999, 5));
  EXPECT_FALSE(mapped.populate(20'000, 1));
}

TEST(MappedFile, AFileThatBecameShorterIsNotShown) {
  const TempDir directory;
  const auto path = directory.path() / "file";
  std::ofstream(path) << std::string(100'000, 'x');
  const base::FileDescriptor file = base::open_for_reading(path);
  const MappedFile mapped(file, base::file_size(file, path));
  std::filesystem::resize_file(path, 10);

  EXPECT_FALSE(mapped.populate(90'000, 10));
}

std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

// A process that may open few files, as long as it lives.
class FewFiles {
 public:
  explicit FewFiles(rlim_t most) {
    getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit few{most, before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
  }
  ~FewFiles() { setrlimit(RLIMIT_NOFILE, &before_); }
  FewFiles(const FewFiles&) = delete;
  FewFiles& operator=(const FewFiles&) = delete;

 private:
  rlimit before_{};
};

TEST(OpenFilesLimit, IsHalfOfWhatTheProcessMayOpenWithinBounds) {
  {
    const FewFiles few(20);
    EXPECT_EQ(open_files_limit(), 16U);
  }
  {
    const FewFiles some(1000);
    EXPECT_EQ(open_files_limit(), 500U);
  }
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const FewFiles many(limit.rlim_max);
  EXPECT_EQ(open_files_limit(), std::min<rlim_t>(limit.rlim_max / 2, 4096));
}

TEST(BlockStore, ReadsMoreFilesThanItMayOpen) {
  constexpr std::size_t kFiles = 300;
  Model model;
  for (std::size_t number = 0; number < kFiles; ++number) {
    model.push_back(
        random_tensor(number, "tensor " + std::to_string(number), Dtype::f32, {number + 1}));
  }
  const TempDir directory;
  const Catalog base = write_model(directory.path(), "base", model, Storage{kFiles});
  const Catalog task = write_model(directory.path(), "task", model, Storage{kFiles, true});
  plan::Request request;
  request.chunk = Bytes{4096};
  const plan::Plan plan = plan::build_plan(request, base, {task});
  ASSERT_EQ(plan.sources[1].files.size(), kFiles);
  const FewFiles few(128);
  const std::ptrdiff_t before = open_descriptors();
  const plan::ReadPlan reads = reads_of(plan, kNothing);
  BlockStore store(plan, reads, 0, true);
  std::size_t wrong = 0;
  std::ptrdiff_t most = 0;

  for (int pass = 0; pass < 2; ++pass) {
    for_each_block(plan, reads, 0, [&](const plan::Block& block) {
      wrong += wrong_bytes(store.load(block), plan, {model, model});
      most = std::max(most, open_descriptors() - before);
    });
  }

  EXPECT_EQ(wrong, 0U);
  EXPECT_LE(most, 64);
  EXPECT_GT(most, 32);
}

// The line with which loading all blocks fails.
std::string failure(const plan::Plan& plan) {
  const plan::ReadPlan reads = reads_of(plan, kPlenty);
  BlockStore store(plan, reads, 0, true);
  try {
    for_each_block(plan, reads, 0, [&](const plan::Block& block) { store.load(block); });
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), base::ErrorKind::input);
    return error.what();
  }
  ADD_FAILURE() << "nothing failed";
  return {};
}

TEST(BlockStore, NamesAFileThatBecameShorter) {
  const Sources sources;
  const auto& file = sources.catalogs[1].files[0];  // ends with `head`
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);

  EXPECT_THAT(failure(sources.plan(1, 4096)), HasSubstr(file.string()));
}

TEST(BlockStore, NamesAFileThatIsGone) {
  const Sources sources;
  const auto& file = sources.catalogs[2].files[0];
  std::filesystem::remove(file);

  EXPECT_THAT(failure(sources.plan(1, 4096)), HasSubstr(file.string()));
}

}  // namespace
}  // namespace mpimerge::merge
