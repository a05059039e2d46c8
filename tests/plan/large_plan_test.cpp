// A plan far larger than any machine here, computed without data: 10^13 parameters × 400 tasks ×
// 100,000 ranks.
#include <algorithm>
#include <cstdint>
#include <ctime>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "mpimerge/comm/object.hpp"
#include "mpimerge/plan/build.hpp"
#include "mpimerge/plan/plan.hpp"

#include "plan/catalogs.hpp"

namespace mpimerge::plan {
namespace {

using base::Bytes;
using base::Dtype;
using base::ElementRange;
using base::Elements;
using checkpoint::Catalog;
using checkpoint::TensorInfo;
using test::tensor;

constexpr std::uint64_t kRanks = 100'000;
constexpr std::size_t kTasks = 400;
constexpr std::uint64_t kFiles = 7;

// 144 layers of width 65,536 with a feed-forward of 5 × that and key-value heads of 1/8: more than
// 10^13 parameters in 1,299 tensors.
std::vector<TensorInfo> tensors_of_a_large_model() {
  constexpr std::uint64_t kWidth = 65'536;
  constexpr std::uint64_t kInner = 5 * kWidth;
  constexpr std::uint64_t kLayers = 144;
  constexpr std::uint64_t kVocabulary = 256'000;
  const auto bf16 = [](std::string name, test::Shape shape) {
    return tensor(std::move(name), Dtype::bf16, std::move(shape));
  };
  std::vector<TensorInfo> list;
  list.push_back(bf16("model.embed_tokens.weight", {kVocabulary, kWidth}));
  for (std::uint64_t layer = 0; layer < kLayers; ++layer) {
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    list.push_back(bf16(prefix + "input_layernorm.weight", {kWidth}));
    list.push_back(bf16(prefix + "mlp.down_proj.weight", {kWidth, kInner}));
    list.push_back(bf16(prefix + "mlp.gate_proj.weight", {kInner, kWidth}));
    list.push_back(bf16(prefix + "mlp.up_proj.weight", {kInner, kWidth}));
    list.push_back(bf16(prefix + "post_attention_layernorm.weight", {kWidth}));
    list.push_back(bf16(prefix + "self_attn.k_proj.weight", {kWidth / 8, kWidth}));
    list.push_back(bf16(prefix + "self_attn.o_proj.weight", {kWidth, kWidth}));
    list.push_back(bf16(prefix + "self_attn.q_proj.weight", {kWidth, kWidth}));
    list.push_back(bf16(prefix + "self_attn.v_proj.weight", {kWidth / 8, kWidth}));
  }
  list.push_back(bf16("model.norm.weight", {kWidth}));
  list.push_back(bf16("lm_head.weight", {kVocabulary, kWidth}));
  return list;
}

// The tensors in kFiles files of about equal numbers of them, each behind a header.
Catalog large_model(const std::string& path) {
  constexpr Bytes kHeader{123'456};
  Catalog model;
  model.path = path;
  model.tensors = tensors_of_a_large_model();
  for (std::uint64_t file = 0; file < kFiles; ++file)
    model.files.push_back(fmt::format("{}/model-{}.safetensors", path, file));
  Bytes offset = kHeader;
  const std::uint64_t per_file = model.tensors.size() / kFiles + 1;
  for (std::uint64_t number = 0; number < model.tensors.size(); ++number) {
    if (number % per_file == 0) offset = kHeader;
    model.tensors[number].file = static_cast<std::uint32_t>(number / per_file);
    model.tensors[number].offset = offset;
    offset += model.tensors[number].bytes;
  }
  return model;
}

Plan large_plan() {
  Request request;
  request.ranks = kRanks;
  const Catalog model = large_model("base");
  return build_plan(request, model, std::vector<Catalog>(kTasks, model));
}

class LargePlan : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const std::clock_t before = std::clock();
    plan_ = new Plan(large_plan());
    cpu_seconds_ = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  }
  static void TearDownTestSuite() { delete plan_; }

  static const Plan& plan() { return *plan_; }

  static Plan* plan_;
  static double cpu_seconds_;
};
Plan* LargePlan::plan_ = nullptr;
double LargePlan::cpu_seconds_ = 0;

TEST_F(LargePlan, IsMadeInSecondsAndLittleMemory) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);

  EXPECT_LT(cpu_seconds_, 20.0);
  EXPECT_LT(usage.ru_maxrss, 1024L * 1024) << "KiB";  // 400 catalogs are held as well
}

TEST_F(LargePlan, HoldsTenTrillionParametersOf400Tasks) {
  EXPECT_GE(plan().merged.value(), 10'000'000'000'000U);
  EXPECT_EQ(plan().groups.size(), 1U);
  EXPECT_EQ(plan().groups[0].elements, plan().merged);
  EXPECT_EQ(plan().tensors.size(), 1299U);
  EXPECT_EQ(plan().sources.size(), kTasks + 1);
}

TEST_F(LargePlan, ShardsOfAllRanksTileTheSpaceEvenly) {
  const ShardMap map = plan().shards(0);
  const std::uint64_t block = plan().groups[0].block.value();
  std::uint64_t wrong = 0;
  Elements next{0};
  for (std::uint64_t rank = 0; rank < kRanks; ++rank) {
    const ElementRange shard = map.shard(rank);
    wrong += shard.begin == next && shard.begin < shard.end ? 0U : 1U;
    wrong += shard.begin.value() % block == 0 ? 0U : 1U;
    wrong += map.owner(shard.begin) == rank && map.owner(shard.end - Elements{1}) == rank ? 0U : 1U;
    next = shard.end;
  }
  EXPECT_EQ(wrong, 0U);
  EXPECT_EQ(next, plan().merged);
  EXPECT_LE(map.longest().value(), plan().merged.value() / kRanks + block);
  EXPECT_EQ(block * 2 % plan().alignment.value(), 0U) << "shards begin at stripes of the file";
}

