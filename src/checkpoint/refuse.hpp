#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/text.hpp"

namespace mpimerge::checkpoint {

/// Local. Throws the one line that the user sees: the file, then what is wrong with it.
template <class... Args>
[[noreturn]] void refuse(const std::filesystem::path& file, fmt::format_string<Args...> text,
                         Args&&... args) {
  throw base::Error(base::ErrorKind::input, base::printable_path(file) + ": " +
                                                fmt::format(text, std::forward<Args>(args)...));
}

/// Local. Text from a file, for one line of a message: `text`.
inline std::string in_quotes(std::string_view text) { return "`" + base::printable(text) + "`"; }

}  // namespace mpimerge::checkpoint
