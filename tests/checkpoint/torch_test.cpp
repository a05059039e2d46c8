#include "mpimerge/checkpoint/torch.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "checkpoint/make_file.hpp"
#include "checkpoint/make_pickle.hpp"
#include "checkpoint/make_zip.hpp"
#include "checkpoint/torch_file.hpp"
#include "support/temp_dir.hpp"

namespace mpimerge::checkpoint {
namespace {

namespace fs = std::filesystem;
namespace pickle = test::pickle;

using base::Bytes;
using test::input_error;
using test::make_zip;
using test::TempDir;
using test::write_file;
using test::Zip;
using test::ZipContent;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::StartsWith;

// A file of torch with storages 0 and 1, of 12 and of 8 bytes.
std::vector<ZipContent> contents_of(const std::string& data_pkl) {
  return {{"archive/data.pkl", pickle::whole(data_pkl)},
          {"archive/byteorder", "little"},
          {"archive/data/0", "first 12 ..."},
          {"archive/data/1", "second 8"},
          {"archive/version", "3\n"}};
}

std::string whole_model() {
  return pickle::dict({{"b", pickle::vector(2, "1")}, {"a", pickle::vector(3, "0")}});
}

std::vector<TensorInfo> parse(const Zip& zip) { return parse_torch_file(zip.bytes.source()); }

std::string error_of(const std::vector<ZipContent>& contents) {
  std::string text = input_error([&] { parse(make_zip(contents)); });
  EXPECT_THAT(text, StartsWith("m.pt: "));
  return text;
}

// What is wrong when one entry holds something else.
std::string error_with(const std::string& name, const std::string& data) {
  auto contents = contents_of(whole_model());
  std::ranges::find(contents, "archive/" + name, &ZipContent::name)->data = data;
  return error_of(contents);
}

TEST(TorchFile, FindsTensorsInTheOrderOfTheirBytes) {
  const Zip zip = make_zip(contents_of(whole_model()));

  const auto tensors = parse(zip);

  ASSERT_EQ(tensors.size(), 2U);
  EXPECT_EQ(tensors[0].name, "a");
  EXPECT_EQ(tensors[0].offset.value(), zip.data[2]);
  EXPECT_EQ(tensors[0].bytes, Bytes{12});
  EXPECT_EQ(tensors[0].file, 0U);
  EXPECT_EQ(tensors[1].name, "b");
  EXPECT_EQ(tensors[1].offset.value(), zip.data[3]);
}

TEST(TorchFile, SortsSharedBytesBySizeAndName) {
  const auto first = pickle::storage(3);
  const Zip zip =
      make_zip(contents_of(pickle::dict({{"z", pickle::tensor(first, {3}, {1})},
                                         {"a", pickle::tensor(first, {3}, {1})},
                                         {"part", pickle::tensor(first, {1}, {1})},
                                         {"end", pickle::tensor(first, {1}, {1}, 2)}})));

  const auto tensors = parse(zip);

  ASSERT_EQ(tensors.size(), 4U);
  EXPECT_EQ(tensors[0].name, "part");
  EXPECT_EQ(tensors[1].name, "a");
  EXPECT_EQ(tensors[2].name, "z");
  EXPECT_EQ(tensors[3].name, "end");
  EXPECT_EQ(tensors[3].offset.value(), zip.data[2] + 8);
}

TEST(TorchFile, FindsTensorsBeyondFourGibibytes) {
  constexpr std::int64_t kElements = 3'000'000'000;
  const auto storage = pickle::storage(kElements);
  auto contents =
      contents_of(pickle::dict({{"large", pickle::tensor(storage, {kElements}, {1})},
                                {"last", pickle::tensor(storage, {1}, {1}, kElements - 1)}}));
  contents[2] = {"archive/data/0", "", 4 * std::uint64_t{kElements}};
  const Zip zip = make_zip(contents);

  const auto tensors = parse(zip);

  ASSERT_EQ(tensors.size(), 2U);
  EXPECT_EQ(tensors[0].bytes, Bytes{12'000'000'000});
  EXPECT_EQ(tensors[1].offset.value(), zip.data[2] + 11'999'999'996);
}

TEST(TorchFile, AcceptsAnyNameOfItsDirectoryAndFurtherEntries) {
  auto contents = contents_of(whole_model());
  for (ZipContent& content : contents) content.name.replace(0, 7, "My model, v2");
  contents.push_back({"My model, v2/.data/serialization_id", "1234"});
  contents.push_back({"My model, v2/data/17", "of nobody"});

  EXPECT_EQ(parse(make_zip(contents)).size(), 2U);
}

TEST(TorchFile, AcceptsFilesOfTorch1WithoutByteOrder) {
  auto contents = contents_of(whole_model());
  contents.erase(contents.begin() + 1);

  EXPECT_EQ(parse(make_zip(contents)).size(), 2U);
}

TEST(TorchFile, AcceptsOneWithoutTensors) {
  EXPECT_THAT(parse(make_zip(contents_of("}"))), IsEmpty());
}

TEST(TorchFile, RefusesWhatTorchDidNotWrite) {
  EXPECT_THAT(error_with("byteorder", "big"), HasSubstr("byte order is `big`, expected `little`"));
  EXPECT_THAT(error_with("byteorder", ""), HasSubstr("byte order is ``"));
  EXPECT_THAT(error_with("byteorder", std::string(65, 'x')),
              HasSubstr("its byteorder is 65 bytes long"));
  for (const auto* version :
       {"", "\n", "0\n", "11\n", "-1\n", "3", "3\n\n", "three\n", "99999999999999999999\n"}) {
    EXPECT_THAT(error_with("version", version), HasSubstr("format version is `")) << version;
  }
  EXPECT_THAT(error_of({{"archive/version", "3\n"}}), HasSubstr("holds no data.pkl"));
  EXPECT_THAT(error_with("data.pkl", ""), HasSubstr("data.pkl ends too early"));
  auto contents = contents_of(whole_model());
  contents.push_back({"archive2/data.pkl", ""});
  EXPECT_THAT(error_of(contents),
              HasSubstr("entry `archive2/data.pkl` of the zip file is not in the one directory"));
  EXPECT_THAT(error_of({{"/etc/passwd", "x"}}),
              HasSubstr("entry `/etc/passwd` of the zip file is not"));
  EXPECT_THAT(error_of({{"data.pkl", "x"}}), HasSubstr("entry `data.pkl` of the zip file is not"));
}

TEST(TorchFile, RefusesALargePickleUnread) {
  auto contents = contents_of(whole_model());
  contents[0].hole = 100'000'000;
  EXPECT_THAT(error_of(contents), HasSubstr("its data.pkl is 1000"));
}

TEST(TorchFile, RefusesStoragesThatAreNotThere) {
  const auto error_of_key = [](const std::string& key) {
    return error_of(contents_of(pickle::dict({{"w", pickle::vector(3, key)}})));
  };
  for (const std::string key : {"2", "", "../data/0", "../data.pkl", "/etc/passwd", "0/"}) {
    EXPECT_THAT(error_of_key(key), HasSubstr("tensor `w`: its storage `" + key + "` is missing"));
  }
  EXPECT_THAT(error_of_key("1"), HasSubstr("its storage `1` should have 12 bytes, found 8"));
}

TEST(TorchFile, RefusesANameThatStandsThereTwice) {
  EXPECT_THAT(error_of(contents_of(
                  pickle::dict({{"w", pickle::vector(3)}, {"w", pickle::vector(2, "1")}}))),
              HasSubstr("tensor `w` stands there twice"));
}

TEST(TorchFile, KnowsFilesThatAreNoZip) {
  const auto error_of_bytes = [](const std::string& bytes) {
    test::Bytes file;
    file.append(bytes);
    return input_error([&] { parse_torch_file(file.source()); });
  };
  EXPECT_THAT(error_of_bytes(""), HasSubstr("0 bytes that begin with ``, expected a zip file"));
  EXPECT_THAT(error_of_bytes("PK\3"), HasSubstr("3 bytes that begin with `PK\\x03`"));
  EXPECT_THAT(error_of_bytes("PK\3\4"), HasSubstr("does not end with a zip directory. Truncated?"));
  EXPECT_THAT(error_of_bytes("\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19."),
              HasSubstr("a bare pickle, as torch before 1.6"));
  EXPECT_THAT(error_of_bytes("version https://git-lfs.github.com/spec/v1\n"),
              HasSubstr("git lfs pull"));
  EXPECT_THAT(error_of_bytes("\x89HDF\r\n\x1a\n"), HasSubstr("expected a zip file"));
}

TEST(TorchFile, RefusesOneThatEndsAnywhereBefore) {
  const Zip whole = make_zip(contents_of(whole_model()));
  for (std::uint64_t size = 0; size < whole.bytes.size(); ++size) {
    SCOPED_TRACE(size);
    Zip zip = whole;
    zip.bytes.truncate(size);
    EXPECT_THAT(input_error([&] { parse(zip); }), StartsWith("m.pt: "));
  }
}

TEST(TorchFile, StaysInsideTheFileWhateverByteIsDamaged) {
  const Zip whole = make_zip(contents_of(whole_model()));
  for (std::uint64_t at = 0; at < whole.bytes.size(); ++at) {
    for (const int value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      SCOPED_TRACE(testing::Message() << "byte " << at << " is " << value);
      Zip zip = whole;
      zip.bytes.patch(at, static_cast<std::uint8_t>(value));
      try {
        for (const TensorInfo& tensor : parse(zip)) {
          EXPECT_LE(tensor.offset.value() + tensor.bytes.value(), zip.directory);
        }
      } catch (const base::Error& error) {
        EXPECT_EQ(error.kind(), base::ErrorKind::input);
      }
    }
  }
}

// A file of tensors of three elements, all of storage 0.
std::string file_of(const std::vector<std::string>& names) {
  std::vector<std::pair<std::string, std::string>> items;
  for (const std::string& name : names) items.emplace_back(name, pickle::vector(3));
  const Zip zip = make_zip(contents_of(pickle::dict(items)));
  return zip.bytes.read(0, zip.bytes.size());
}

constexpr auto kIndex = "pytorch_model.bin.index.json";
constexpr auto kModel = "pytorch_model.bin";

class OpenTorch : public testing::Test {
 protected:
  void write(const std::string& name, std::string_view bytes) {
    write_file(directory_ / name, bytes);
  }

  std::string error() {
    std::string text = input_error([&] { open_torch(directory_.path()); });
    EXPECT_THAT(text, StartsWith(directory_.path().string()));
    return text;
  }

  void write_two_shards() {
    write(kIndex, R"({"weight_map":{"a":"2.bin","b":"1.bin","c":"2.bin"}})");
    write("1.bin", file_of({"b"}));
    write("2.bin", file_of({"c", "a"}));
  }

  std::vector<std::pair<std::string, std::string>> places() {
    const auto catalog = open_torch(directory_.path());
    std::vector<std::pair<std::string, std::string>> places;
    for (const TensorInfo& tensor : catalog.tensors) {
      places.emplace_back(tensor.name, catalog.files.at(tensor.file).filename().string());
    }
    return places;
  }

  TempDir directory_;
};

TEST_F(OpenTorch, OpensAFileByItsPath) {
  write("any.name", file_of({"b", "a"}));

  const auto catalog = open_torch(directory_ / "any.name");

  EXPECT_EQ(catalog.path, (directory_ / "any.name").string());
  EXPECT_THAT(catalog.files, ElementsAre(directory_ / "any.name"));
  EXPECT_EQ(catalog.tensors.size(), 2U);
  EXPECT_THAT(catalog.metadata, IsEmpty());
}

TEST_F(OpenTorch, FindsTheFileOfADirectory) {
  write(kModel, file_of({"a"}));
  EXPECT_THAT(places(), ElementsAre(Pair("a", kModel)));
}

TEST_F(OpenTorch, PrefersTheIndexAndSaysSo) {
  write_two_shards();
  write(kModel, file_of({"a", "b", "c"}));

  testing::internal::CaptureStderr();
  const auto found = places();
  const auto log = testing::internal::GetCapturedStderr();

  EXPECT_THAT(found, ElementsAre(Pair("b", "1.bin"), Pair("a", "2.bin"), Pair("c", "2.bin")));
  EXPECT_THAT(log, AllOf(HasSubstr("pytorch_model.bin is not read"), HasSubstr(kIndex)));
}

TEST_F(OpenTorch, RefusesShardsThatDoNotFitTheIndex) {
  write_two_shards();
  fs::remove(directory_ / "1.bin");
  EXPECT_THAT(error(),
              AllOf(HasSubstr("1.bin: this shard is missing (1 of the 2 in"), HasSubstr(kIndex)));

  write("1.bin", file_of({"b", "c"}));
  EXPECT_THAT(error(), AllOf(HasSubstr(kIndex), HasSubstr("tensor `c` is in two shards")));

  write("1.bin", "\x80\x02 legacy");
  EXPECT_THAT(error(), AllOf(HasSubstr("1.bin: "), HasSubstr("a bare pickle")));
}

TEST_F(OpenTorch, RefusesWhatIsNotAFile) {
  EXPECT_THAT(error(),
              AllOf(HasSubstr("no checkpoint there"), HasSubstr(kIndex), HasSubstr(kModel)));
  EXPECT_THAT(input_error([&] { open_torch(directory_ / "no.bin"); }),
              HasSubstr("no.bin: No such file"));
  ASSERT_EQ(::mkfifo((directory_ / kModel).c_str(), 0600), 0);
  EXPECT_THAT(error(), HasSubstr("not a regular file"));
}

TEST_F(OpenTorch, KnowsItsPathsByTheirLooks) {
  for (const auto* name : {"nowhere/x.bin", "nowhere/x.pt", "nowhere/x.pth"})
    EXPECT_TRUE(is_torch(name)) << name;
  for (const auto* name : {"nowhere/x.safetensors", "nowhere/x.h5", "nowhere", "bin"})
    EXPECT_FALSE(is_torch(name)) << name;
  EXPECT_FALSE(is_torch(directory_.path()));
  for (const auto* name : {kIndex, kModel}) {
    TempDir other;
    write_file(other / name, "");
    EXPECT_TRUE(is_torch(other.path())) << name;
  }
  fs::create_directory(directory_ / "empty.bin");
  EXPECT_FALSE(is_torch(directory_ / "empty.bin"));
}

}  // namespace
}  // namespace mpimerge::checkpoint
