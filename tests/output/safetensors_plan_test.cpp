#include "mpimerge/output/safetensors_plan.hpp"

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "mpimerge/base/error.hpp"
#include "mpimerge/checkpoint/safetensors.hpp"

#include "output/sample.hpp"

namespace mpimerge::output {
namespace {

using base::Bytes;
using base::Dtype;
using base::ElementRange;
using base::Elements;
using base::ErrorKind;
using testing::ElementsAre;
using testing::HasSubstr;

struct Entry {
  std::string name;
  Dtype dtype;
  std::vector<std::uint64_t> shape;
};

// The tensors in that order, those of a type back to back in its dataset.
Hdf5Layout layout_of(const std::vector<Entry>& entries) {
  Hdf5Layout layout;
  for (const Entry& entry : entries) {
    std::uint64_t elements = 1;
    for (const std::uint64_t length : entry.shape) elements *= length;
    auto home =
        std::find_if(layout.datasets.begin(), layout.datasets.end(),
                     [&](const Hdf5Dataset& dataset) { return dataset.dtype == entry.dtype; });
    if (home == layout.datasets.end())
      home = layout.datasets.insert(home, {entry.dtype, Elements{0}});
    layout.tensors.push_back({entry.name, entry.dtype, entry.shape, home->elements});
    home->elements += Elements{elements};
  }
  return layout;
}

std::vector<std::vector<std::string>> names_by_file(const SafetensorsPlan& plan,
                                                    const Hdf5Layout& layout) {
  std::vector<std::vector<std::string>> names(plan.files.size());
  for (std::size_t tensor = 0; tensor < layout.tensors.size(); ++tensor)
    names[plan.file_of[tensor]].push_back(layout.tensors[tensor].name);
  return names;
}

std::uint64_t length_field(const std::string& header) {
  std::uint64_t length = 0;
  for (std::size_t byte = 8; byte-- > 0;)
    length = length << 8U | static_cast<unsigned char>(header[byte]);
  return length;
}

// What our own reader makes of a planned file.
checkpoint::SafetensorsHeader read_back(const SafetensorsFile& file) {
  EXPECT_EQ(length_field(file.header), file.header.size() - 8) << file.name;
  return checkpoint::parse_safetensors_header(std::string_view(file.header).substr(8),
                                              Bytes{file.header.size()},
                                              file.bytes - Bytes{file.header.size()}, file.name);
}

ErrorKind kind_of_error(const std::function<void()>& call, std::string& message) {
  try {
    call();
  } catch (const base::Error& error) {
    message = error.what();
    return error.kind();
  }
  return ErrorKind::bug;
}

struct ShardCase {
  std::string claim;
  std::uint64_t shard_size;
  std::vector<std::uint64_t> bytes;  // of tensors of U8, called a, b, c, ...
  std::vector<std::vector<std::string>> files;
};

TEST(SafetensorsPlan, ClosesAFileWhenTheNextTensorWouldBeTooMuch) {
  const std::vector<ShardCase> cases{
      {"all fit", 10, {4, 3, 3}, {{"a", "b", "c"}}},
      {"one byte too much", 10, {4, 3, 4}, {{"a", "b"}, {"c"}}},
      {"each fills a file", 4, {4, 4, 4}, {{"a"}, {"b"}, {"c"}}},
      {"larger than a file", 10, {2, 11, 3, 4}, {{"a"}, {"b"}, {"c", "d"}}},
      {"larger comes first", 10, {11, 3}, {{"a"}, {"b"}}},
      {"larger comes last", 10, {3, 11}, {{"a"}, {"b"}}},
      {"all larger", 1, {2, 2}, {{"a"}, {"b"}}},
      {"empty ones take no place", 4, {4, 0, 0, 1, 0}, {{"a", "b", "c"}, {"d", "e"}}},
      {"empty ones alone", 1, {0, 0}, {{"a", "b"}}},
      {"no tensors", 1, {}, {{}}},
      {"beyond 32 bits", 5'000'000'000, {4'999'999'999, 1, 1}, {{"a", "b"}, {"c"}}},
      {"near the end of 64 bits",
       9'200'000'000'000'000'000U,
       {9'200'000'000'000'000'000U, 9'200'000'000'000'000'000U},
       {{"a"}, {"b"}}},
  };
  for (const ShardCase& each : cases) {
    std::vector<Entry> entries;
    for (std::size_t number = 0; number < each.bytes.size(); ++number)
      entries.push_back(
          {std::string(1, static_cast<char>('a' + number)), Dtype::u8, {each.bytes[number]}});
    const Hdf5Layout layout = layout_of(entries);
    const SafetensorsPlan plan = plan_safetensors(layout, Bytes{each.shard_size});
    EXPECT_EQ(names_by_file(plan, layout), each.files) << each.claim;
  }
}

TEST(SafetensorsPlan, NamesFilesAsHuggingFaceDoes) {
  const Hdf5Layout layout = layout_of({{"a", Dtype::u8, {2}}, {"b", Dtype::u8, {2}}});
  const SafetensorsPlan one = plan_safetensors(layout, Bytes{4});
  ASSERT_EQ(one.files.size(), 1U);
  EXPECT_EQ(one.files[0].name, "model.safetensors");
  const SafetensorsPlan two = plan_safetensors(layout, Bytes{2});
  ASSERT_EQ(two.files.size(), 2U);
  EXPECT_EQ(two.files[0].name, "model-00001-of-00002.safetensors");
  EXPECT_EQ(two.files[1].name, "model-00002-of-00002.safetensors");
}

TEST(SafetensorsPlan, PutsLargerElementsFirstAndKeepsTheOrderWithinAType) {
  const Hdf5Layout layout = layout_of({{"a", Dtype::bf16, {3}},
                                       {"flag", Dtype::boolean, {}},
                                       {"b", Dtype::f32, {2}},
                                       {"c", Dtype::bf16, {2}},
                                       {"half", Dtype::f16, {1}}});
  const SafetensorsPlan plan = plan_safetensors(layout, kDefaultShardSize);
  std::vector<std::string> order;
  for (const checkpoint::TensorInfo& tensor : read_back(plan.files[0]).tensors) {
    order.push_back(tensor.name);
    EXPECT_EQ(tensor.offset.value() % base::element_bytes(tensor.dtype).value(), 0U) << tensor.name;
  }
  EXPECT_THAT(order, ElementsAre("b", "half", "a", "c", "flag"));
}

TEST(SafetensorsPlan, IsTheExampleOfItsComment) {
  const Hdf5Layout layout = layout_of({{"a", Dtype::bf16, {3}},
                                       {"b", Dtype::f32, {2}},
                                       {"c", Dtype::bf16, {2}},
                                       {"d", Dtype::bf16, {4}}});
  const SafetensorsPlan plan = plan_safetensors(layout, Bytes{20});
  ASSERT_EQ(plan.files.size(), 2U);
  const Bytes first{plan.files[0].header.size()};
  const Bytes second{plan.files[1].header.size()};
  EXPECT_THAT(plan.datasets[0].stretches,
              ElementsAre(Stretch{{Elements{0}, Elements{5}}, 0, first + Bytes{8}},
                          Stretch{{Elements{5}, Elements{9}}, 1, second}));
  EXPECT_THAT(plan.datasets[1].stretches,
              ElementsAre(Stretch{{Elements{0}, Elements{2}}, 0, first}));
  EXPECT_EQ(plan.total, Bytes{26});
}

TEST(SafetensorsPlan, HeadersAreWhatOurReaderTakesAndBeginTheDataAtAMultipleOf8) {
  const Hdf5Layout layout = test::sample_layout();
  for (const std::uint64_t shard_size : {1U, 3'000U, 200'000U, 10'000'000U}) {
    const SafetensorsPlan plan = plan_safetensors(layout, Bytes{shard_size});
    std::map<std::string, checkpoint::TensorInfo> found;
    for (const SafetensorsFile& file : plan.files) {
      EXPECT_EQ(file.header.size() % 8, 0U);
      const checkpoint::SafetensorsHeader header = read_back(file);
      EXPECT_EQ(header.metadata, layout.metadata);
      for (const checkpoint::TensorInfo& tensor : header.tensors) found[tensor.name] = tensor;
    }
    ASSERT_EQ(found.size(), layout.tensors.size());
    for (const Hdf5Tensor& tensor : layout.tensors) {
      EXPECT_EQ(found[tensor.name].dtype, tensor.dtype) << tensor.name;
      EXPECT_EQ(found[tensor.name].shape, tensor.shape) << tensor.name;
    }
  }
}

// The place of each tensor, by the headers, is where the stretches of its dataset put it.
TEST(SafetensorsPlan, StretchesLeadWhereTheHeadersSay) {
  const Hdf5Layout layout = test::sample_layout();
  for (const std::uint64_t shard_size : {1U, 3'000U, 200'000U, 10'000'000U}) {
    const SafetensorsPlan plan = plan_safetensors(layout, Bytes{shard_size});
    std::map<std::string, checkpoint::TensorInfo> found;
    for (std::size_t file = 0; file < plan.files.size(); ++file) {
      for (checkpoint::TensorInfo& tensor : read_back(plan.files[file]).tensors) {
        tensor.file = static_cast<std::uint32_t>(file);
        found[tensor.name] = tensor;
      }
    }
    for (const Hdf5Tensor& tensor : layout.tensors) {
      const checkpoint::TensorInfo& info = found[tensor.name];
      const auto dataset = static_cast<std::size_t>(tensor.dtype);  // as the sample has them
      const ElementRange range{tensor.offset, tensor.offset + info.elements};
      const auto parts = stretches(plan, dataset, range);
      if (info.elements == Elements{}) {
        EXPECT_TRUE(parts.empty()) << tensor.name;
        continue;
      }
      EXPECT_THAT(parts, ElementsAre(Stretch{range, info.file, info.offset})) << tensor.name;
    }
  }
}

TEST(Stretches, CutARangeAtTheEndsOfFiles) {
  const Hdf5Layout layout =
      layout_of({{"a", Dtype::bf16, {10}}, {"b", Dtype::bf16, {10}}, {"c", Dtype::bf16, {10}}});
  const SafetensorsPlan plan = plan_safetensors(layout, Bytes{20});
  std::vector<Bytes> data;
  for (const SafetensorsFile& file : plan.files) data.emplace_back(file.header.size());
  const auto cut = [&](std::uint64_t begin, std::uint64_t end) {
    return stretches(plan, 0, {Elements{begin}, Elements{end}});
  };

  EXPECT_TRUE(cut(5, 5).empty());
  EXPECT_TRUE(cut(30, 30).empty());
  EXPECT_THAT(cut(0, 10), ElementsAre(Stretch{{Elements{0}, Elements{10}}, 0, data[0]}));
  EXPECT_THAT(cut(10, 11), ElementsAre(Stretch{{Elements{10}, Elements{11}}, 1, data[1]}));
  EXPECT_THAT(cut(8, 23), ElementsAre(Stretch{{Elements{8}, Elements{10}}, 0, data[0] + Bytes{16}},
                                      Stretch{{Elements{10}, Elements{20}}, 1, data[1]},
                                      Stretch{{Elements{20}, Elements{23}}, 2, data[2]}));
}

TEST(SafetensorsPlan, AddsTheFormatThatTransformersAsksForAndKeepsOneThatIsThere) {
  Hdf5Layout layout = layout_of({{"a", Dtype::u8, {1}}});
  layout.metadata = {{"note", "x"}};
  EXPECT_EQ(read_back(plan_safetensors(layout, Bytes{9}).files[0]).metadata,
            (std::map<std::string, std::string>{{"format", "pt"}, {"note", "x"}}));
  layout.metadata = {{"format", "mlx"}};
  EXPECT_EQ(read_back(plan_safetensors(layout, Bytes{9}).files[0]).metadata, layout.metadata);
}

TEST(SafetensorsPlan, ReplacesMetadataThatIsNoText) {
  Hdf5Layout layout = layout_of({{"a", Dtype::u8, {1}}});
  layout.metadata = {{"note", "\xff"}};
  EXPECT_EQ(read_back(plan_safetensors(layout, Bytes{9}).files[0]).metadata.at("note"),
            "\xef\xbf\xbd");
}

TEST(SafetensorsPlan, RefusesNamesThatSafetensorsCannotHold) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "it is empty"}, {"__metadata__", "it is that of the metadata"}, {"\xff", "not UTF-8"}};
  for (const auto& [name, reason] : cases) {
    const Hdf5Layout layout = layout_of({{"fine", Dtype::u8, {1}}, {name, Dtype::u8, {1}}});
    std::string message = "no error";
    EXPECT_EQ(kind_of_error([&] { plan_safetensors(layout, Bytes{9}); }, message),
              ErrorKind::input);
    EXPECT_THAT(message, HasSubstr("safetensors cannot hold this name: "));
    EXPECT_THAT(message, HasSubstr(reason));
  }
}

