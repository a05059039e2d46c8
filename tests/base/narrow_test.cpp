#include "mpimerge/base/narrow.hpp"

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mpimerge::base {
namespace {

TEST(Narrow, KeepsWhatFits) {
  EXPECT_EQ(narrow<int>(std::uint64_t{2147483647}), std::numeric_limits<int>::max());
  EXPECT_EQ(narrow<int>(std::int64_t{-2147483648}), std::numeric_limits<int>::min());
  EXPECT_EQ(narrow<std::uint8_t>(255), 255);
}

TEST(Narrow, RefusesWhatIsTooLarge) {
  EXPECT_THROW(narrow<int>(std::uint64_t{2147483648}), std::out_of_range);
  EXPECT_THROW(narrow<std::int64_t>(std::uint64_t{1} << 63), std::out_of_range);
}

TEST(Narrow, RefusesANegativeNumberForAnUnsignedType) {
  EXPECT_THROW(narrow<std::uint64_t>(-1), std::out_of_range);
}

TEST(Narrow, SaysWhichNumberAndWhere) {
  try {
    narrow<std::uint8_t>(256);
    FAIL() << "no error";
  } catch (const std::out_of_range& error) {
    EXPECT_THAT(error.what(),
                testing::AllOf(testing::HasSubstr("256"), testing::HasSubstr("narrow_test.cpp")));
  }
}

}  // namespace
}  // namespace mpimerge::base
