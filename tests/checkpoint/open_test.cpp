#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/checkpoint/safetensors.hpp"

#include "checkpoint/make_file.hpp"
#include "support/temp_dir.hpp"

namespace mpimerge::checkpoint {
namespace {

namespace fs = std::filesystem;

using base::Bytes;
using test::input_error;
using test::safetensors;
using test::TempDir;
using test::write_file;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::StartsWith;

constexpr auto kIndex = "model.safetensors.index.json";

// A file of one-byte tensors, in the order of `names`.
std::string file_of(const std::vector<std::string>& names, std::string_view origin = "") {
  std::string header = fmt::format(R"({{"__metadata__":{{"origin":"{}"}})", origin);
  for (std::size_t i = 0; i < names.size(); ++i) {
    header += fmt::format(R"(,"{}":{{"dtype":"U8","shape":[1],"data_offsets":[{},{}]}})", names[i],
                          i, i + 1);
  }
  return safetensors(header + "}", std::string(names.size(), 'x'));
}

// (tensor, file), in the catalog's order.
std::vector<std::pair<std::string, std::string>> places_of(const Catalog& catalog) {
  std::vector<std::pair<std::string, std::string>> places;
  places.reserve(catalog.tensors.size());
  for (const TensorInfo& tensor : catalog.tensors) {
    places.emplace_back(tensor.name, catalog.files.at(tensor.file).filename().string());
  }
  return places;
}

class OpenSafetensors : public testing::Test {
 protected:
  void write(const std::string& name, std::string_view bytes) {
    write_file(directory_ / name, bytes);
  }

  std::string error() {
    std::string text = input_error([&] { open_safetensors(directory_.path()); });
    EXPECT_THAT(text, StartsWith(directory_.path().string()));
    return text;
  }

  // Shards 1 and 2 with the tensors a, b and c, as the index says.
  void write_two_shards() {
    write(kIndex,
          R"({"metadata":{"total_size":3},"weight_map":{"a":"2.st","b":"1.st","c":"2.st"}})");
    write("1.st", file_of({"b"}, "first"));
    write("2.st", file_of({"c", "a"}, "second"));
  }

