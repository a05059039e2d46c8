#include "report/markup.hpp"

#include <limits>
#include <string>

#include <gtest/gtest.h>

namespace mpimerge::report {
namespace {

TEST(Escape, LeavesNoMarkup) {
  EXPECT_EQ(escape("</title><script>alert('x\"&')</script>"),
            "&lt;/title&gt;&lt;script&gt;alert(&#39;x&quot;&amp;&#39;)&lt;/script&gt;");
}

TEST(Escape, ShowsControlCharactersAndWhatIsNoUtf8) {
  EXPECT_EQ(escape(std::string("a\0\n\x1b[31m\xff", 9)), "a\\x00\\x0a\\x1b[31m\\xff");
  EXPECT_EQ(escape("größe"), "größe");
}

TEST(Escape, CutsBeforeItEscapes) { EXPECT_EQ(escape("<<<<", 2), "&lt;&lt;..."); }

TEST(Numbers, AreForPeopleAndForPrograms) {
  EXPECT_EQ(grouped(7), "7");
  EXPECT_EQ(grouped(1234567), "1\u202f234\u202f567");
  EXPECT_EQ(percent(0), "0\u202f%");
  EXPECT_EQ(percent(0.00001), "&lt;\u202f0.01\u202f%");
  EXPECT_EQ(percent(0.0043), "0.43\u202f%");
  EXPECT_EQ(percent(0.41234), "41.2\u202f%");
  EXPECT_EQ(percent(std::numeric_limits<double>::quiet_NaN()), "–");
  EXPECT_EQ(number(0.00012345), "0.000123");
  EXPECT_EQ(data_value(0.1), " data-value=\"0.1\"");
  EXPECT_EQ(data_value(1.0 / 3), " data-value=\"0.3333333333333333\"");
  EXPECT_EQ(data_value(std::numeric_limits<double>::infinity()), "");
  EXPECT_EQ(count_cell(UINT64_MAX),
            "<td class=\"n\" data-value=\"18446744073709551615\">"
            "18\u202f446\u202f744\u202f073\u202f709\u202f551\u202f615</td>");
}

}  // namespace
}  // namespace mpimerge::report
