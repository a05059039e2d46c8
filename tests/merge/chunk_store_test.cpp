#include "mpimerge/merge/chunk_store.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/plan/build.hpp"

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

template <class Visit>
void for_each_chunk(const plan::Plan& plan, Visit&& visit) {
  for (std::size_t group = 0; group < plan.groups.size(); ++group)
    for (std::uint64_t round = 0; round < plan.rounds(group); ++round) visit(group, round);
}

// How many bytes of the chunk are not those of the models.
std::size_t wrong_bytes(const ChunkData& chunk, const plan::Plan& plan,
                        const std::vector<Model>& models) {
  std::size_t wrong = 0;
  for (std::size_t source = 0; source < models.size(); ++source) {
    for (std::size_t number = 0; number < chunk.segments.size(); ++number) {
      const plan::Segment& segment = chunk.segments[number];
      const plan::Tensor& tensor = plan.tensors[segment.tensor];
      const ModelTensor& expected = test::find(models[source], tensor.name);
      const std::size_t size = base::element_bytes(expected.dtype).value();
      const std::span<const std::byte> found = chunk.bytes(source, number);
      if (source > 0 && tensor.role == plan::Role::copy) {
        wrong += found.size();
        continue;
      }
      EXPECT_EQ(found.size(), segment.elements.count().value() * size) << tensor.name;
      const std::byte* from = expected.bytes.data() + segment.elements.begin.value() * size;
      for (std::size_t i = 0; i < found.size(); ++i) wrong += found[i] == from[i] ? 0U : 1U;
    }
  }
  return wrong;
}