TEST(SafetensorsPlan, RefusesAHeaderThatReadersWouldRefuse) {
  Hdf5Layout layout = layout_of({{"a", Dtype::u8, {1}}, {"b", Dtype::u8, {1}}});
  layout.metadata = {{"note", std::string(checkpoint::kMaxHeaderBytes, 'x')}};
  std::string message = "no error";
  EXPECT_EQ(kind_of_error([&] { plan_safetensors(layout, Bytes{9}); }, message), ErrorKind::input);
  EXPECT_THAT(message, HasSubstr("model.safetensors: the header of its 2 tensors takes 1000"));
}

TEST(SafetensorsPlan, RefusesTensorsThatAreNotTheirDatasetsInPieces) {
  const Hdf5Layout good = layout_of({{"a", Dtype::u8, {2}}, {"b", Dtype::u8, {3}}});
  std::vector<Hdf5Layout> layouts(4, good);
  std::swap(layouts[0].tensors[0], layouts[0].tensors[1]);
  layouts[1].tensors.pop_back();
  layouts[2].tensors[1].offset = Elements{3};
  layouts[3].datasets.clear();
  EXPECT_NO_THROW(plan_safetensors(good, Bytes{9}));
  for (const Hdf5Layout& layout : layouts) {
    std::string message = "no error";
    EXPECT_EQ(kind_of_error([&] { plan_safetensors(layout, Bytes{9}); }, message), ErrorKind::bug);
    EXPECT_THAT(message, HasSubstr("dataset"));
  }
}

TEST(IndexJson, NamesTheFileOfEveryTensorAndTheSizeOfAll) {
  const Hdf5Layout layout =
      layout_of({{"größe", Dtype::f32, {2}}, {"b \"quoted\"", Dtype::u8, {3}}});
  const auto index = nlohmann::json::parse(index_json(plan_safetensors(layout, Bytes{8}), layout));
  EXPECT_EQ(index, nlohmann::json::parse(R"({
    "metadata": {"total_size": 11},
    "weight_map": {"größe": "model-00001-of-00002.safetensors",
                   "b \"quoted\"": "model-00002-of-00002.safetensors"}})"));
}

}  // namespace
}  // namespace mpimerge::output
