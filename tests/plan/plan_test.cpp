#include "mpimerge/plan/plan.hpp"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "mpimerge/comm/object.hpp"
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

constexpr ElementRange range(std::uint64_t begin, std::uint64_t end) {
  return {Elements{begin}, Elements{end}};
}

// Empty tensors at the begin, in the middle (two) and at the end.
Catalog with_empty_tensors() {
  return catalog("base", {tensor("e0", Dtype::f32, {0}), tensor("a", Dtype::f32, {10}),
                          tensor("e1", Dtype::f32, {0, 3}), tensor("e2", Dtype::f32, {3, 0}),
                          tensor("b", Dtype::f32, {}), tensor("ids", Dtype::i64, {6}),
                          tensor("c", Dtype::f32, {5, 4}), tensor("e3", Dtype::f32, {0})});
}

struct Part {
  std::string name;
  ElementRange elements;
  std::uint64_t chunk_offset;

  bool operator==(const Part&) const = default;
};

void PrintTo(const Part& part, std::ostream* out) {
  *out << part.name << " [" << part.elements.begin.value() << ", " << part.elements.end.value()
       << ") at " << part.chunk_offset;
}

std::vector<Part> parts(const Plan& plan, std::size_t group, ElementRange of) {
  std::vector<Part> list;
  for (const Segment& segment : segments(plan, group, of)) {
    list.push_back(
        {plan.tensors[segment.tensor].name, segment.elements, segment.chunk_offset.value()});
  }
  return list;
}

TEST(Segments, OfAWholeGroupAreItsTensorsWithElements) {
  const Plan plan = build_plan({}, with_empty_tensors(), {});

  EXPECT_EQ(
      parts(plan, 0, range(0, 31)),
      (std::vector<Part>{{"a", range(0, 10), 0}, {"b", range(0, 1), 10}, {"c", range(0, 20), 11}}));
  EXPECT_EQ(parts(plan, 1, range(0, 6)), (std::vector<Part>{{"ids", range(0, 6), 0}}));
}

TEST(Segments, BeginAndEndWithinTensors) {
  const Plan plan = build_plan({}, with_empty_tensors(), {});

  EXPECT_EQ(parts(plan, 0, range(3, 7)), (std::vector<Part>{{"a", range(3, 7), 0}}));
  EXPECT_EQ(
      parts(plan, 0, range(9, 12)),
      (std::vector<Part>{{"a", range(9, 10), 0}, {"b", range(0, 1), 1}, {"c", range(0, 1), 2}}));
  EXPECT_EQ(parts(plan, 0, range(10, 11)), (std::vector<Part>{{"b", range(0, 1), 0}}));
  EXPECT_EQ(parts(plan, 0, range(11, 31)), (std::vector<Part>{{"c", range(0, 20), 0}}));
  EXPECT_EQ(parts(plan, 0, range(30, 31)), (std::vector<Part>{{"c", range(19, 20), 0}}));
  EXPECT_EQ(parts(plan, 1, range(2, 3)), (std::vector<Part>{{"ids", range(2, 3), 0}}));
}

TEST(Segments, OfNothingAreNone) {
  const Plan plan = build_plan({}, with_empty_tensors(), {});

  for (const std::uint64_t at : {0U, 5U, 10U, 31U})
    EXPECT_TRUE(segments(plan, 0, range(at, at)).empty()) << at;
}

TEST(Segments, OfEveryRangeTileIt) {
  const Plan plan = build_plan({}, with_empty_tensors(), {});
  for (std::uint64_t begin = 0; begin <= 31; ++begin) {
    for (std::uint64_t end = begin; end <= 31; ++end) {
      std::uint64_t next = begin;
      for (const Segment& segment : segments(plan, 0, range(begin, end))) {
        EXPECT_FALSE(segment.elements.empty());
        EXPECT_EQ((plan.tensors[segment.tensor].offset + segment.elements.begin).value(), next);
        EXPECT_EQ(segment.chunk_offset.value(), next - begin);
        EXPECT_LE(segment.elements.end, plan.tensors[segment.tensor].elements);
        next += segment.elements.count().value();
      }
      EXPECT_EQ(next, end);
    }
  }
}

TEST(Segments, TakeTheirBytesInTheSourcesOwnType) {
  const Catalog base = catalog("base", {tensor("a", Dtype::bf16, {10})});
  const Catalog task = catalog("task", {tensor("a", Dtype::f64, {10})});
  const Plan plan = build_plan({}, base, {task});
  const Segment segment{0, range(3, 7), Elements{0}};

  EXPECT_EQ(source_bytes(plan, 0, segment), Bytes{8});
  EXPECT_EQ(source_bytes(plan, 1, segment), Bytes{32});
}