  TempDir directory_;
};

TEST_F(OpenSafetensors, OpensAFileByItsPath) {
  write("any.name", file_of({"b", "a"}, "here"));

  const auto catalog = open_safetensors(directory_ / "any.name");

  EXPECT_EQ(catalog.path, (directory_ / "any.name").string());
  EXPECT_THAT(catalog.files, ElementsAre(directory_ / "any.name"));
  EXPECT_THAT(places_of(catalog), ElementsAre(Pair("b", "any.name"), Pair("a", "any.name")));
  EXPECT_THAT(catalog.metadata, ElementsAre(Pair("origin", "here")));
}

TEST_F(OpenSafetensors, FindsTheFileOfADirectory) {
  for (const auto* name : {"adapter_model.safetensors", "model.safetensors"}) {
    SCOPED_TRACE(name);
    write(name, file_of({"a"}));

    const auto catalog = open_safetensors(directory_.path());

    EXPECT_EQ(catalog.path, directory_.path().string());
    EXPECT_THAT(catalog.files, ElementsAre(directory_ / name));
  }
}

TEST_F(OpenSafetensors, OrdersTensorsByShardAndPosition) {
  write_two_shards();

  const auto catalog = open_safetensors(directory_.path());

  EXPECT_THAT(catalog.files, ElementsAre(directory_ / "1.st", directory_ / "2.st"));
  EXPECT_THAT(places_of(catalog),
              ElementsAre(Pair("b", "1.st"), Pair("c", "2.st"), Pair("a", "2.st")));
  EXPECT_EQ(catalog.tensors[2].offset, catalog.tensors[1].offset + Bytes{1});
  EXPECT_THAT(catalog.metadata, ElementsAre(Pair("origin", "first")));
}

TEST_F(OpenSafetensors, PrefersTheIndexAndSaysSo) {
  write_two_shards();
  write("model.safetensors", file_of({"a", "b", "c"}));

  testing::internal::CaptureStderr();
  const auto catalog = open_safetensors(directory_.path());
  const auto log = testing::internal::GetCapturedStderr();

  EXPECT_EQ(catalog.files.size(), 2U);
  EXPECT_THAT(log, AllOf(HasSubstr("model.safetensors is not read"), HasSubstr(kIndex)));
}

TEST_F(OpenSafetensors, KeepsQuietIfTheIndexNamesModelSafetensors) {
  write(kIndex, R"({"weight_map":{"a":"model.safetensors"}})");
  write("model.safetensors", file_of({"a"}));

  testing::internal::CaptureStderr();
  const auto catalog = open_safetensors(directory_.path());
  const auto log = testing::internal::GetCapturedStderr();

  EXPECT_THAT(places_of(catalog), ElementsAre(Pair("a", "model.safetensors")));
  EXPECT_EQ(log, "");
}

TEST_F(OpenSafetensors, FollowsLinksOutOfTheDirectory) {
  TempDir blobs;
  write_file(blobs / "0123", file_of({"a"}));
  write(kIndex, R"({"weight_map":{"a":"sub/1.st"}})");
  fs::create_directory(directory_ / "sub");
  fs::create_symlink(blobs / "0123", directory_ / "sub/1.st");

  EXPECT_THAT(places_of(open_safetensors(directory_.path())), ElementsAre(Pair("a", "1.st")));
}

TEST_F(OpenSafetensors, AcceptsADirectoryGivenWithASlash) {
  write_two_shards();

  EXPECT_EQ(open_safetensors(directory_.path() / "").tensors.size(), 3U);
}

TEST_F(OpenSafetensors, AcceptsAShardWithoutData) {
  write(kIndex, R"({"weight_map":{"a":"2.st","e":"1.st"}})");
  write("1.st", safetensors(R"({"e":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})", ""));
  write("2.st", file_of({"a"}));

  EXPECT_THAT(places_of(open_safetensors(directory_.path())),
              ElementsAre(Pair("e", "1.st"), Pair("a", "2.st")));
}

TEST_F(OpenSafetensors, NamesTheFirstMissingShardAndCountsThem) {
  write(kIndex, R"({"weight_map":{"a":"1.st","b":"2.st","c":"3.st"}})");
  write("1.st", "damaged, but that is not looked at while others are missing");
  fs::create_symlink(directory_ / "nowhere", directory_ / "3.st");

  EXPECT_THAT(error(), AllOf(StartsWith((directory_ / "2.st").string() + ": this shard is missing"),
                             HasSubstr("2 of the 3"), HasSubstr("download the model again")));
}

TEST_F(OpenSafetensors, NamesTheDamagedShard) {
  write_two_shards();
  fs::resize_file(directory_ / "2.st", fs::file_size(directory_ / "2.st") - 1);

  EXPECT_THAT(error(),
              AllOf(StartsWith((directory_ / "2.st").string()), HasSubstr("1 are missing")));
}

TEST_F(OpenSafetensors, RefusesAnIndexThatDoesNotFitItsShards) {
  struct Refused {
    std::string_view weight_map;
    std::string_view says;
  };
  const std::vector<Refused> cases = {
      {R"({"a":"2.st","b":"1.st","c":"2.st","d":"1.st"})",
       "tensor `d` should be in shard `1.st`, which does not hold it"},
      {R"({"a":"2.st","b":"1.st"})", "tensor `c` of shard `2.st` is not listed"},
      {R"({"a":"1.st","b":"1.st","c":"2.st"})",
       "tensor `a` should be in shard `1.st`, found it in `2.st`"},
      {R"({"a":"2.st","b":"1.st","c":"../2.st"})", "expected a plain path inside the directory"},
  };
  for (const auto& [weight_map, says] : cases) {
    SCOPED_TRACE(weight_map);
    write_two_shards();
    write(kIndex, fmt::format(R"({{"weight_map":{}}})", weight_map));
    EXPECT_THAT(error(), AllOf(HasSubstr(kIndex), HasSubstr(says)));
  }
}

TEST_F(OpenSafetensors, RefusesATensorInTwoShards) {
  write_two_shards();
  write("1.st", file_of({"b", "c"}));

  EXPECT_THAT(error(), HasSubstr("tensor `c` is in two shards, `1.st` and `2.st`"));
}

TEST_F(OpenSafetensors, RefusesALargeIndexUnread) {
  write(kIndex, "{}");
  fs::resize_file(directory_ / kIndex, kMaxHeaderBytes + 1);

  EXPECT_THAT(error(), HasSubstr("the index is 100000001 bytes long, expected at most 100000000"));
}

TEST_F(OpenSafetensors, TellsWhatItLookedFor) {
  EXPECT_THAT(error(),
              AllOf(HasSubstr("no checkpoint there"), HasSubstr(kIndex),
                    HasSubstr(" model.safetensors,"), HasSubstr("adapter_model.safetensors"),
                    HasSubstr("pytorch_model.bin.index.json"), HasSubstr(" pytorch_model.bin.")));
}

TEST_F(OpenSafetensors, SaysThatAPathDoesNotExist) {
  EXPECT_THAT(input_error([&] { open_safetensors(directory_ / "none"); }),
              (directory_ / "none").string() + ": No such file or directory");
}

TEST_F(OpenSafetensors, SaysThatALinkLeadsNowhere) {
  fs::create_symlink(directory_ / "nowhere", directory_ / "model.safetensors");

  EXPECT_THAT(error(), HasSubstr("model.safetensors: No such file or directory"));
}

TEST_F(OpenSafetensors, RefusesADirectoryInAFilesPlace) {
  fs::create_directory(directory_ / "model.safetensors");

  EXPECT_THAT(error(), HasSubstr("model.safetensors: is a directory"));
}

TEST_F(OpenSafetensors, KnowsItsPathsByTheirLooks) {
  EXPECT_TRUE(is_safetensors("nowhere/x.safetensors"));
  EXPECT_FALSE(is_safetensors("nowhere/x.h5"));
  EXPECT_FALSE(is_safetensors("nowhere"));
  EXPECT_FALSE(is_safetensors(directory_.path()));
  for (const auto* name : {kIndex, "model.safetensors", "adapter_model.safetensors"}) {
    TempDir other;
    write_file(other / name, "");
    EXPECT_TRUE(is_safetensors(other.path())) << name;
  }
  fs::create_directory(directory_ / "empty.safetensors");
  EXPECT_FALSE(is_safetensors(directory_ / "empty.safetensors"));
}

}  // namespace
}  // namespace mpimerge::checkpoint
