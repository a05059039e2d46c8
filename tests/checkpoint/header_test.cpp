#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/checkpoint/safetensors.hpp"

#include "checkpoint/make_file.hpp"

namespace mpimerge::checkpoint {
namespace {

using base::Bytes;
using base::Dtype;
using base::Elements;
using test::input_error;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::StartsWith;
using Shape = std::vector<std::uint64_t>;

constexpr Bytes kDataOffset{1000};

SafetensorsHeader parse(std::string_view json, std::uint64_t data_bytes) {
  return parse_safetensors_header(json, kDataOffset, Bytes{data_bytes}, "m.safetensors");
}

std::string error_of(std::string_view json, std::uint64_t data_bytes = 4) {
  std::string text = input_error([&] { parse(json, data_bytes); });
  EXPECT_THAT(text, StartsWith("m.safetensors: "));
  return text;
}

std::vector<std::string> names_of(const SafetensorsHeader& header) {
  std::vector<std::string> names;
  names.reserve(header.tensors.size());
  for (const TensorInfo& tensor : header.tensors) names.push_back(tensor.name);
  return names;
}

TEST(SafetensorsHeader, ReadsEveryElementType) {
  for (const Dtype dtype : base::kAllDtypes) {
    SCOPED_TRACE(base::name(dtype));
    const auto bytes = 6 * base::element_bytes(dtype).value();
    const auto json = fmt::format(R"({{"a":{{"dtype":"{}","shape":[2,3],"data_offsets":[0,{}]}}}})",
                                  base::name(dtype), bytes);

    const auto header = parse(json, bytes);

    ASSERT_EQ(header.tensors.size(), 1U);
    const TensorInfo& tensor = header.tensors[0];
    EXPECT_EQ(tensor.name, "a");
    EXPECT_EQ(tensor.dtype, dtype);
    EXPECT_EQ(tensor.shape, (Shape{2, 3}));
    EXPECT_EQ(tensor.elements, Elements{6});
    EXPECT_EQ(tensor.file, 0U);
    EXPECT_EQ(tensor.offset, kDataOffset);
    EXPECT_EQ(tensor.bytes, Bytes{bytes});
  }
}

TEST(SafetensorsHeader, TakesAScalarForOneElement) {
  const auto header = parse(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4);

  ASSERT_EQ(header.tensors.size(), 1U);
  EXPECT_THAT(header.tensors[0].shape, IsEmpty());
  EXPECT_EQ(header.tensors[0].elements, Elements{1});
}

TEST(SafetensorsHeader, SortsByPositionThenEmptyOnesThenName) {
  const auto header = parse(R"({"c":{"dtype":"F32","shape":[1],"data_offsets":[1,5]},
                                "z":{"dtype":"F32","shape":[0,7],"data_offsets":[1,1]},
                                "y":{"dtype":"F32","shape":[0],"data_offsets":[1,1]},
                                "e":{"dtype":"I64","shape":[3,0],"data_offsets":[5,5]},
                                "b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
                            5);

  EXPECT_THAT(names_of(header), ElementsAre("b", "y", "z", "c", "e"));
  EXPECT_EQ(header.tensors[2].shape, (Shape{0, 7}));
  EXPECT_EQ(header.tensors[2].elements, Elements{0});
  EXPECT_EQ(header.tensors[3].offset, Bytes{1001}) << "a float32 at an odd byte";
}

TEST(SafetensorsHeader, AcceptsEveryOrderOfKeysAndWhiteSpaceInside) {
  const auto header =
      parse("{\n \"a\" :\t{\"data_offsets\":[ 0 , 4 ],\"shape\":[1],\"dtype\":\"F32\"} }", 4);

  EXPECT_THAT(names_of(header), ElementsAre("a"));
}

TEST(SafetensorsHeader, AcceptsSpacesAsPadding) {
  EXPECT_THAT(parse("{}        ", 0).tensors, IsEmpty());
}

TEST(SafetensorsHeader, AcceptsAFileWithoutTensors) {
  EXPECT_THAT(parse("{}", 0).tensors, IsEmpty());
  EXPECT_THAT(parse(R"({"__metadata__":{}})", 0).metadata, IsEmpty());
}

TEST(SafetensorsHeader, KeepsMetadata) {
  const auto header = parse(R"({"__metadata__":{"format":"pt","":"a\nb"}})", 0);

  EXPECT_THAT(header.tensors, IsEmpty());
  EXPECT_THAT(header.metadata, ElementsAre(Pair("", "a\nb"), Pair("format", "pt")));
}

TEST(SafetensorsHeader, KeepsNamesBeyondAscii) {
  const auto header = parse(
      R"({"gewichtü":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},
          "\u03b8\ud83d\ude00":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
      0);

  EXPECT_THAT(names_of(header), ElementsAre("gewichtü", "θ😀"));
}

TEST(SafetensorsHeader, AcceptsThirtyTwoDimensions) {
  std::string ones = "1";
  for (int i = 1; i < 32; ++i) ones += ",1";

  const auto header =
      parse(fmt::format(R"({{"a":{{"dtype":"U8","shape":[{}],"data_offsets":[0,1]}}}})", ones), 1);

  EXPECT_EQ(header.tensors[0].shape, Shape(32, 1));
}

TEST(SafetensorsHeader, AcceptsSizesAboveFourGiB) {
  const auto bytes = std::uint64_t{1} << 62;

  const auto header =
      parse(fmt::format(R"({{"a":{{"dtype":"BF16","shape":[{}],"data_offsets":[0,{}]}}}})",
                        bytes / 2, bytes),
            bytes);

  EXPECT_EQ(header.tensors[0].elements, Elements{bytes / 2});
}

TEST(SafetensorsHeader, ReadsAHundredThousandTensorsInAnyOrder) {
  constexpr std::uint64_t kTensors = 100'000;
  std::string json = "{";
  for (std::uint64_t i = kTensors; i-- > 0;) {
    json +=
        fmt::format(R"("t{}":{{"dtype":"U8","shape":[1],"data_offsets":[{},{}]}})", i, i, i + 1);
    json += i > 0 ? "," : "}";
  }

  const auto header = parse(json, kTensors);

  ASSERT_EQ(header.tensors.size(), kTensors);
  EXPECT_EQ(header.tensors[12'345].name, "t12345");
}

struct Refused {
  std::string_view json;
  std::vector<std::string_view> says;
};

// With 4 data bytes.
TEST(SafetensorsHeader, RefusesWhatIsNotJsonOrNotAnObject) {
  const std::vector<Refused> cases = {
      {"", {"must begin with {", "found nothing"}},
      {"[]", {"must begin with {", "byte 0x5b"}},
      {" {}", {"must begin with {", "byte 0x20"}},
      {"\xef\xbb\xbf{}", {"must begin with {", "byte 0xef"}},
      {"PK\x03\x04", {"must begin with {", "byte 0x50", "is it a safetensors file?"}},
      {"{", {"the header is not JSON near its byte", "unexpected end of input"}},
      {R"({"a":)", {"not JSON", "unexpected end of input"}},
      {R"({"a)", {"not JSON near its byte 4", "missing closing quote"}},
      {R"({"a":tru})", {"not JSON near its byte 9", "invalid literal"}},
      {R"({"a":{},})", {"tensor `a`: has no `dtype`"}},
      {R"({"__metadata__":{},})", {"not JSON", "unexpected '}'"}},
      {R"({__metadata__:{}})", {"not JSON near its byte 2"}},
      {R"({"__metadata__":{}/**/})", {"not JSON"}},
      {R"({}})", {"not JSON near its byte 3"}},
      {R"({}{})", {"not JSON near its byte 3"}},
      {R"({} x)", {"not JSON near its byte 4"}},
      {"{}\n", {"must end with }", "nothing but spaces"}},
      {"{}  \t ", {"must end with }"}},
      {{"{}\0\0", 4}, {"not JSON near its byte 3", "zero byte"}},
      {{"{}\0}", 4}, {"not JSON near its byte 3", "zero byte"}},
      {"{\"a\xff\":1}", {"not JSON near its byte 4", "ill-formed UTF-8"}},
      {"{\"\xc0\xaf\":1}", {"not JSON", "ill-formed UTF-8"}},
      {"{\"\xed\xa0\x80\":1}", {"not JSON", "ill-formed UTF-8"}},
      {R"({"\ud800":1})", {"not JSON", "surrogate"}},
      {"{\"a\nb\":1}", {"not JSON", "control character"}},
  };
  for (const auto& [json, says] : cases) {
    SCOPED_TRACE(json);
    const auto text = error_of(json);
    EXPECT_TRUE(std::ranges::all_of(text, [](char letter) { return letter >= 0; })) << text;
    for (const auto part : says) EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST(SafetensorsHeader, RefusesEntriesThatAreNotAsTheyShouldBe) {
  const std::vector<Refused> cases = {
      {R"({"a":1})", {"`a` must be an object, found 1"}},
      {R"({"a":null})", {"`a` must be an object, found null"}},
      {R"({"a":"x"})", {"`a` must be an object, found a string"}},
      {R"({"a":[]})", {"`a` must be an object, found a list"}},
      {R"({"":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", {"name is empty"}},
      {R"({"a\u0000b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
       {"`a\\x00b`", "zero byte"}},
      {R"({"a":{"shape":[1],"data_offsets":[0,4]}})", {"tensor `a`: has no `dtype`"}},
      {R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", {"tensor `a`: has no `shape`"}},
      {R"({"a":{"dtype":"F32","shape":[1]}})", {"tensor `a`: has no `data_offsets`"}},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":0}})",
       {"tensor `a`", "unknown key `x`", "dtype, shape, data_offsets"}},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"dtype":"F32"}})",
       {"tensor `a`", "key `dtype` stands there twice"}},
      {R"({"a":{"shape":[1],"shape":[1],"dtype":"F32","data_offsets":[0,4]}})",
       {"tensor `a`", "key `shape` stands there twice"}},
      {R"({"a":{"data_offsets":[0,4],"data_offsets":[0,4],"dtype":"F32","shape":[1]}})",
       {"tensor `a`", "key `data_offsets` stands there twice"}},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},
           "b":{"dtype":"U8","shape":[0],"data_offsets":[4,4]},
           "a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
       {"tensor `a` stands there twice"}},
      {R"({"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})",
       {"tensor `a`", "unknown dtype `F33`", "F64 F32 F16 BF16"}},
      {R"({"a":{"dtype":"f32","shape":[1],"data_offsets":[0,4]}})", {"unknown dtype `f32`"}},
      {R"({"a":{"dtype":5,"shape":[1],"data_offsets":[0,4]}})",
       {"tensor `a`: dtype must be a string, found 5"}},
      {R"({"a":{"dtype":["F32"],"shape":[1],"data_offsets":[0,4]}})",
       {"tensor `a`: dtype must be a string, found a list"}},
      {R"({"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})",
       {"tensor `a`: shape must be a list of integers, found 1"}},
      {R"({"a":{"dtype":"F32","shape":{},"data_offsets":[0,4]}})",
       {"tensor `a`: shape must be a list of integers, found an object"}},
      {R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})",
       {"tensor `a`: shape must hold integers from 0 to 2^64 - 1, found -1"}},
      {R"({"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,4]}})", {"found -0"}},
      {R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", {"found 1.0"}},
      {R"({"a":{"dtype":"F32","shape":[1e3],"data_offsets":[0,4]}})", {"found 1e3"}},
      {R"({"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]}})",
       {"shape must hold integers from 0 to 2^64 - 1, found 18446744073709551616"}},
      {R"({"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,4]}})", {"found 1e999"}},
      {R"({"a":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}})", {"found true"}},
      {R"({"a":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}})", {"found a string"}},
      {R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", {"found a list"}},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":4}})",
       {"tensor `a`: data_offsets must be a list of integers, found 4"}},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[]}})",
       {"tensor `a`: data_offsets must hold 2 integers, found 0"}},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4]}})", {"found 1"}},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}})",
       {"tensor `a`: data_offsets must hold 2 integers, found more"}},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}})",
       {"tensor `a`: data_offsets must hold integers from 0 to 2^64 - 1, found -4"}},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,{}]}})", {"found an object"}},
      {R"({"__metadata__":{},"__metadata__":{}})", {"__metadata__ stands there twice"}},
      {R"({"__metadata__":{"k":"1","k":"1"}})", {"__metadata__: key `k` stands there twice"}},
      {R"({"__metadata__":{"k":1}})", {"__metadata__: key `k` must be a string, found 1"}},
      {R"({"__metadata__":{"k":{}}})", {"key `k` must be a string, found an object"}},
      {R"({"__metadata__":{"k":[]}})", {"key `k` must be a string, found a list"}},
      {R"({"__metadata__":[]})", {"`__metadata__` must be an object, found a list"}},
  };
  for (const auto& [json, says] : cases) {
    SCOPED_TRACE(json);
    const auto text = error_of(json);
    for (const auto part : says) EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST(SafetensorsHeader, RefusesShapesThatDoNotFit) {
  const std::vector<Refused> cases = {
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})",
       {"tensor `a`: data_offsets [0, 4] are 4 bytes, but shape [2] of F32 takes 8"}},
      {R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,4]}})", {"shape [0] of F32 takes 0"}},
      {R"({"a":{"dtype":"F64","shape":[],"data_offsets":[0,4]}})", {"shape [] of F64 takes 8"}},
      {R"({"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})",
       {"shape [4294967296, 4294967296] of U8 overflows 64 bits"}},
      {R"({"a":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]}})",
       {"shape [4611686018427387905] of F32 overflows 64 bits"}},
      {R"({"a":{"dtype":"U8","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}})",
       {"overflows 64 bits"}},
      {R"({"a":{"dtype":"U8","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}})",
       {"overflows 64 bits"}},
      {R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],
           "data_offsets":[0,1]}})",
       {"tensor `a`: shape has more than 32 dimensions"}},
  };
  for (const auto& [json, says] : cases) {
    SCOPED_TRACE(json);
    const auto text = error_of(json);
    for (const auto part : says) EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST(SafetensorsHeader, RefusesRangesThatDoNotTileTheData) {
  const std::vector<Refused> cases = {
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})",
       {"tensor `a`: data_offsets [4, 0] run backwards"}},
      {R"({"a":{"dtype":"U8","shape":[5],"data_offsets":[18446744073709551610,18446744073709551615]}})",
       {"tensor `a`", "overflow 64 bits"}},
      {R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},
           "b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
       {"tensor `b` overlaps tensor `a`", "begins at data byte 2", "ends at 3"}},
      {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
           "b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
       {"tensor `b` overlaps tensor `a`"}},
      {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
           "b":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}})",
       {"tensor `b` overlaps tensor `a`"}},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
           "e":{"dtype":"U8","shape":[0],"data_offsets":[1,1]},
           "b":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}})",
       {"data bytes 1 to 3, before tensor `b`, belong to no tensor"}},
      {R"({"b":{"dtype":"U8","shape":[3],"data_offsets":[1,4]}})",
       {"data bytes 0 to 1, before tensor `b`"}},
      {R"({"b":{"dtype":"U8","shape":[0],"data_offsets":[4,4]}})", {"data bytes 0 to 4"}},
      {R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})",
       {"longer than its header says: expected 1003 bytes, found 1004, 1 too many"}},
      {"{}", {"longer than its header says: expected 1000 bytes, found 1004"}},
      {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}})",
       {"shorter than its header says: expected 1012 bytes, found 1004, 8 are missing",
        "Truncated? Download"}},
  };
  for (const auto& [json, says] : cases) {
    SCOPED_TRACE(json);
    const auto text = error_of(json);
    for (const auto part : says) EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST(SafetensorsHeader, RefusesDeepNestingAtOnce) {
  std::string brackets;
  brackets.resize(99'000'000, '[');

  EXPECT_THAT(error_of(R"({"a":)" + brackets), HasSubstr("`a` must be an object, found a list"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"F32","shape":)" + brackets),
              HasSubstr("tensor `a`: shape must hold integers"));
}

TEST(SafetensorsHeader, CutsLongTextInMessages) {
  const std::string name(5'000'000, 'n');

  EXPECT_THAT(error_of("{\"" + name), HasSubstr("missing closing quote"));
  EXPECT_THAT(error_of("{\"" + name + "\":1}"), HasSubstr("nnn...` must be an object"));
  EXPECT_THAT(error_of(R"({"a":{"shape":[)" + std::string(5'000'000, '9') + "]}}"),
              HasSubstr("found 999"));
}

TEST(SafetensorsHeader, ShowsControlCharactersOfNamesAsText) {
  EXPECT_THAT(error_of(R"({"a\n\u001b[2Jb":1})"), HasSubstr("`a\\x0a\\x1b[2Jb`"));
}

}  // namespace
}  // namespace mpimerge::checkpoint
