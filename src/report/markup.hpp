#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mpimerge::report {

// Text for HTML and for the SVG in it. What comes from files goes through `escape`, always.

/// Local. Any bytes as text of an element or of an attribute in double quotes: no markup, no control
/// characters, valid UTF-8; cut after `most` bytes with "...".
std::string escape(std::string_view text, std::size_t most = 160);

/// Local. `escape`d and in <code>, which also keeps text of the other direction inside.
std::string code(std::string_view text);

/// Local. "1 234 567", with spaces that do not break.
std::string grouped(std::uint64_t count);

/// Local. "41.2 %", "0.43 %", "< 0.01 %" of a share of 1; a dash for what is no number.
std::string percent(double share);

/// Local. A number in a table or on an axis: three digits that count; a dash for what is no number.
std::string number(double value);

/// Local. ` data-value="..."` with all digits of the number, for programs that read the page; empty
/// for what is no number.
std::string data_value(double value);
std::string data_value(std::uint64_t value);

/// Local. A cell of a table that holds a number: shown as `text`, with all digits in its attribute.
std::string cell(const std::string& text, double value);
std::string count_cell(std::uint64_t count);
std::string percent_cell(double share);
std::string number_cell(double value);

}  // namespace mpimerge::report
