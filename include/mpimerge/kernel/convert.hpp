#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "mpimerge/base/dtype.hpp"

namespace mpimerge::kernel {

/// Local. The float32 value of a bfloat16's bits: exact.
[[nodiscard]] constexpr float bf16_to_f32(std::uint16_t bits) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// Local. The float32 value of an IEEE half's bits: exact, subnormals and NaN payloads included.
[[nodiscard]] constexpr float f16_to_f32(std::uint16_t bits) noexcept {
  // Exponent and mantissa moved into place have the bias of a half; a multiplication by 2^112 mends
  // it and normalises subnormals in the same step. Branch-free, so that the loop over it
  // vectorises.
  const std::uint32_t magnitude = static_cast<std::uint32_t>(bits & 0x7fffu) << 13;
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const float scaled = std::bit_cast<float>(magnitude) * 0x1p112F;
  const std::uint32_t finite = std::bit_cast<std::uint32_t>(scaled);
  const std::uint32_t special = magnitude | 0x7f800000u;
  return std::bit_cast<float>(sign | ((bits & 0x7c00u) == 0x7c00u ? special : finite));
}

/// Local. `value` rounded to bfloat16, nearest, ties to even; overflow to infinity, NaN stays NaN.
[[nodiscard]] constexpr std::uint16_t f32_to_bf16(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const std::uint32_t quiet = (bits >> 16) | 0x40u;
  return static_cast<std::uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

/// Local. `value` rounded to an IEEE half, nearest, ties to even; overflow to infinity, subnormals
/// right, NaN stays NaN.
[[nodiscard]] constexpr std::uint16_t f32_to_f16(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  // Normal range: re-bias and round by integer addition; a carry runs into the exponent as it
  // should.
  const std::uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // Below 2^-14: adding 0.5 puts the last bit of a half's subnormals at the last bit of the sum's
  // mantissa, so the float addition rounds to nearest even.
  const std::uint32_t subnormal =
      std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3f000000u;
  const std::uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  const std::uint32_t result = magnitude >= 0x477ff000u  ? special
                               : magnitude < 0x38800000u ? subnormal
                                                         : normal;
  return static_cast<std::uint16_t>(sign | result);
}

/// Local. Widens `to.size()` elements of a floating `dtype` (little-endian, any alignment) to
/// float32. Exact but for F64, which is rounded to nearest even.
void to_f32(base::Dtype dtype, std::span<const std::byte> from, std::span<float> to) noexcept;

/// Local. Rounds `from` to elements of a floating `dtype` (little-endian, any alignment), nearest,
/// ties to even.
void from_f32(base::Dtype dtype, std::span<const float> from, std::span<std::byte> to) noexcept;

}  // namespace mpimerge::kernel
