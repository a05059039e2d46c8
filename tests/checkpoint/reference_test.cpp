// Checkpoints that mpimerge did not make: tests/data/reference.
#include <algorithm>
#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/checkpoint/safetensors.hpp"

namespace mpimerge::checkpoint {
namespace {

using base::Bytes;
using base::Dtype;
using testing::ElementsAre;
using testing::Pair;
using Shape = std::vector<std::uint64_t>;

const std::filesystem::path kReference = std::filesystem::path(MPIMERGE_TEST_DATA) / "reference";

const TensorInfo& find(const Catalog& catalog, std::string_view name) {
  return *std::ranges::find(catalog.tensors, name, &TensorInfo::name);
}

std::vector<std::byte> values_of(const Catalog& catalog, std::string_view name) {
  const TensorInfo& tensor = find(catalog, name);
  const auto& file = catalog.files.at(tensor.file);
  std::vector<std::byte> values(tensor.bytes.value());
  base::read_exactly(base::open_for_reading(file), file, tensor.offset, values);
  return values;
}

std::map<std::string, Shape> shapes_of(const Catalog& catalog) {
  std::map<std::string, Shape> shapes;
  for (const TensorInfo& tensor : catalog.tensors) shapes[tensor.name] = tensor.shape;
  return shapes;
}

TEST(ReferenceCheckpoints, OddShapesAreReadAsTheyAre) {
  const auto catalog = open_safetensors(kReference / "odd_shapes/base");

  ASSERT_EQ(catalog.tensors.size(), 17U);
  EXPECT_EQ(catalog.tensors.front().name, "deep.x");
  EXPECT_EQ(catalog.tensors.front().shape, (Shape{1, 1, 1, 1, 6}));
  EXPECT_EQ(find(catalog, "z.scale").shape, Shape{});
  EXPECT_EQ(find(catalog, "empty.weight").shape, (Shape{0, 7}));
  EXPECT_EQ(find(catalog, "empty.weight").bytes, Bytes{0});
  EXPECT_EQ(find(catalog, "conv.weight").shape, (Shape{6, 3, 3, 3}));
  EXPECT_EQ(find(catalog, "mask").dtype, Dtype::boolean);
  EXPECT_EQ(find(catalog, "counts").dtype, Dtype::i32);
  EXPECT_EQ(find(catalog, "position_ids").dtype, Dtype::i64);
  EXPECT_EQ(find(catalog, "gewichtü").offset, Bytes{8 + 1136 + 923});
  EXPECT_THAT(catalog.metadata, ElementsAre(Pair("format", "pt")));
}

TEST(ReferenceCheckpoints, OddShapesHoldTheSameTensorsInEveryOrder) {
  const auto base = open_safetensors(kReference / "odd_shapes/base");
  const auto task = open_safetensors(kReference / "odd_shapes/task_01");

  EXPECT_NE(base.tensors.front().name, task.tensors.front().name);
  EXPECT_EQ(shapes_of(base), shapes_of(task));
  EXPECT_EQ(values_of(base, "empty.bias").size(), 0U);
}

TEST(ReferenceCheckpoints, EveryShardingHoldsTheSameTensors) {
  const auto base = open_safetensors(kReference / "mixed_dtypes_sharded/base");
  EXPECT_EQ(base.files.size(), 1U);
  const std::map<std::string, std::size_t> shards = {
      {"task_00", 2}, {"task_01", 3}, {"task_02", 4}};
  for (const auto& [name, count] : shards) {
    SCOPED_TRACE(name);
    const auto task = open_safetensors(kReference / "mixed_dtypes_sharded" / name);

    EXPECT_EQ(task.files.size(), count);
    EXPECT_EQ(shapes_of(task), shapes_of(base));
    EXPECT_TRUE(std::ranges::is_sorted(task.tensors, {}, &TensorInfo::file));
  }
}

TEST(ReferenceCheckpoints, OffsetsLeadToTheValues) {
  const auto base = open_safetensors(kReference / "mixed_dtypes_sharded/base");
  const auto merged = open_safetensors(kReference / "mixed_dtypes_sharded/expected");

  const auto values = values_of(base, "position_ids");

  ASSERT_EQ(values.size(), 32 * sizeof(std::int64_t));
  EXPECT_EQ(values, values_of(merged, "position_ids"));
  for (std::size_t i = 0; i < 32; ++i) EXPECT_EQ(values[8 * i], std::byte(i)) << i;
}

}  // namespace
}  // namespace mpimerge::checkpoint
