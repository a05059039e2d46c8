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

/// An 8-bit float format of safetensors.
struct Float8 {
  unsigned mantissa_bits;
  unsigned bias;
  std::uint8_t first_special;  ///< the smallest magnitude that is infinite or NaN
  std::uint32_t limit;  ///< bits of the float32 from which on rounding is not needed to overflow
};
/// Infinity and NaN as in IEEE formats.
inline constexpr Float8 kE5M2{2, 15, 0x7c, 0x47800000u};
/// No infinity: all exponents hold numbers, up to 448, and only all ones is NaN.
inline constexpr Float8 kE4M3{3, 7, 0x7f, 0x43f00000u};

/// Local. The float32 value of an 8-bit float's bits: exact.
[[nodiscard]] constexpr float f8_to_f32(Float8 format, std::uint8_t bits) noexcept {
  // As f16_to_f32 does it.
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x80u) << 24;
  const std::uint32_t magnitude = static_cast<std::uint32_t>(bits & 0x7fu)
                                  << (23 - format.mantissa_bits);
  const float scale = std::bit_cast<float>((254 - format.bias) << 23);
  const std::uint32_t finite =
      std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) * scale);
  const bool special = (bits & 0x7fu) >= format.first_special;
  return std::bit_cast<float>(sign | (special ? magnitude | 0x7f800000u : finite));
}

/// Local. `value` rounded to an 8-bit float, nearest, ties to even; subnormals right, NaN stays NaN.
/// What overflows becomes infinity, and NaN where the format has none, as torch converts.
[[nodiscard]] constexpr std::uint8_t f32_to_f8(Float8 format, float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 24) & 0x80u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  const unsigned shift = 23 - format.mantissa_bits;
  // As f32_to_f16 does it: integers where the result is normal, a float addition where it is not.
  const std::uint32_t odd = (magnitude >> shift) & 1u;
  const std::uint32_t rebias = (127 - format.bias) << 23;
  const std::uint32_t normal = (magnitude - rebias + (1u << (shift - 1)) - 1 + odd) >> shift;
  const std::uint32_t aligner = (127 + 24 - format.bias - format.mantissa_bits) << 23;
  const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) +
                                                               std::bit_cast<float>(aligner)) -
                                  aligner;
  const std::uint32_t smallest_normal = (128 - format.bias) << 23;
  const std::uint32_t special = magnitude > 0x7f800000u ? 0x7fu : format.first_special;
  const std::uint32_t result = magnitude >= format.limit     ? special
                               : magnitude < smallest_normal ? subnormal
                                                             : normal;
  return static_cast<std::uint8_t>(sign | result);
}

/// Local. Widens `to.size()` elements of a floating `dtype` (8-bit ones too; little-endian, any alignment) to
/// float32. Exact but for F64, which is rounded to nearest even.
void to_f32(base::Dtype dtype, std::span<const std::byte> from, std::span<float> to) noexcept;

/// Local. Rounds `from` to elements of a floating `dtype` (little-endian, any alignment), nearest,
/// ties to even.
void from_f32(base::Dtype dtype, std::span<const float> from, std::span<std::byte> to) noexcept;

}  // namespace mpimerge::kernel
