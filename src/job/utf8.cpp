#include "job/utf8.hpp"

#include "mpimerge/base/text.hpp"

namespace mpimerge::job {
namespace {

bool is_readable(std::string_view text, std::size_t position) {
  const auto letter = static_cast<unsigned char>(text[position]);
  if (letter == '\r') return position + 1 < text.size() && text[position + 1] == '\n';
  return letter == '\t' || letter == '\n' || (letter >= 0x20 && letter != 0x7f);
}

}  // namespace

std::optional<std::size_t> first_unreadable_byte(std::string_view text) {
  std::size_t position = 0;
  while (position < text.size()) {
    const std::size_t bytes = base::character_bytes(text, position);
    if (bytes == 0 || !is_readable(text, position)) return position;
    position += bytes;
  }
  return std::nullopt;
}

}  // namespace mpimerge::job
