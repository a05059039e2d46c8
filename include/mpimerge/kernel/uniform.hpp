#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace mpimerge::kernel {

/// Local. Ten rounds of Philox4x32: a bijection of the counter for every key, whose results look
/// random.
/// Source: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011.
[[nodiscard]] constexpr std::array<std::uint32_t, 4> philox(
    std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) noexcept {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t first = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t second = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(second >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(second),
               static_cast<std::uint32_t>(first >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(first)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

/// The random numbers of the elements of one tensor of one model: each depends on seed, model, name
/// and place alone, so that they are the same wherever and in whatever order they are asked for.
///
/// Key: the first two words of philox({model, 0, 0}, seed). Counter: element / 4, hash of the name
/// (XXH3, 64 bits). Element e takes word e % 4.
class Uniform {
 public:
  Uniform(std::uint64_t seed, std::uint64_t model, std::string_view tensor) noexcept;

  /// Local. Numbers in [0, 1), multiples of 2^-24, of the elements from `first` on.
  void fill(std::uint64_t first, std::span<float> numbers) const noexcept;

  /// Local. The number of one element.
  [[nodiscard]] float at(std::uint64_t element) const noexcept;

 private:
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 2> tensor_;
};

}  // namespace mpimerge::kernel
