// Checkpoints that mpimerge did not make: tests/data/reference and tests/data/torch.
#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/checkpoint/safetensors.hpp"
#include "mpimerge/checkpoint/torch.hpp"

#include "checkpoint/make_file.hpp"

namespace mpimerge::checkpoint {
namespace {

using base::Bytes;
using base::Dtype;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::StartsWith;
using Shape = std::vector<std::uint64_t>;

const std::filesystem::path kReference = std::filesystem::path(MPIMERGE_TEST_DATA) / "reference";
const std::filesystem::path kTorch = std::filesystem::path(MPIMERGE_TEST_DATA) / "torch";

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

// What torch wrote is what the safetensors library wrote of the same tensors.
void expect_same(const Catalog& torch, const Catalog& safetensors) {
  EXPECT_EQ(shapes_of(torch), shapes_of(safetensors));
  for (const TensorInfo& tensor : torch.tensors) {
    SCOPED_TRACE(tensor.name);
    EXPECT_EQ(tensor.dtype, find(safetensors, tensor.name).dtype);
    EXPECT_EQ(values_of(torch, tensor.name), values_of(safetensors, tensor.name));
  }
}

TEST(TorchCheckpoints, HoldTheTensorsThatSafetensorsHold) {
  for (const auto* version : {"torch-1.13", "torch-2.13"}) {
    for (const auto* name : {"module", "views"}) {
      SCOPED_TRACE(testing::Message() << version << " " << name);
      expect_same(open_torch(kTorch / version / fmt::format("{}.pt", name)),
                  open_safetensors(kTorch / fmt::format("{}.safetensors", name)));
    }
  }
}

TEST(TorchCheckpoints, HoldEveryType) {
  auto expected = open_safetensors(kTorch / "types.safetensors");
  ASSERT_EQ(expected.tensors.size(), std::size(base::kAllDtypes));
  expect_same(open_torch(kTorch / "torch-2.13/types.pt"), expected);

  std::erase_if(expected.tensors, [](const TensorInfo& tensor) {
    return tensor.name.starts_with("float8") ||
           (tensor.name.starts_with("uint") && tensor.name != "uint8");
  });
  expect_same(open_torch(kTorch / "torch-1.13/types.pt"), expected);
}

TEST(TorchCheckpoints, ShareBytesWhereTensorsDid) {
  const auto catalog = open_torch(kTorch / "torch-2.13/views.pt");

  EXPECT_EQ(find(catalog, "wte.weight").offset, find(catalog, "lm_head.weight").offset);
  EXPECT_EQ(find(catalog, "rows").offset, find(catalog, "wte.weight").offset + Bytes{32});
  EXPECT_EQ(find(catalog, "element").shape, Shape{});
  EXPECT_EQ(find(catalog, "empty").shape, (Shape{0, 7}));
}

TEST(TorchCheckpoints, AreRefusedIfTheyHoldAnythingElse) {
  const std::map<std::string, std::string> refused = {
      {"attributes", "`torch._tensor._rebuild_from_type_v2`"},
      {"channels_last",
       "tensor `conv`: is not contiguous (shape [1, 2, 2, 2], strides [8, 1, 4, 2])"},
      {"complex", "`torch.ComplexFloatStorage`"},
      {"legacy", "a bare pickle, as torch before 1.6 wrote them"},
      {"negative", "tensor `a`: is the negative or conjugate of what is stored"},
      {"protocol_4", "expected 0x80 0x02"},
      {"single", "holds a single tensor"},
      {"sparse", "`torch._utils._rebuild_sparse_tensor`"},
      {"step", "key `step` holds an integer"},
      {"transposed", "tensor `b.weight`: is not contiguous (shape [2, 3], strides [1, 2])"},
      {"whole_module", "`torch.nn.modules.linear.Linear`"},
      {"wrapped", "key `state_dict` holds a dictionary"},
  };
  for (const auto& [name, says] : refused) {
    SCOPED_TRACE(name);
    const auto file = kTorch / "refused" / (name + ".pt");
    EXPECT_THAT(test::input_error([&] { open_torch(file); }),
                AllOf(StartsWith(file.string()), HasSubstr(says)));
  }
  const std::filesystem::directory_iterator files(kTorch / "refused");
  EXPECT_EQ(static_cast<std::size_t>(std::distance(begin(files), end(files))), refused.size());
}

}  // namespace
}  // namespace mpimerge::checkpoint
