#include "mpimerge/base/text.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

namespace mpimerge::base {
namespace {

std::uint8_t byte_at(std::string_view text, std::size_t position) {
  return position < text.size() ? static_cast<std::uint8_t>(text[position]) : std::uint8_t{0};
}

// Of ASCII, and U+0080 to U+009F, which terminals obey as well.
bool is_control(std::string_view character) {
  const std::uint8_t first = byte_at(character, 0);
  return first < 0x20 || first == 0x7f || (first == 0xc2 && byte_at(character, 1) < 0xa0);
}

}  // namespace

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

std::size_t character_bytes(std::string_view text, std::size_t position) {
  const std::uint8_t first = byte_at(text, position);
  if (first < 0x80) return position < text.size() ? 1 : 0;
  const std::size_t bytes = first >= 0xc2 && first <= 0xdf   ? 2
                            : first >= 0xe0 && first <= 0xef ? 3
                            : first >= 0xf0 && first <= 0xf4 ? 4
                                                             : 0;
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte_at(text, position + i) & 0xc0U) != 0x80U) return 0;
  }
  // What is written with more bytes than needed, the halves of UTF-16 pairs, and beyond U+10FFFF.
  const std::uint8_t second = byte_at(text, position + 1);
  const bool refused = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
                       (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
  return refused ? 0 : bytes;
}

std::string printable(std::string_view text, std::size_t most) {
  std::string out;
  for (std::size_t position = 0; position < text.size();) {
    if (out.size() >= most) return out + "...";
    const std::size_t bytes = character_bytes(text, position);
    const std::string_view character = text.substr(position, std::max<std::size_t>(bytes, 1));
    if (bytes == 0 || is_control(character)) {
      for (const char byte : character)
        out += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    } else {
      out += character;
    }
    position += character.size();
  }
  return out;
}

std::string printable_path(const std::filesystem::path& path) {
  return printable(path.native(), std::string::npos);
}

}  // namespace mpimerge::base
