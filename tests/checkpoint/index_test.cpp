#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/json_reader.hpp"
#include "checkpoint/make_file.hpp"
#include "checkpoint/shard_index.hpp"

namespace mpimerge::checkpoint {
namespace {

using test::input_error;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::StartsWith;

std::string error_of(std::string_view json) {
  std::string text = input_error([&] { parse_shard_index(json, "i.json"); });
  EXPECT_THAT(text, StartsWith("i.json: "));
  return text;
}

TEST(ShardIndex, MapsTensorsToFiles) {
  EXPECT_THAT(
      parse_shard_index(R"({"weight_map":{"b":"1.safetensors","a":"sub/2.safetensors"}})", ""),
      ElementsAre(Pair("a", "sub/2.safetensors"), Pair("b", "1.safetensors")));
}

TEST(ShardIndex, PassesOverOtherKeys) {
  constexpr std::string_view kIndex = R"({
    "metadata": {"total_size": 1.5e3, "x": [1, -1, null, {"weight_map": {"z": 3}, "z": []}], "x": 0},
    "weight_map": {"a": "1"},
    "more": [[], {}, "s", true],
    "version": -1
  })";

  EXPECT_THAT(parse_shard_index(kIndex, ""), ElementsAre(Pair("a", "1")));
}

TEST(ShardIndex, RefusesWhatIsNoIndex) {
  struct Refused {
    std::string_view json;
    std::string_view says;
  };
  const std::vector<Refused> cases = {
      {"", "the index is not JSON near its byte 1"},
      {"x", "the index is not JSON near its byte 1"},
      {R"({"weight_map":{"a":"1"})", "not JSON"},
      {R"({"weight_map":{"a":"1"}} x)", "not JSON"},
      {{"{\"weight_map\":{\"a\":\"1\"}}\0x", 26}, "zero byte"},
      {"{\"weight_map\":{\"a\":\"\xff\"}}", "ill-formed UTF-8"},
      {"[]", "the index must be an object, found a list"},
      {"\"x\"", "the index must be an object, found a string"},
      {"7", "the index must be an object, found 7"},
      {"null", "the index must be an object, found null"},
      {"{}", "has no weight_map"},
      {R"({"metadata":{"weight_map":{"a":"1"}}})", "has no weight_map"},
      {R"({"weight_map":{}})", "has no weight_map, or one that names no tensor"},
      {R"({"weight_map":[]})", "weight_map must be an object, found a list"},
      {R"({"weight_map":"a"})", "weight_map must be an object, found a string"},
      {R"({"weight_map":-1})", "weight_map must be an object, found -1"},
      {R"({"weight_map":{"a":1}})", "the file of tensor `a` must be a string, found 1"},
      {R"({"weight_map":{"a":["1"]}})", "the file of tensor `a` must be a string, found a list"},
      {R"({"weight_map":{"a":{}}})", "the file of tensor `a` must be a string, found an object"},
      {R"({"weight_map":{"a":"1","a":"1"}})", "tensor `a` stands there twice"},
      {R"({"weight_map":{"a":"1"},"weight_map":{"b":"1"}})", "key `weight_map` stands there twice"},
      {R"({"metadata":{},"metadata":{},"weight_map":{"b":"1"}})",
       "key `metadata` stands there twice"},
  };
  for (const auto& [json, says] : cases) {
    SCOPED_TRACE(json);
    EXPECT_THAT(error_of(json), HasSubstr(says));
  }
}

TEST(ShardIndex, RefusesFilesOutsideTheDirectory) {
  for (const auto* name :
       {"", ".", "..", "/etc/passwd", "../x", "a/../../x", "a/../x", "a/..", "a/", "./x", "a//x",
        "a/./x", "x\\n", "x\\u0000y", "\\u001b[2J", "\\u009b2J"}) {
    SCOPED_TRACE(name);
    const auto text = error_of(fmt::format(R"({{"weight_map":{{"t":"{}"}}}})", name));
    EXPECT_THAT(text, HasSubstr("tensor `t` is in file `"));
    EXPECT_THAT(text, HasSubstr("expected a plain path inside the directory"));
  }
}

TEST(ShardIndex, AcceptsDotsThatAreNoSteps) {
  for (const auto* name : {"..x", "x..", "a/..x", "...", ".x", "a.b/c"}) {
    SCOPED_TRACE(name);
    EXPECT_THAT(parse_shard_index(fmt::format(R"({{"weight_map":{{"t":"{}"}}}})", name), ""),
                ElementsAre(Pair("t", name)));
  }
}

TEST(ShardIndex, BoundsTheDepthOfWhatItPassesOver) {
  const auto nested = [](std::size_t depth) {
    return R"({"weight_map":{"a":"1"},"x":)" + std::string(depth, '[') + std::string(depth, ']') +
           "}";
  };

  EXPECT_EQ(parse_shard_index(nested(kMaxJsonDepth - 1), "").size(), 1U);
  EXPECT_THAT(error_of(nested(kMaxJsonDepth)), HasSubstr("more than 64 deep"));
  std::string hostile = R"({"x":)";
  hostile.resize(99'000'000, '[');
  EXPECT_THAT(error_of(hostile), HasSubstr("more than 64 deep"));
}

}  // namespace
}  // namespace mpimerge::checkpoint
