#pragma once

#include <cstdint>
#include <functional>
#include <span>

namespace mpimerge::base {

/// Where 64-bit numbers go, one stretch after another: too many to be held twice.
using PutWords = std::function<void(std::span<const std::uint64_t>)>;

/// Where they come from, one by one.
/// Errors: whatever the source throws past its end.
using TakeWord = std::function<std::uint64_t()>;

}  // namespace mpimerge::base
