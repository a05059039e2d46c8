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

TEST(Printable, KeepsControlCharactersBeyondAsciiOffTheTerminal) {
  EXPECT_EQ(printable("a\xc2\x9b[2J"), "a\\xc2\\x9b[2J");  // one character that means ESC [
  EXPECT_EQ(printable("\xc2\x85\xc2\xa0"), "\\xc2\\x85\xc2\xa0");
}

TEST(Printable, ShowsBytesThatAreNoUtf8) {
  EXPECT_EQ(printable("\x9b[2J\xff"), "\\x9b[2J\\xff");
  EXPECT_EQ(printable("\xc3("), "\\xc3(");
  EXPECT_EQ(printable("a\xe2\x82"), "a\\xe2\\x82");
}

TEST(Printable, CutsBetweenCharacters) {
  EXPECT_EQ(printable("abc\xc3\xa4\xc3\xb6", 4), "abc\xc3\xa4...");
}

TEST(PrintablePath, IsNeverCut) {
  EXPECT_EQ(printable_path("/" + std::string(4000, 'x') + "\n"),
            "/" + std::string(4000, 'x') + "\\x0a");
}

TEST(CharacterBytes, CountsOneCharacterOfUtf8) {
  constexpr std::string_view kText = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x99\x82";
  EXPECT_EQ(character_bytes(kText, 0), 1U);
  EXPECT_EQ(character_bytes(kText, 1), 2U);
  EXPECT_EQ(character_bytes(kText, 3), 3U);
  EXPECT_EQ(character_bytes(kText, 6), 4U);
  EXPECT_EQ(character_bytes(std::string_view("\0", 1), 0), 1U);
}

TEST(CharacterBytes, IsNothingWhereNoneBegins) {
  EXPECT_EQ(character_bytes("", 0), 0U);
  EXPECT_EQ(character_bytes("\xc3\xa4", 1), 0U);
  EXPECT_EQ(character_bytes("\xc3", 0), 0U);
  EXPECT_EQ(character_bytes("\xed\xa0\x80", 0), 0U);  // half of a UTF-16 pair
  EXPECT_EQ(character_bytes("\xc0\x80", 0), 0U);      // longer than need be
}

TEST(Printable, CutsLongText) {
  EXPECT_EQ(printable(std::string(10, 'x'), 10), std::string(10, 'x'));
  EXPECT_EQ(printable(std::string(11, 'x'), 10), std::string(10, 'x') + "...");
}

}  // namespace
}  // namespace mpimerge::base
