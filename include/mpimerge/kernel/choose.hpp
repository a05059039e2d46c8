#pragma once

#include <bit>
#include <cstdint>

namespace mpimerge::kernel {

// Choices without a branch: compilers make no vectors of loops with branches.

/// Local. `yes` where the condition holds, else `no`.
[[nodiscard]] constexpr float choose(bool condition, float yes, float no) noexcept {
  const std::uint32_t mask = 0u - static_cast<std::uint32_t>(condition);
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(yes) & mask) |
                              (std::bit_cast<std::uint32_t>(no) & ~mask));
}

/// Local. The value where the condition holds, else +0.
[[nodiscard]] constexpr float only_if(bool condition, float value) noexcept {
  const std::uint32_t mask = 0u - static_cast<std::uint32_t>(condition);
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & mask);
}

}  // namespace mpimerge::kernel
