#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "mpimerge/base/index.hpp"

namespace mpimerge::base {

/// Local. "17 B", "3.40 MB", "1.20 TB" (powers of 1000).
std::string human_bytes(Bytes bytes);

/// Local. Reads "512", "64MiB", "5GB", "2 GiB": K, M, G, T are powers of 1000, with an i powers of
/// 1024.
/// Errors: std::invalid_argument if it is not a size of at least one byte.
Bytes parse_bytes(std::string_view text);

/// Local. The bytes of the UTF-8 character that begins at `position`, or 0 if none does.
std::size_t character_bytes(std::string_view text, std::size_t position);

/// Local. Text from a file made fit for one line of a terminal: control characters and bytes that
/// are no UTF-8 as \xNN, cut after `most` bytes with "...".
std::string printable(std::string_view text, std::size_t most = 120);

/// Local. The same for the name of a file, which is never cut.
std::string printable_path(const std::filesystem::path& path);

}  // namespace mpimerge::base
