#include "mpimerge/plan/read_plan.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "mpimerge/plan/build.hpp"

#include "plan/catalogs.hpp"

namespace mpimerge::plan {
namespace {

using base::Bytes;
using base::Dtype;
using base::ElementRange;
using base::Elements;
using checkpoint::Catalog;
using test::catalog;
using test::tensor;

// Two floating groups of several tensors, one of them empty, and one group to copy.
Catalog model(const std::string& path, Dtype first = Dtype::bf16) {
  return catalog(path, {tensor("a", first, {300'000}), tensor("b", Dtype::f32, {70'001}),
                        tensor("ids", Dtype::i64, {9'000}), tensor("c", Dtype::bf16, {0}),
                        tensor("d", Dtype::bf16, {5}), tensor("e", Dtype::bf16, {123'457}),
                        tensor("f", Dtype::f32, {1}), tensor("more", Dtype::i64, {11})});
}

Plan plan_of(std::uint64_t ranks, std::uint64_t chunk = 65'536, std::size_t tasks = 2) {
  Request request;
  request.ranks = ranks;
  request.chunk = Bytes{chunk};
  std::vector<Catalog> models;
  for (std::size_t task = 0; task < tasks; ++task)
    models.push_back(model("task", task % 2 == 0 ? Dtype::bf16 : Dtype::f64));
  return build_plan(request, model("base"), models);
}

Plan plan_of_one(std::uint64_t elements, std::uint64_t ranks) {
  Request request;
  request.ranks = ranks;
  const Catalog one = catalog("base", {tensor("a", Dtype::f32, {elements})});
  return build_plan(request, one, {one});
}

constexpr std::uint64_t kRankCounts[] = {1, 2, 3, 7, 64, 3000, 20'000};
constexpr std::uint64_t kBudgets[] = {0,         1000,      300'000,    700'000,
                                      3'000'000, 4'000'000, 60'000'000, 1 << 30};

TEST(PlanReads, NeverGivesAwayMoreThanTheBudgetBeyondWhatIsNeeded) {
  for (const std::uint64_t ranks : kRankCounts) {
    for (const std::uint64_t budget : kBudgets) {
      const ReadPlan reads = plan_reads(plan_of(ranks), Bytes{budget});
      const std::uint64_t needed = (reads.output + reads.passing).value();
      const std::uint64_t data = (reads.magnitudes + reads.resident).value();

      EXPECT_EQ(reads.budget, Bytes{budget});
      EXPECT_EQ(needed + data, std::max(needed, budget)) << ranks << " ranks";
      // An eighth, but up to 4 MiB per task as long as that is not more than half.
      const std::uint64_t tasks = reads.thresholds;
      EXPECT_EQ(reads.magnitudes.value(),
                std::max(data / 8, std::min(data / 2, tasks * (std::uint64_t{4} << 20))));
    }
  }
}

TEST(PlanReads, FindsRoomForEveryChunkAndBlock) {
  for (const std::uint64_t ranks : kRankCounts) {
    const Plan plan = plan_of(ranks);
    const ReadPlan reads = plan_reads(plan, Bytes{0});
    ASSERT_EQ(reads.blocks.size(), plan.groups.size());
    for (std::size_t group = 0; group < plan.groups.size(); ++group) {
      const ElementRange chunk = plan.chunk(group, 0, 0);
      const std::uint64_t bytes = base::element_bytes(plan.groups[group].dtype).value();
      EXPECT_LE(chunk.count().value() * bytes, reads.output.value()) << ranks;
      for (const Block& block : blocks(reads, group, chunk))
        EXPECT_LE(read_bytes(plan, block), reads.passing) << ranks;
    }
  }
}

TEST(PlanReads, BudgetForIsTheSmallestThatLeavesSoMuch) {
  const Plan plan = plan_of(3);
  const ReadPlan any = plan_reads(plan, Bytes{0});
  for (const std::uint64_t resident : {1U, 2U, 7U, 8U, 9U, 55U, 56U, 57U, 1000U, 20'000'000U,
                                       70'000'000U, 90'000'000U, 999'999'999U}) {
    const Bytes budget = budget_for(any, Bytes{resident});

    EXPECT_GE(plan_reads(plan, budget).resident, Bytes{resident}) << resident;
    EXPECT_LT(plan_reads(plan, budget - Bytes{1}).resident, Bytes{resident}) << resident;
  }
  EXPECT_EQ(plan_reads(plan, budget_for(any, Bytes{0})).resident, Bytes{0});
}

struct Reads {
  std::uint64_t block;
  std::uint64_t output;
  std::uint64_t passing;
};

TEST(PlanReads, BlocksAreFourMebibytesInWholePagesButAtLeast32768Elements) {
  constexpr std::uint64_t kMany = 100'000'000;
  constexpr std::uint64_t kChunk = 1 << 20;  // elements
  struct Row {
    Dtype dtype;
    std::uint64_t elements;
    std::size_t tasks;
    Reads expected;
  };
  const Row table[] = {
      // 4 MiB over 8 and over 12 bytes of all sources, the second in whole pages of 4,096 elements.
      {Dtype::f32, kMany, 1, {524'288, kChunk * 4, 524'288 * 8}},
      {Dtype::f32, kMany, 2, {348'160, kChunk * 4, 348'160 * 12}},
      // Of many tasks 32,768 elements take more than 4 MiB.
      {Dtype::f32, kMany, 63, {32'768, kChunk * 4, 32'768 * 256}},
      // No more than the shard, or than a chunk.
      {Dtype::f32, 1000, 1, {1000, 1000 * 4, 1000 * 8}},
      {Dtype::bf16, kMany, 1, {1 << 20, kChunk * 2, (1 << 20) * 4}}};
  for (const Row& row : table) {
    Request request;
    request.chunk = Bytes{kChunk * base::element_bytes(row.dtype).value()};
    const Catalog one = catalog("base", {tensor("a", row.dtype, {row.elements})});
    const Plan plan = build_plan(request, one, std::vector<Catalog>(row.tasks, one));
    const ReadPlan reads = plan_reads(plan, Bytes{0});

    EXPECT_EQ(reads.blocks[0], Elements{row.expected.block}) << row.tasks << " tasks";
    EXPECT_EQ(reads.output, Bytes{row.expected.output}) << row.tasks << " tasks";
    EXPECT_EQ(reads.passing, Bytes{row.expected.passing}) << row.tasks << " tasks";
  }
}

TEST(PlanReads, BlocksOfCopiedTensorsAreTheBasesAlone) {
  const Catalog one =
      catalog("base", {tensor("a", Dtype::f32, {1}), tensor("ids", Dtype::i64, {100'000'000})});
  const Plan plan = build_plan({}, one, std::vector<Catalog>(7, one));

  EXPECT_EQ(plan_reads(plan, Bytes{0}).blocks[1], Elements{(std::uint64_t{4} << 20) / 8});
}

TEST(Blocks, CoverEveryChunkOnceInOrder) {
  for (const std::uint64_t ranks : {1U, 3U, 64U}) {
    const Plan plan = plan_of(ranks, 1 << 20);
    ReadPlan reads = plan_reads(plan, Bytes{0});
    for (Elements& block : reads.blocks) block = std::min(block, Elements{4097});
    for (std::size_t group = 0; group < plan.groups.size(); ++group) {
      for (std::uint64_t round = 0; round <= plan.rounds(group); ++round) {
        const ElementRange chunk = plan.chunk(group, ranks - 1, round);
        Elements next = chunk.begin;
        for (const Block& block : blocks(reads, group, chunk)) {
          EXPECT_EQ(block.group, group);
          EXPECT_EQ(block.range.begin, next);
          EXPECT_FALSE(block.range.empty());
          EXPECT_LE(block.range.count(), reads.blocks[group]);
          next = block.range.end;
        }
        EXPECT_EQ(next, chunk.end) << ranks << " ranks, group " << group << ", round " << round;
      }
    }
  }
}

TEST(Blocks, TakeTheBytesOfAllSourcesAndAlignedMemory) {
  const Plan plan = plan_of(1);
  ASSERT_EQ(plan.groups[0].dtype, Dtype::bf16);
  ASSERT_EQ(plan.groups[2].dtype, Dtype::i64);
  const auto block = [](std::size_t group, std::uint64_t begin, std::uint64_t end) {
    return Block{group, {Elements{begin}, Elements{end}}};
  };

  // `a` is BF16, BF16 and F64; `d` is BF16 in all three.
  EXPECT_EQ(read_bytes(plan, block(0, 0, 100)), Bytes{100 * (2 + 2 + 8)});
  EXPECT_EQ(memory_bytes(plan, block(0, 0, 100)), Bytes{256 + 256 + 832});
  EXPECT_EQ(memory_bytes(plan, block(0, 0, 32)), Bytes{64 + 64 + 256});
  EXPECT_EQ(read_bytes(plan, block(0, 299'999, 300'002)), Bytes{12 + 2 * 6});
  EXPECT_EQ(memory_bytes(plan, block(0, 299'999, 300'002)), Bytes{6 * 64});
  // Integers are copied: only the base's.
  EXPECT_EQ(read_bytes(plan, block(2, 0, 9)), Bytes{72});
  EXPECT_EQ(memory_bytes(plan, block(2, 0, 9)), Bytes{128});
  EXPECT_EQ(memory_bytes(plan, block(0, 7, 7)), Bytes{0});
}

std::uint64_t elements_to_merge(const Plan& plan, std::uint64_t rank) {
  std::uint64_t elements = 0;
  for (std::size_t group = 0; group < plan.groups.size(); ++group)
    elements += plan.merges(group) ? plan.shards(group).shard(rank).count().value() : 0;
  return elements;
}

TEST(SampleBlocks, LieInTheShardInOrderAndApart) {
  for (const std::uint64_t ranks : kRankCounts) {
    const Plan plan = plan_of(ranks);
    for (std::uint64_t rank = 0; rank < ranks; rank += ranks / 50 + 1) {
      const std::vector<Block> sample = sample_blocks(plan, rank);
      for (std::size_t number = 0; number < sample.size(); ++number) {
        const Block& block = sample[number];
        const ElementRange shard = plan.shards(block.group).shard(rank);
        EXPECT_TRUE(plan.merges(block.group));
        EXPECT_FALSE(block.range.empty());
        EXPECT_EQ(base::intersect(shard, block.range), block.range) << rank << " of " << ranks;
        if (number == 0) continue;
        const Block& before = sample[number - 1];
        EXPECT_LE(before.group, block.group);
        if (before.group == block.group) {
          EXPECT_LE(before.range.end, block.range.begin);
        }
      }
    }
  }
}

TEST(SampleBlocks, AreAllOfASmallShardAndSomeOfALargeOne) {
  for (const std::uint64_t ranks : kRankCounts) {
    const Plan plan = plan_of(ranks);
    for (std::uint64_t rank = 0; rank < ranks; rank += ranks / 50 + 1) {
      std::uint64_t sampled = 0;
      for (const Block& block : sample_blocks(plan, rank)) sampled += block.range.count().value();
      const std::uint64_t all = elements_to_merge(plan, rank);

      if (all < 4 * 2048) {
        EXPECT_EQ(sampled, all) << rank << " of " << ranks;
      }
      EXPECT_GE(sampled, std::min(all, std::uint64_t{4 * 2048})) << rank << " of " << ranks;
      EXPECT_LE(sampled, 256 * 2048U);
    }
  }
  const Plan large = plan_of_one(1'000'000'000, 1);
  EXPECT_EQ(sample_blocks(large, 0).size(), 256U);
  EXPECT_EQ(sample_blocks(plan_of_one(1'000'000'000, 16), 3).size(), 64U);
  EXPECT_EQ(sample_blocks(plan_of_one(1'000'000'000, 1000), 999).size(), 4U);
}

TEST(SampleBlocks, AreSpreadOverTheWholeShard) {
  const Plan plan = plan_of_one(256'000'000, 1);
  const std::vector<Block> sample = sample_blocks(plan, 0);

  ASSERT_EQ(sample.size(), 256U);
  std::uint64_t in_the_first_half = 0;
  for (std::uint64_t stretch = 0; stretch < 256; ++stretch) {
    const ElementRange range = sample[stretch].range;
    EXPECT_GE(range.begin.value(), stretch * 1'000'000);
    EXPECT_LE(range.end.value(), (stretch + 1) * 1'000'000);
    EXPECT_EQ(range.count(), Elements{2048});
    in_the_first_half += range.begin.value() % 1'000'000 < 500'000 ? 1U : 0U;
  }
  EXPECT_GT(in_the_first_half, 90U);
  EXPECT_LT(in_the_first_half, 166U);
}

TEST(SampleBlocks, AreTheSameInEveryRunAndOtherPlacesOnOtherRanks) {
  const Plan plan = plan_of_one(1 << 27, 2);
  ASSERT_EQ(plan.shards(0).shard(0).count(), plan.shards(0).shard(1).count());
  const auto places = [&](std::uint64_t rank) {
    std::vector<std::uint64_t> list;
    const Elements begin = plan.shards(0).shard(rank).begin;
    for (const Block& block : sample_blocks(plan, rank))
      list.push_back((block.range.begin - begin).value());
    return list;
  };

  EXPECT_EQ(places(0), places(0));
  EXPECT_NE(places(0), places(1));
}

TEST(SampleBlocks, CrossFromOneGroupToTheNext) {
  const Plan plan = plan_of(1);
  const std::vector<Block> sample = sample_blocks(plan, 0);

  EXPECT_EQ(sample.front().group, 0U);
  EXPECT_EQ(sample.back().group, 1U);
}

TEST(SampleBlocks, OfARankWithoutElementsAreNone) {
  const Plan plan = plan_of_one(40, 7);
  ASSERT_TRUE(plan.shards(0).shard(6).empty());

  EXPECT_TRUE(sample_blocks(plan, 6).empty());
  EXPECT_FALSE(sample_blocks(plan, 0).empty());
}

// What predict_traffic says, block by block.
Traffic block_by_block(const Plan& plan, const ReadPlan& reads, std::uint64_t rank,
                       const PassOptions& options) {
  Traffic traffic;
  std::uint64_t left = reads.resident.value();
  bool before_stays = false;
  for (std::size_t group = 0; group < plan.groups.size(); ++group) {
    const bool twice = options.selects && plan.merges(group);
    for (std::uint64_t round = 0; round < plan.rounds(group); ++round) {
      const ElementRange chunk = plan.chunk(group, rank, round);
      traffic.written +=
          Bytes{chunk.count().value() * base::element_bytes(plan.groups[group].dtype).value()};
      for (const Block& block : blocks(reads, group, chunk)) {
        const Bytes bytes = read_bytes(plan, block);
        const Bytes memory = memory_bytes(plan, block);
        ++traffic.blocks;
        if (!twice) {
          traffic.merge += bytes;
          continue;
        }
        const bool stays = memory.value() <= left;
        traffic.keepable += memory;
        ++traffic.keepable_blocks;
        for (std::uint64_t look = 0; look < (stays ? 1 : options.looks); ++look)
          traffic.select += bytes;
        if (before_stays && !stays) ++traffic.resident_ends;
        before_stays = stays;
        if (!stays) {
          traffic.merge += bytes;
          continue;
        }
        left -= memory.value();
        traffic.resident += memory;
        ++traffic.resident_blocks;
      }
    }
  }
  if (before_stays && rank + 1 < plan.ranks) ++traffic.resident_ends;
  for (const Block& block : sample_blocks(plan, rank)) {
    ++traffic.sampled_blocks;
    traffic.sampled_elements += block.range.count().value();
    const Bytes once = read_bytes(plan, block);
    if (options.trims) traffic.sample += once;
    if (options.needs_sign) traffic.sample += once;
    if (options.needs_sign) traffic.guess += once;
  }
  return traffic;
}

void expect_same(const Traffic& found, const Traffic& expected, const std::string& of) {
  EXPECT_EQ(found.sample, expected.sample) << of;
  EXPECT_EQ(found.guess, expected.guess) << of;
  EXPECT_EQ(found.select, expected.select) << of;
  EXPECT_EQ(found.merge, expected.merge) << of;
  EXPECT_EQ(found.written, expected.written) << of;
  EXPECT_EQ(found.keepable, expected.keepable) << of;
  EXPECT_EQ(found.resident, expected.resident) << of;
  EXPECT_EQ(found.blocks, expected.blocks) << of;
  EXPECT_EQ(found.keepable_blocks, expected.keepable_blocks) << of;
  EXPECT_EQ(found.resident_blocks, expected.resident_blocks) << of;
  EXPECT_EQ(found.resident_ends, expected.resident_ends) << of;
  EXPECT_EQ(found.sampled_blocks, expected.sampled_blocks) << of;
  EXPECT_EQ(found.sampled_elements, expected.sampled_elements) << of;
}

TEST(Traffic, IsThatOfItsBlocks) {
  PassOptions twice;
  twice.looks = 2;
  const PassOptions options[] = {
      {}, {true, true, false, 1}, {true, false, true, 1}, {false, false, false, 1}, twice};
  for (const std::uint64_t ranks : {1U, 2U, 3U, 7U, 64U}) {
    for (const std::uint64_t chunk : {4096U, 65'536U, 1U << 20}) {
      const Plan plan = plan_of(ranks, chunk);
      for (const std::uint64_t budget : kBudgets) {
        ReadPlan reads = plan_reads(plan, Bytes{budget});
        for (const std::uint64_t longest : {1U << 20, 5000U, 1000U}) {
          for (Elements& block : reads.blocks) block = std::min(block, Elements{longest});
          for (const PassOptions& each : options) {
            const std::uint64_t rank = budget % ranks;
            expect_same(
                predict_traffic(plan, reads, rank, each), block_by_block(plan, reads, rank, each),
                std::to_string(ranks) + " ranks, chunk " + std::to_string(chunk) + ", budget " +
                    std::to_string(budget) + ", blocks of " + std::to_string(longest));
          }
        }
      }
    }
  }
}

TEST(Traffic, KeepsABlockThatJustFits) {
  const Plan plan = plan_of_one(1 << 20, 1);
  ReadPlan reads = plan_reads(plan, Bytes{0});
  for (Elements& block : reads.blocks) block = Elements{4096};
  const std::uint64_t first =
      memory_bytes(plan, blocks(reads, 0, plan.chunk(0, 0, 0)).front()).value();
  for (const std::uint64_t room : {first - 1, first, 2 * first, 5 * first - 1, 5 * first}) {
    reads.resident = Bytes{room};
    expect_same(predict_traffic(plan, reads, 0, {}), block_by_block(plan, reads, 0, {}),
                std::to_string(room) + " bytes");
  }
}

TEST(Traffic, OfAllRanksAddsUpToTheModels) {
  constexpr std::uint64_t kBf16 = 300'000 + 5 + 123'457;
  constexpr std::uint64_t kF32 = 70'001 + 1;
  constexpr std::uint64_t kI64 = 9'000 + 11;
  for (const std::uint64_t ranks : kRankCounts) {
    const Plan plan = plan_of(ranks);
    Traffic resident;
    Traffic streaming;
    for (std::uint64_t rank = 0; rank < ranks; ++rank) {
      resident += predict_traffic(plan, plan_reads(plan, Bytes{1 << 30}), rank, {});
      streaming += predict_traffic(plan, plan_reads(plan, Bytes{0}), rank, {});
    }
    const Bytes once{300'000 * (2 + 2 + 8) + (5 + 123'457) * 6 + kF32 * 12};

    EXPECT_EQ(resident.select, once) << ranks;
    EXPECT_EQ(resident.merge, Bytes{kI64 * 8}) << ranks;
    EXPECT_EQ(residency(resident), Residency::resident) << ranks;
    EXPECT_EQ(streaming.select, once) << ranks;
    EXPECT_EQ(streaming.merge, once + Bytes{kI64 * 8}) << ranks;
    EXPECT_EQ(residency(streaming), Residency::streaming) << ranks;
    EXPECT_EQ(resident.written, Bytes{kBf16 * 2 + kF32 * 4 + kI64 * 8}) << ranks;
  }
}

TEST(Traffic, AddsUpEveryNumber) {
  const auto numbers = [](std::uint64_t by) {
    Traffic traffic{Bytes{1 * by}, Bytes{2 * by}, Bytes{3 * by}, Bytes{4 * by},
                    Bytes{5 * by}, Bytes{6 * by}, Bytes{7 * by}};
    traffic.blocks = 8 * by;
    traffic.keepable_blocks = 9 * by;
    traffic.resident_blocks = 10 * by;
    traffic.resident_ends = 11 * by;
    traffic.sampled_blocks = 12 * by;
    traffic.sampled_elements = 13 * by;
    return traffic;
  };
  Traffic total = numbers(100);
  total += numbers(1);

  expect_same(total, numbers(101), "both");
}

TEST(Traffic, OfTheSampleReadsTheBaseOnceForSixteenTasks) {
  const Plan plan = plan_of_one(1000, 1);
  Request request;
  const Catalog one = catalog("base", {tensor("a", Dtype::f32, {1000})});
  const Plan many = build_plan(request, one, std::vector<Catalog>(17, one));
  const PassOptions brackets{true, true, false, 1};

  EXPECT_EQ(predict_traffic(plan, plan_reads(plan, Bytes{0}), 0, brackets).sample, Bytes{8000});
  EXPECT_EQ(predict_traffic(many, plan_reads(many, Bytes{0}), 0, brackets).sample,
            Bytes{4000 * (17 + 2)});
}

TEST(Residency, OfNothingThatIsNeededTwiceIsStreaming) {
  const Plan plan = plan_of(2);
  const PassOptions one_pass{false, false, false, 1};
  const Traffic traffic = predict_traffic(plan, plan_reads(plan, Bytes{1 << 30}), 0, one_pass);

  EXPECT_EQ(residency(traffic), Residency::streaming);
  EXPECT_EQ(traffic.keepable, Bytes{0});
  EXPECT_EQ(traffic.select, Bytes{0});
}

TEST(Residency, HoldsForAllRanksOrNot) {
  for (const std::uint64_t ranks : {1U, 2U, 7U, 64U}) {
    const Plan plan = plan_of(ranks);
    for (const std::uint64_t budget : kBudgets) {
      const ReadPlan reads = plan_reads(plan, Bytes{budget});
      Traffic all;
      for (std::uint64_t rank = 0; rank < ranks; ++rank)
        all += predict_traffic(plan, reads, rank, {});

      EXPECT_EQ(stays_resident(plan, reads, {}), residency(all) == Residency::resident)
          << ranks << " ranks, budget " << budget;
    }
  }
}

TEST(Residency, OfTheRankWithTheWidestTypesDecides) {
  const Catalog base =
      catalog("base", {tensor("a", Dtype::bf16, {100'000}), tensor("b", Dtype::bf16, {100'000})});
  const Catalog task =
      catalog("task", {tensor("a", Dtype::bf16, {100'000}), tensor("b", Dtype::f64, {100'000})});
  Request request;
  request.ranks = 2;
  const Plan plan = build_plan(request, base, {task});
  const auto keepable = [&](std::uint64_t rank) {
    return predict_traffic(plan, plan_reads(plan, Bytes{0}), rank, {}).keepable;
  };
  const ReadPlan reads = plan_reads(plan, budget_for(plan_reads(plan, Bytes{0}), keepable(0)));

  ASSERT_GT(keepable(1), keepable(0));
  EXPECT_EQ(residency(predict_traffic(plan, reads, 0, {})), Residency::resident);
  EXPECT_FALSE(stays_resident(plan, reads, {}));
}

TEST(Residency, HasNames) {
  EXPECT_EQ(name(Residency::resident), "resident");
  EXPECT_EQ(name(Residency::partly), "partly resident");
  EXPECT_EQ(name(Residency::streaming), "streaming");
}

}  // namespace
}  // namespace mpimerge::plan
