#include <optional>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "job/spelling.hpp"
#include "job/utf8.hpp"

namespace mpimerge::job {
namespace {

TEST(FirstUnreadableByte, FindsNothingInUtf8) {
  for (const std::string_view text : {"", "plain\ttext\r\n", "\xc2\xa0\xdf\xbf",
                                      "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbd",
                                      "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "\xef\xbb\xbf"}) {
    EXPECT_EQ(first_unreadable_byte(text), std::nullopt) << text;
  }
}

TEST(FirstUnreadableByte, FindsWhatIsNoUtf8AndControlCharacters) {
  using namespace std::string_view_literals;
  for (const std::string_view bad :
       {"\x80"sv, "\xc3"sv, "\xc3("sv, "\xc0\xaf"sv, "\xc1\xbf"sv, "\xe0\x9f\xbf"sv,
        "\xed\xa0\x80"sv, "\xe2\x82"sv, "\xf0\x8f\xbf\xbf"sv, "\xf4\x90\x80\x80"sv,
        "\xf5\x80\x80\x80"sv, "\xff"sv, "\x04"sv, "\0"sv, "\x1b[0m"sv, "\x7f"sv, "\r"sv, "\rb"sv}) {
    EXPECT_EQ(first_unreadable_byte("ab\xc3\xa4" + std::string(bad)), 4U) << bad;
  }
}

TEST(Nearest, FindsTheWordThatWasMeant) {
  const std::vector<std::string_view> known = {"density", "weight", "lambda", "out_dtype",
                                               "output"};
  EXPECT_EQ(nearest("densty", known), "density");
  EXPECT_EQ(nearest("wieght", known), "weight");
  EXPECT_EQ(nearest("Lambda", known), "lambda");
  EXPECT_EQ(nearest("out-dtype", known), "out_dtype");
  EXPECT_EQ(nearest("outputs", known), "output");
}

TEST(Nearest, PrefersTheWordItself) {
  for (const auto& known : {std::vector<std::string_view>{"lambda", "lambdas"},
                            std::vector<std::string_view>{"lambdas", "lambda"}}) {
    EXPECT_EQ(nearest("lambda", known), "lambda");
  }
}

TEST(Nearest, FindsNothingFarFromEveryWord) {
  const std::vector<std::string_view> known = {"density", "weight", "nan"};
  for (const std::string_view word :
       {"", "t", "learning_rate", "intensify", "name1", "nxx", "dxxxity"}) {
    EXPECT_EQ(nearest(word, known), std::nullopt) << word;
  }
}

}  // namespace
}  // namespace mpimerge::job
