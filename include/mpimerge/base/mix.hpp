#pragma once

#include <cstdint>

namespace mpimerge::base {

/// Local. Mixes a number well enough to choose places by, the same in every run.
/// Source: SplitMix64, Steele et al. 2014.
[[nodiscard]] constexpr std::uint64_t mixed(std::uint64_t number) noexcept {
  number += 0x9e3779b97f4a7c15u;
  number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9u;
  number = (number ^ (number >> 27)) * 0x94d049bb133111ebu;
  return number ^ (number >> 31);
}

}  // namespace mpimerge::base
