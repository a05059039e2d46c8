#include "job/utf8.hpp"

#include <cstdint>

namespace mpimerge::job {
namespace {

std::uint8_t byte_at(std::string_view text, std::size_t position) {
  return position < text.size() ? static_cast<std::uint8_t>(text[position]) : std::uint8_t{0};
}

bool is_continuation(std::uint8_t byte) { return (byte & 0xc0U) == 0x80U; }

/// Local. The bytes of the character that starts at `position`, or 0 if none starts there.
std::size_t character_bytes(std::string_view text, std::size_t position) {
  const std::uint8_t first = byte_at(text, position);
  if (first < 0x80) {
    const bool ends_a_line =
        first == '\n' || (first == '\r' && byte_at(text, position + 1) == '\n');
    const bool readable = first == '\t' || ends_a_line || (first >= 0x20 && first != 0x7f);
    return readable ? 1 : 0;
  }
  const std::size_t bytes = first >= 0xc2 && first <= 0xdf   ? 2
                            : first >= 0xe0 && first <= 0xef ? 3
                            : first >= 0xf0 && first <= 0xf4 ? 4
                                                             : 0;
  for (std::size_t i = 1; i < bytes; ++i) {
    if (!is_continuation(byte_at(text, position + i))) return 0;
  }
  // What is written with more bytes than needed, the halves of UTF-16 pairs, and beyond U+10FFFF.
  const std::uint8_t second = byte_at(text, position + 1);
  const bool refused = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
                       (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
  return refused ? 0 : bytes;
}

}  // namespace

std::optional<std::size_t> first_unreadable_byte(std::string_view text) {
  std::size_t position = 0;
  while (position < text.size()) {
    const std::size_t bytes = character_bytes(text, position);
    if (bytes == 0) return position;
    position += bytes;
  }
  return std::nullopt;
}

}  // namespace mpimerge::job
