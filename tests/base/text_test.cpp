#include "mpimerge/base/text.hpp"

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace mpimerge::base {
namespace {

TEST(HumanBytes, UsesPowersOfThousand) {
  EXPECT_EQ(human_bytes(Bytes{0}), "0 B");
  EXPECT_EQ(human_bytes(Bytes{999}), "999 B");
  EXPECT_EQ(human_bytes(Bytes{1000}), "1.00 kB");
  EXPECT_EQ(human_bytes(Bytes{3'400'000}), "3.40 MB");
  EXPECT_EQ(human_bytes(Bytes{1'200'000'000'000}), "1.20 TB");
  EXPECT_EQ(human_bytes(Bytes{UINT64_MAX}), "18.45 EB");
}

TEST(HumanBytes, NeverShowsAThousandOfAUnit) {
  EXPECT_EQ(human_bytes(Bytes{999'994}), "999.99 kB");
  EXPECT_EQ(human_bytes(Bytes{999'999}), "1.00 MB");
}

TEST(ParseBytes, ReadsUnitsOfThousandAndOf1024) {
  struct Row {
    std::string_view text;
    std::uint64_t bytes;
  };
  constexpr std::uint64_t kKibi = 1024;
  const Row table[] = {{"512", 512},
                       {"512B", 512},
                       {"1k", 1000},
                       {"5GB", 5'000'000'000},
                       {"64MiB", 64 * kKibi * kKibi},
                       {"64mib", 64 * kKibi * kKibi},
                       {"2 GiB", 2 * kKibi * kKibi * kKibi},
                       {"2Gi", 2 * kKibi * kKibi * kKibi},
                       {"1.5KiB", 1536},
                       {"3T", 3'000'000'000'000}};
  for (const Row& row : table) EXPECT_EQ(parse_bytes(row.text), Bytes{row.bytes}) << row.text;
}

TEST(ParseBytes, RefusesWhatIsNoSizeOfAtLeastOneByte) {
  for (const std::string_view text :
       {"", "0", "0.1", "-1", "-5GB", "GB", "five", "5 apples", "5XB", "5GBB", "1e9", "nan", "inf",
        "99999999999999999999", "9999999E", "0x10", " 5", "5;"}) {
    EXPECT_THROW(parse_bytes(text), std::invalid_argument) << text;
  }
}

TEST(ParseBytes, SaysWhatItFoundAndWhatItExpects) {
  try {
    parse_bytes("5 apples");
    FAIL() << "no error";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(),
                 "`5 apples` is not a size; expected a number with an optional unit, such as 512, "
                 "64MiB or 5GB");
  }
}

TEST(Printable, LeavesPlainTextAndUtf8) {
  EXPECT_EQ(printable("gewicht\xc3\xbc 1"), "gewicht\xc3\xbc 1");
}

TEST(Printable, KeepsControlCharactersOffTheTerminal) {
  EXPECT_EQ(printable("a\nb\x1b[31m\x7f"), "a\\x0ab\\x1b[31m\\x7f");
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a\\x00b");
}

TEST(Printable, CutsLongText) {
  EXPECT_EQ(printable(std::string(10, 'x'), 10), std::string(10, 'x'));
  EXPECT_EQ(printable(std::string(11, 'x'), 10), std::string(10, 'x') + "...");
}

}  // namespace
}  // namespace mpimerge::base
