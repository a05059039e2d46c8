#include "mpimerge/base/dtype.hpp"

#include <cstdint>
#include <optional>
#include <set>
#include <string_view>

#include <gtest/gtest.h>

namespace mpimerge::base {
namespace {

struct Row {
  Dtype dtype;
  std::string_view name;
  std::uint64_t bytes;
  bool merged;
};

constexpr Row kTable[] = {
    {Dtype::f64, "F64", 8, true},          {Dtype::f32, "F32", 4, true},
    {Dtype::f16, "F16", 2, true},          {Dtype::bf16, "BF16", 2, true},
    {Dtype::f8_e4m3, "F8_E4M3", 1, false}, {Dtype::f8_e5m2, "F8_E5M2", 1, false},
    {Dtype::i64, "I64", 8, false},         {Dtype::i32, "I32", 4, false},
    {Dtype::i16, "I16", 2, false},         {Dtype::i8, "I8", 1, false},
    {Dtype::u64, "U64", 8, false},         {Dtype::u32, "U32", 4, false},
    {Dtype::u16, "U16", 2, false},         {Dtype::u8, "U8", 1, false},
    {Dtype::boolean, "BOOL", 1, false},
};

TEST(Dtype, HasTheNamesAndSizesOfSafetensors) {
  for (const Row& row : kTable) {
    EXPECT_EQ(name(row.dtype), row.name);
    EXPECT_EQ(element_bytes(row.dtype), Bytes{row.bytes}) << row.name;
    EXPECT_EQ(parse_dtype(row.name), row.dtype) << row.name;
  }
}

TEST(Dtype, OnlyFloatsOfSixteenBitsAndMoreAreMerged) {
  for (const Row& row : kTable) EXPECT_EQ(is_merged(row.dtype), row.merged) << row.name;
}

TEST(Dtype, FloatingAreTheMergedOnesAndThoseOfEightBits) {
  for (const Row& row : kTable) {
    const bool eight_bits = row.dtype == Dtype::f8_e4m3 || row.dtype == Dtype::f8_e5m2;
    EXPECT_EQ(is_floating(row.dtype), row.merged || eight_bits) << row.name;
  }
}

TEST(Dtype, ListsEveryTypeOnce) {
  const std::set<Dtype> listed(std::begin(kAllDtypes), std::end(kAllDtypes));

  EXPECT_EQ(listed.size(), std::size(kAllDtypes));
  EXPECT_EQ(listed.size(), std::size(kTable));
}

TEST(Dtype, DoesNotGuessAtUnknownNames) {
  for (const std::string_view unknown :
       {"", "f32", "F32 ", "BF1", "F8_E4M3FN", "FLOAT32", "F4", "?"}) {
    EXPECT_EQ(parse_dtype(unknown), std::nullopt) << unknown;
  }
}

}  // namespace
}  // namespace mpimerge::base
