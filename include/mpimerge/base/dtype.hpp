#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "mpimerge/base/index.hpp"

namespace mpimerge::base {

/// The element types of safetensors that mpimerge knows.
enum class Dtype : std::uint8_t {
  f64,
  f32,
  f16,
  bf16,
  f8_e4m3,
  f8_e5m2,
  i64,
  i32,
  i16,
  i8,
  u64,
  u32,
  u16,
  u8,
  boolean,
};

inline constexpr Dtype kAllDtypes[] = {Dtype::f64,     Dtype::f32,     Dtype::f16,    Dtype::bf16,
                                       Dtype::f8_e4m3, Dtype::f8_e5m2, Dtype::i64,    Dtype::i32,
                                       Dtype::i16,     Dtype::i8,      Dtype::u64,    Dtype::u32,
                                       Dtype::u16,     Dtype::u8,      Dtype::boolean};

/// Local. The name in a safetensors header: "BF16", "F8_E4M3", "BOOL".
std::string_view name(Dtype dtype) noexcept;

/// Local. The type with that safetensors name, or nothing.
std::optional<Dtype> parse_dtype(std::string_view name) noexcept;

/// Local. Size of one element.
Bytes element_bytes(Dtype dtype) noexcept;

/// Local. Whether tensors of this type take part in a merge (F64, F32, F16, BF16); all others are
/// copied from the base.
bool is_merged(Dtype dtype) noexcept;

/// Local. Whether elements of this type are floating-point numbers: those that are merged, and the
/// 8-bit ones.
bool is_floating(Dtype dtype) noexcept;

}  // namespace mpimerge::base