// Three tensors of two types and 31,777 elements.
Catalog three_tensors() {
  return catalog("base", {tensor("a", Dtype::f32, {101, 103}), tensor("ids", Dtype::i64, {77}),
                          tensor("b", Dtype::f32, {21'297})});
}

TEST(Chunks, CoverEveryShardOnceInOrderForManyRanksAndChunks) {
  for (const std::uint64_t ranks : {1U, 2U, 3U, 4U, 7U, 16U, 100U, 1985U, 3000U}) {
    for (const std::uint64_t chunk_bytes : {1U, 8192U, 100'000U, 10'000'000U}) {
      Request request;
      request.ranks = ranks;
      request.chunk = Bytes{chunk_bytes};
      const Plan plan = build_plan(request, three_tensors(), {});
      for (std::size_t group = 0; group < plan.groups.size(); ++group) {
        Elements next{0};
        for (std::uint64_t rank = 0; rank < ranks; ++rank) {
          for (std::uint64_t round = 0; round < plan.rounds(group); ++round) {
            const ElementRange chunk = plan.chunk(group, rank, round);
            EXPECT_LE(chunk.count(), plan.groups[group].chunk);
            if (chunk.empty()) continue;
            EXPECT_EQ(chunk.begin, next) << "rank " << rank << " of " << ranks;
            next = chunk.end;
          }
        }
        EXPECT_EQ(next, plan.groups[group].elements) << ranks << " ranks, " << chunk_bytes;
      }
    }
  }
}

TEST(Chunks, OfTheLastRoundAreEmptyWhereAShardIsShort) {
  Request request;
  request.ranks = 3;
  request.chunk = Bytes{4096};
  const Plan plan = build_plan(request, catalog("base", {tensor("a", Dtype::f32, {2056})}), {});
  // Blocks of 64: 33 of them, the last with 8 elements.
  ASSERT_EQ(plan.groups[0].block, Elements{64});
  ASSERT_EQ(plan.groups[0].chunk, Elements{1024});

  EXPECT_EQ(plan.rounds(0), 1U);
  EXPECT_EQ(plan.chunk(0, 0, 0), range(0, 704));
  EXPECT_EQ(plan.chunk(0, 2, 0), range(1408, 2056));
  EXPECT_TRUE(plan.chunk(0, 0, 1).empty());
  EXPECT_TRUE(plan.chunk(0, 2, 7).empty());
}

TEST(Chunks, RoundsAreThoseOfTheLongestShard) {
  Request request;
  request.chunk = Bytes{4096};
  for (const std::uint64_t elements : {1023U, 1024U, 1025U, 2048U, 2049U}) {
    const Plan plan =
        build_plan(request, catalog("base", {tensor("a", Dtype::f32, {elements})}), {});
    EXPECT_EQ(plan.rounds(0), (elements + 1023) / 1024) << elements;
  }
}

TEST(Chunks, AGroupWithoutElementsHasNoRounds) {
  const Plan plan = build_plan(
      {}, catalog("base", {tensor("a", Dtype::f32, {3}), tensor("none", Dtype::i8, {0})}), {});

  EXPECT_EQ(plan.rounds(1), 0U);
  EXPECT_TRUE(plan.chunk(1, 0, 0).empty());
}

TEST(ShardBytes, AddUpToAllThatIsReadAndWritten) {
  for (const std::uint64_t ranks : {1U, 3U, 7U, 5000U}) {
    Request request;
    request.ranks = ranks;
    request.out_dtype = Dtype::bf16;
    Catalog task = three_tensors();
    task.tensors[2].dtype = Dtype::f64;
    const Plan plan = build_plan(request, three_tensors(), {task, three_tensors()});
    Bytes read;
    Bytes written;
    for (std::uint64_t rank = 0; rank < ranks; ++rank) {
      read += shard_bytes(plan, rank).read;
      written += shard_bytes(plan, rank).written;
    }
    constexpr std::uint64_t kA = 101 * 103;
    constexpr std::uint64_t kB = 21'297;
    EXPECT_EQ(read, Bytes{kA * (4 + 4 + 4) + kB * (4 + 8 + 4) + 77 * 8}) << ranks;
    EXPECT_EQ(written, Bytes{(kA + kB) * 2 + 77 * 8}) << ranks;
  }
}

TEST(Plan, ComesBackFromItsArchiveEqualInBytes) {
  Request request;
  request.ranks = 12;
  request.alignment = Bytes{4096};
  Catalog task = with_empty_tensors();
  task.path = "täsk\n";
  const Plan plan = build_plan(request, with_empty_tensors(), {task, with_empty_tensors()});
  Plan copy;

  const std::vector<char> bytes = comm::to_bytes(plan);
  comm::from_bytes(bytes, copy);

  EXPECT_EQ(comm::to_bytes(copy), bytes);
  EXPECT_EQ(copy.ranks, 12U);
  EXPECT_EQ(copy.merged, plan.merged);
  EXPECT_EQ(copy.alignment, Bytes{4096});
  EXPECT_EQ(copy.tensors.size(), plan.tensors.size());
  EXPECT_EQ(copy.sources[1].name, "täsk\n");
  EXPECT_EQ(copy.chunk(0, 11, 0), plan.chunk(0, 11, 0));
}

TEST(Plan, EveryFieldReachesTheArchive) {
  const Plan plan = build_plan({}, with_empty_tensors(), {with_empty_tensors()});
  const std::vector<std::function<void(Plan&)>> changes{
      [](Plan& other) { other.ranks = 2; },
      [](Plan& other) { other.alignment = Bytes{8}; },
      [](Plan& other) { other.merged = Elements{30}; },
      [](Plan& other) { other.groups[0].dtype = Dtype::f16; },
      [](Plan& other) { other.groups[0].elements = Elements{30}; },
      [](Plan& other) { other.groups[0].block = Elements{32}; },
      [](Plan& other) { other.groups[0].chunk = Elements{32}; },
      [](Plan& other) { other.groups[1].first_tensor = 6; },
      [](Plan& other) { other.groups[0].last_tensor = 6; },
      [](Plan& other) { other.tensors[1].name = "x"; },
      [](Plan& other) {
        other.tensors[1].shape = {2, 5};
      },
      [](Plan& other) { other.tensors[1].elements = Elements{9}; },
      [](Plan& other) { other.tensors[1].offset = Elements{1}; },
      [](Plan& other) { other.tensors[0].role = Role::copy; },
      [](Plan& other) { other.sources[1].name = "x"; },
      [](Plan& other) { other.sources[0].files[0] = "x"; },
      [](Plan& other) { other.sources[1].extents[7].file = 1; },
      [](Plan& other) { other.sources[1].extents[7].dtype = Dtype::f16; },
      [](Plan& other) { other.sources[1].extents[7].offset = Bytes{1}; }};
  for (std::size_t number = 0; number < changes.size(); ++number) {
    Plan other = plan;
    changes[number](other);
    EXPECT_NE(comm::to_bytes(other), comm::to_bytes(plan)) << "change " << number;
  }
}

// Every element of a range, by the part that it comes from and its place there, read one by one.
using Elementwise = std::vector<std::pair<std::size_t, std::uint64_t>>;

// What a range reads, in order of parts, against the same elements found one after another.
void expect_reads(const Mosaic& mosaic, std::uint64_t elements) {
  const auto part_of = [&](std::uint64_t element) {
    const std::uint64_t row = element / mosaic.columns;
    const std::uint64_t column = element % mosaic.columns;
    const std::uint64_t place = mosaic.is_side_by_side ? column : row;
    std::size_t part = 0;
    while (mosaic.parts[part].last <= place) ++part;
    const std::uint64_t first = mosaic.parts[part].first;
    const std::uint64_t length = mosaic.parts[part].last - first;
    return std::pair(part, mosaic.is_side_by_side ? row * length + column - first
                                                  : (row - first) * mosaic.columns + column);
  };
  for (std::uint64_t begin = 0; begin <= elements; ++begin) {
    for (std::uint64_t end = begin; end <= elements; ++end) {
      Elementwise wanted;
      for (std::uint64_t element = begin; element < end; ++element)
        wanted.push_back(part_of(element));
      std::sort(wanted.begin(), wanted.end());
      Elementwise found;
      for (const MosaicRead& read : mosaic_reads(mosaic, range(begin, end))) {
        for (Elements at = read.elements.begin; at < read.elements.end; at += Elements{1})
          found.emplace_back(read.part, at.value());
      }
      EXPECT_EQ(found, wanted) << "[" << begin << ", " << end << ")";
    }
  }
}

TEST(Mosaic, ReadsOfEachPartWhatARangeHasOfIt) {
  Mosaic mosaic;
  mosaic.parts = {{{}, 0, 2, 1}, {{}, 2, 3, 1}, {{}, 3, 7, 1}};
  mosaic.columns = 7;
  mosaic.is_side_by_side = true;
  expect_reads(mosaic, 28);
  mosaic.columns = 3;
  mosaic.is_side_by_side = false;
  expect_reads(mosaic, 21);
}

}  // namespace
}  // namespace mpimerge::plan
