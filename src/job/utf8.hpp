#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace mpimerge::job {

/// Local. The position of the first byte that text in a job cannot hold: one that is not UTF-8, or
/// an ASCII control character other than tab, LF and the CR before an LF; nothing if all is well.
std::optional<std::size_t> first_unreadable_byte(std::string_view text);

}  // namespace mpimerge::job