TEST(ChunkStore, HoldsTheBytesOfEveryTensorForManyRanksChunksAndBudgets) {
  const Sources sources;
  for (const std::uint64_t ranks : {1U, 2U, 3U, 7U, 600U}) {
    for (const std::uint64_t chunk : {1U, 10'000U, 1'000'000U}) {
      const plan::Plan plan = sources.plan(ranks, chunk);
      for (const Bytes memory : {kNothing, Bytes{20'000}, kPlenty}) {
        std::size_t wrong = 0;
        std::uint64_t elements = 0;
        for (std::uint64_t rank = 0; rank<ranks; rank += ranks> 10 ? 50 : 1) {
          ChunkStore store(plan, rank, memory);
          for (int pass = 0; pass < 2; ++pass) {
            for_each_chunk(plan, [&](std::size_t group, std::uint64_t round) {
              const ChunkData& loaded = store.load(group, round);
              EXPECT_EQ(loaded.group, group);
              EXPECT_EQ(loaded.range, plan.chunk(group, rank, round));
              wrong += wrong_bytes(loaded, plan, sources.models);
              elements += loaded.range.count().value();
            });
          }
        }
        EXPECT_EQ(wrong, 0U) << ranks << " ranks, chunks of " << chunk;
        if (ranks < 10) {
          EXPECT_EQ(elements, 2U * (61 * 67 + 1001 + 1 + 5000 + 333 + 777));
        }
      }
    }
  }
}

Bytes bytes_of_two_passes(const plan::Plan& plan, std::uint64_t rank, Bytes memory) {
  ChunkStore store(plan, rank, memory);
  for (int pass = 0; pass < 2; ++pass) {
    for_each_chunk(plan, [&](std::size_t group, std::uint64_t round) { store.load(group, round); });
  }
  return store.bytes_read();
}

TEST(ChunkStore, ReadsEveryByteOnceWhenResidentAndOncePerPassWhenStreaming) {
  const Sources sources;
  for (const std::uint64_t ranks : {1U, 3U, 7U}) {
    const plan::Plan plan = sources.plan(ranks, 4096);
    for (std::uint64_t rank = 0; rank < ranks; ++rank) {
      const Bytes once = plan::shard_bytes(plan, rank).read;

      EXPECT_EQ(bytes_of_two_passes(plan, rank, kPlenty), once);
      EXPECT_EQ(bytes_of_two_passes(plan, rank, once), once);
      EXPECT_EQ(bytes_of_two_passes(plan, rank, kNothing), once + once);
    }
  }
}

TEST(ChunkStore, KeepsAsManyChunksAsFitTheBudget) {
  const Sources sources;
  const plan::Plan plan = sources.plan(1, 4096);
  const Bytes once = plan::shard_bytes(plan, 0).read;
  const Bytes budget{once.value() / 2};

  const Bytes read = bytes_of_two_passes(plan, 0, budget);

  EXPECT_GE(read, once + once - budget);
  EXPECT_LT(read, once + once);
}

TEST(ChunkStore, SaysWhetherAllStayedInMemory) {
  const Sources sources;
  const plan::Plan plan = sources.plan(1, 4096);
  ChunkStore plenty(plan, 0, kPlenty);
  ChunkStore nothing(plan, 0, kNothing);
  EXPECT_TRUE(plenty.resident());

  for_each_chunk(plan, [&](std::size_t group, std::uint64_t round) {
    plenty.load(group, round);
    nothing.load(group, round);
  });

  EXPECT_TRUE(plenty.resident());
  EXPECT_FALSE(nothing.resident());
}

TEST(ChunkStore, AReleasedChunkIsReadAgain) {
  const Sources sources;
  const plan::Plan plan = sources.plan(1, 4096);
  ChunkStore store(plan, 0, kPlenty);
  store.load(0, 0);
  const Bytes first = store.bytes_read();
  store.load(0, 0);
  EXPECT_EQ(store.bytes_read(), first);

  store.release(0, 0);
  store.release(0, 0);
  store.release(0, 1);  // never loaded

  EXPECT_EQ(wrong_bytes(store.load(0, 0), plan, sources.models), 0U);
  EXPECT_EQ(store.bytes_read(), first + first);
}

TEST(ChunkStore, ARankWithoutElementsReadsNothing) {
  const Sources sources;
  const plan::Plan plan = sources.plan(5000, 4096);
  ChunkStore store(plan, 4999, kNothing);

  for_each_chunk(plan, [&](std::size_t group, std::uint64_t round) {
    EXPECT_TRUE(store.load(group, round).segments.empty());
  });

  EXPECT_EQ(store.bytes_read(), kNothing);
}

std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

TEST(ChunkStore, ReadsMoreFilesThanItKeepsOpen) {
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
  const std::ptrdiff_t before = open_descriptors();
  ChunkStore store(plan, 0, kNothing);
  std::size_t wrong = 0;
  std::ptrdiff_t most = 0;

  for (int pass = 0; pass < 2; ++pass) {
    for_each_chunk(plan, [&](std::size_t group, std::uint64_t round) {
      wrong += wrong_bytes(store.load(group, round), plan, {model, model});
      most = std::max(most, open_descriptors() - before);
    });
  }

  EXPECT_EQ(wrong, 0U);
  EXPECT_LE(most, 128);
}

// The line with which loading all chunks fails.
std::string failure(const plan::Plan& plan) {
  ChunkStore store(plan, 0, kPlenty);
  try {
    for_each_chunk(plan, [&](std::size_t group, std::uint64_t round) { store.load(group, round); });
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), base::ErrorKind::input);
    return error.what();
  }
  ADD_FAILURE() << "nothing failed";
  return {};
}

TEST(ChunkStore, NamesAFileThatBecameShorter) {
  const Sources sources;
  const auto& file = sources.catalogs[1].files[0];  // ends with `head`
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);

  EXPECT_THAT(failure(sources.plan(1, 4096)), HasSubstr(file.string()));
}

TEST(ChunkStore, NamesAFileThatIsGone) {
  const Sources sources;
  const auto& file = sources.catalogs[2].files[0];
  std::filesystem::remove(file);

  EXPECT_THAT(failure(sources.plan(1, 4096)), HasSubstr(file.string()));
}

}  // namespace
}  // namespace mpimerge::merge