TEST_F(LargePlan, ChunksTileTheShardsInTheSameNumberOfRounds) {
  const std::uint64_t rounds = plan().rounds(0);
  std::uint64_t wrong = 0;
  for (std::uint64_t rank = 0; rank < kRanks; rank += rank < kRanks - 100 ? 97 : 1) {
    const ElementRange shard = plan().shards(0).shard(rank);
    Elements next = shard.begin;
    for (std::uint64_t round = 0; round < rounds; ++round) {
      const ElementRange chunk = plan().chunk(0, rank, round);
      wrong += chunk.empty() || chunk.begin == next ? 0U : 1U;
      if (!chunk.empty()) next = chunk.end;
    }
    wrong += next == shard.end ? 0U : 1U;
    wrong += plan().chunk(0, rank, rounds).empty() ? 0U : 1U;
  }
  EXPECT_EQ(wrong, 0U);
}

TEST_F(LargePlan, SegmentsOfAllRanksTileTheirShards) {
  std::uint64_t wrong = 0;
  Elements total{0};
  for (std::uint64_t rank = 0; rank < kRanks; ++rank) {
    const ElementRange shard = plan().shards(0).shard(rank);
    Elements next = shard.begin;
    for (const Segment& segment : segments(plan(), 0, shard)) {
      const Tensor& tensor = plan().tensors[segment.tensor];
      wrong += tensor.offset + segment.elements.begin == next ? 0U : 1U;
      wrong += segment.elements.end <= tensor.elements ? 0U : 1U;
      next += segment.elements.count();
    }
    wrong += next == shard.end ? 0U : 1U;
    total += shard.count();
  }
  EXPECT_EQ(wrong, 0U);
  EXPECT_EQ(total, plan().merged);
}

TEST_F(LargePlan, PositionsGoBeyond43BitsWithoutLoss) {
  const Tensor& head = plan().tensors.back();
  EXPECT_EQ(head.name, "lm_head.weight");
  EXPECT_GT(head.offset.value(), std::uint64_t{1} << 43);
  EXPECT_EQ(head.offset + head.elements, plan().merged);

  const ElementRange last = plan().shards(0).shard(kRanks - 1);
  const std::vector<Segment> parts = segments(plan(), 0, last);
  EXPECT_EQ(parts.size(), 1U);
  EXPECT_EQ(parts.back().elements.end.value(), std::uint64_t{256'000} * 65'536);
  EXPECT_EQ(parts.back().elements.begin, last.begin - head.offset);
}

TEST_F(LargePlan, FileOffsetsOfTheLastSegmentsAreRightIn64Bits) {
  const std::vector<TensorInfo> tensors = tensors_of_a_large_model();
  const std::uint64_t per_file = tensors.size() / kFiles + 1;
  std::uint64_t expected = 123'456;
  for (std::uint64_t number = (kFiles - 1) * per_file; number + 1 < tensors.size(); ++number)
    expected += tensors[number].elements.value() * 2;
  EXPECT_GT(expected, std::uint64_t{1} << 40);
  for (const std::size_t source : {std::size_t{0}, std::size_t{1}, kTasks}) {
    const Extent& head = plan().sources[source].extents.back();
    EXPECT_EQ(head.offset, Bytes{expected}) << source;
    EXPECT_EQ(head.file, kFiles - 1) << source;
    EXPECT_EQ(head.dtype, Dtype::bf16) << source;
  }
}

TEST_F(LargePlan, BytesOfAllRanksAddUpBeyond2To52) {
  Bytes read;
  Bytes written;
  for (std::uint64_t rank = 0; rank < kRanks; rank += kRanks / 20) {
    const ShardBytes shard = shard_bytes(plan(), rank);
    const std::uint64_t elements = plan().shards(0).shard(rank).count().value();
    EXPECT_EQ(shard.read, Bytes{elements * 2 * (kTasks + 1)});
    EXPECT_EQ(shard.written, Bytes{elements * 2});
  }
  Plan one = plan();
  one.ranks = 1;
  EXPECT_EQ(shard_bytes(one, 0).read.value(), plan().merged.value() * 2 * (kTasks + 1));
  EXPECT_GT(shard_bytes(one, 0).read.value(), std::uint64_t{1} << 52);
}

TEST_F(LargePlan, TrimRanksAreExactAtThisSize) {
  EXPECT_EQ(trim_rank(plan().merged, 1.0), plan().merged.value());
  EXPECT_EQ(trim_rank(plan().merged, 0.5), plan().merged.value() / 2);
}

TEST_F(LargePlan, AChunkOf400TasksFitsTheChunkMemory) {
  const Request defaults;
  EXPECT_LE(plan().groups[0].chunk.value() * 2 * (kTasks + 1), defaults.chunk_memory.value());
}

TEST_F(LargePlan, ArchiveComesBackEqualAndIsSmall) {
  const std::vector<char> bytes = comm::to_bytes(plan());
  Plan copy;
  comm::from_bytes(bytes, copy);

  EXPECT_TRUE(comm::to_bytes(copy) == bytes);
  EXPECT_LT(bytes.size(), std::size_t{20} << 20);
}

}  // namespace
}  // namespace mpimerge::plan
