#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace mpimerge::job {

/// Local. The one of `known` that a writer of `word` most likely meant: at most a third of its
/// letters (and at most three) wrong, missing, superfluous or swapped; nothing if none is that
/// near.
std::optional<std::string_view> nearest(std::string_view word,
                                        std::span<const std::string_view> known);

/// Local. "; did you mean `nearest`?", or nothing to say.
std::string did_you_mean(std::string_view word, std::span<const std::string_view> known);

}  // namespace mpimerge::job
