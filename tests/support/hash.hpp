#pragma once

#include <cstdint>

namespace mpimerge::test {

/// Local. A random number that depends on `seed` and `index` alone: any rank can make any element.
/// Source: Steele, Lea, Flood 2014, SplitMix64.
constexpr std::uint64_t hash(std::uint64_t seed, std::uint64_t index) noexcept {
  std::uint64_t mixed = (seed + 1) * 0xd1342543de82ef95U + (index + 1) * 0x9e3779b97f4a7c15U;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9U;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebU;
  return mixed ^ (mixed >> 31);
}

/// Local. Uniform in [0, 1).
constexpr double uniform(std::uint64_t seed, std::uint64_t index) noexcept {
  return static_cast<double>(hash(seed, index) >> 11) * 0x1p-53;
}

}  // namespace mpimerge::test
