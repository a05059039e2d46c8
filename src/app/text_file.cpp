#include "app/text_file.hpp"

#include <cstdint>
#include <span>
#include <system_error>

#include <fmt/format.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/text.hpp"

namespace mpimerge::app {

namespace fs = std::filesystem;

std::string read_text_file(const fs::path& file) {
  constexpr base::Bytes kLongest{std::uint64_t{64} << 20};
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return {};
  const base::FileDescriptor opened = base::open_for_reading(file);
  const base::Bytes bytes = base::file_size(opened, file);
  if (bytes > kLongest) {
    throw base::Error(base::ErrorKind::input,
                      fmt::format("{}: has {}; expected at most {}; remove it, or move it away",
                                  base::printable_path(file), base::human_bytes(bytes),
                                  base::human_bytes(kLongest)));
  }
  std::string text(bytes.value(), '\0');
  base::read_exactly(opened, file, base::Bytes{}, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace mpimerge::app
