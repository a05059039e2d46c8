#include "mpimerge/base/text.hpp"

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

namespace mpimerge::base {

std::string human_bytes(Bytes bytes) {
  if (bytes.value() < 1000) return fmt::format("{} B", bytes.value());
  constexpr std::array kUnits{"kB", "MB", "GB", "TB", "PB", "EB"};
  double value = static_cast<double>(bytes.value()) / 1000;
  std::size_t unit = 0;
  while (value >= 999.995 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.2f} {}", value, kUnits[unit]);
}

Bytes parse_bytes(std::string_view text) {
  const auto refuse = [&] {
    throw std::invalid_argument(fmt::format(
        "`{}` is not a size; expected a number with an optional unit, such as 512, 64MiB or 5GB",
        text));
  };
  double value = 0;
  const auto [rest, status] =
      std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (status != std::errc{} || !(value > 0)) refuse();
  std::string unit;
  for (const char* letter = rest; letter != text.data() + text.size(); ++letter) {
    if (*letter != ' ')
      unit += static_cast<char>(std::toupper(static_cast<unsigned char>(*letter)));
  }
  if (!unit.empty() && unit.back() == 'B') unit.pop_back();
  double base = 1000;
  if (unit.size() == 2 && unit.back() == 'I') {
    base = 1024;
    unit.pop_back();
  }
  constexpr std::string_view kPrefixes = "KMGTPE";
  int power = 0;
  if (!unit.empty()) {
    const auto found = unit.size() == 1 ? kPrefixes.find(unit[0]) : std::string_view::npos;
    if (found == std::string_view::npos) refuse();
    power = static_cast<int>(found) + 1;
  }
  const double bytes = std::round(value * std::pow(base, power));
  if (bytes < 1 || bytes >= 9.2e18) refuse();
  return Bytes{static_cast<std::uint64_t>(bytes)};
}

std::string printable(std::string_view text, std::size_t most) {
  std::string out;
  for (const char letter : text) {
    const auto code = static_cast<unsigned char>(letter);
    const bool inside_a_character =
        (code & 0xc0u) == 0x80u;  // UTF-8 is cut between characters only
    if (out.size() >= most && !inside_a_character) return out + "...";
    if (code < 0x20 || code == 0x7f) {
      out += fmt::format("\\x{:02x}", code);
    } else {
      out += letter;
    }
  }
  return out;
}

}  // namespace mpimerge::base
