#include "mpimerge/kernel/convert.hpp"

#include <bit>
#include <cstring>

// Highway compiles this file once for every generation of vector units.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/convert.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace mpimerge::kernel {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::ScalableTag<float>;
using Words = hn::ScalableTag<std::uint32_t>;
using Halves = hn::Rebind<std::uint16_t, Words>;

constexpr Floats kFloats;
constexpr Words kWords;
constexpr Halves kHalves;

using FloatVector = hn::Vec<Floats>;
using WordVector = hn::Vec<Words>;

// Vector forms of the functions of the same names in convert.hpp, which explain them.

HWY_INLINE FloatVector bf16_to_f32(WordVector bits) {
  return hn::BitCast(kFloats, hn::ShiftLeft<16>(bits));
}

HWY_INLINE FloatVector f16_to_f32(WordVector bits) {
  const WordVector magnitude = hn::ShiftLeft<13>(hn::And(bits, hn::Set(kWords, 0x7fffu)));
  const WordVector sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(kWords, 0x8000u)));
  const WordVector exponent = hn::Set(kWords, 0x7c00u);
  const FloatVector scaled = hn::Mul(hn::BitCast(kFloats, magnitude), hn::Set(kFloats, 0x1p112F));
  const WordVector special = hn::Or(magnitude, hn::Set(kWords, 0x7f800000u));
  const auto is_special = hn::Eq(hn::And(bits, exponent), exponent);
  return hn::BitCast(
      kFloats, hn::Or(sign, hn::IfThenElse(is_special, special, hn::BitCast(kWords, scaled))));
}

HWY_INLINE WordVector f32_to_bf16(FloatVector value) {
  const WordVector bits = hn::BitCast(kWords, value);
  const WordVector odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(kWords, 1u));
  const WordVector rounded =
      hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(kWords, 0x7fffu))));
  const WordVector quiet = hn::Or(hn::ShiftRight<16>(bits), hn::Set(kWords, 0x40u));
  return hn::IfThenElse(hn::RebindMask(kWords, hn::IsNaN(value)), quiet, rounded);
}

HWY_INLINE WordVector f32_to_f16(FloatVector value) {
  const WordVector bits = hn::BitCast(kWords, value);
  const WordVector sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(kWords, 0x8000u));
  const WordVector magnitude = hn::And(bits, hn::Set(kWords, 0x7fffffffu));
  const WordVector odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(kWords, 1u));
  const WordVector rebiased = hn::Sub(magnitude, hn::Set(kWords, 0x38000000u));
  const WordVector normal =
      hn::ShiftRight<13>(hn::Add(rebiased, hn::Add(odd, hn::Set(kWords, 0xfffu))));
  const FloatVector aligned = hn::Add(hn::BitCast(kFloats, magnitude), hn::Set(kFloats, 0.5F));
  const WordVector subnormal = hn::Sub(hn::BitCast(kWords, aligned), hn::Set(kWords, 0x3f000000u));
  const WordVector infinity = hn::Set(kWords, 0x7c00u);
  const auto is_nan = hn::RebindMask(kWords, hn::IsNaN(value));
  const auto is_small = hn::Gt(hn::Set(kWords, 0x38800000u), magnitude);
  const auto overflows = hn::Gt(magnitude, hn::Set(kWords, 0x477fefffu));
  const WordVector finite = hn::IfThenElse(is_small, subnormal, normal);
  const WordVector limited = hn::IfThenElse(overflows, infinity, finite);
  return hn::Or(sign, hn::IfThenElse(is_nan, hn::Set(kWords, 0x7e00u), limited));
}

// Elements may start at any byte of the file, so they are moved by unaligned loads, and by copies
// in the tail.
template <class Vector, class Scalar>
HWY_INLINE void widen_halves(const std::byte* HWY_RESTRICT from, float* HWY_RESTRICT to,
                             std::size_t elements, Vector vector, Scalar scalar) {
  std::size_t i = 0;
  for (; i + hn::Lanes(kFloats) <= elements; i += hn::Lanes(kFloats)) {
    const auto* const source = reinterpret_cast<const std::uint16_t*>(from + 2 * i);
    hn::StoreU(vector(hn::PromoteTo(kWords, hn::LoadU(kHalves, source))), kFloats, to + i);
  }
  for (; i < elements; ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, from + 2 * i, sizeof(bits));
    to[i] = scalar(bits);
  }
}

template <class Vector, class Scalar>
HWY_INLINE void round_to_halves(const float* HWY_RESTRICT from, std::byte* HWY_RESTRICT to,
                                std::size_t elements, Vector vector, Scalar scalar) {
  const hn::RebindToSigned<Words> integers;
  std::size_t i = 0;
  for (; i + hn::Lanes(kFloats) <= elements; i += hn::Lanes(kFloats)) {
    // At most 16 bits are set, so the saturating narrowing of signed numbers leaves them as they
    // are.
    const auto halves =
        hn::DemoteTo(kHalves, hn::BitCast(integers, vector(hn::LoadU(kFloats, from + i))));
    hn::StoreU(halves, kHalves, reinterpret_cast<std::uint16_t*>(to + 2 * i));
  }
  for (; i < elements; ++i) {
    const std::uint16_t bits = scalar(from[i]);
    std::memcpy(to + 2 * i, &bits, sizeof(bits));
  }
}

void widen_bf16(const std::byte* from, float* to, std::size_t elements) {
  widen_halves(
      from, to, elements, [](WordVector bits) HWY_ATTR { return bf16_to_f32(bits); },
      [](std::uint16_t bits) { return kernel::bf16_to_f32(bits); });
}

void widen_f16(const std::byte* from, float* to, std::size_t elements) {
  widen_halves(
      from, to, elements, [](WordVector bits) HWY_ATTR { return f16_to_f32(bits); },
      [](std::uint16_t bits) { return kernel::f16_to_f32(bits); });
}

void round_to_bf16(const float* from, std::byte* to, std::size_t elements) {
  round_to_halves(
      from, to, elements, [](FloatVector value) HWY_ATTR { return f32_to_bf16(value); },
      [](float value) { return kernel::f32_to_bf16(value); });
}

void round_to_f16(const float* from, std::byte* to, std::size_t elements) {
  round_to_halves(
      from, to, elements, [](FloatVector value) HWY_ATTR { return f32_to_f16(value); },
      [](float value) { return kernel::f32_to_f16(value); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mpimerge::kernel
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mpimerge::kernel {
namespace {

static_assert(std::endian::native == std::endian::little,
              "checkpoints are little-endian and read as they are");

HWY_EXPORT(widen_bf16);
HWY_EXPORT(widen_f16);
HWY_EXPORT(round_to_bf16);
HWY_EXPORT(round_to_f16);

}  // namespace

void to_f32(base::Dtype dtype, std::span<const std::byte> from, std::span<float> to) noexcept {
  switch (dtype) {
    case base::Dtype::bf16:
      return HWY_DYNAMIC_DISPATCH(widen_bf16)(from.data(), to.data(), to.size());
    case base::Dtype::f16:
      return HWY_DYNAMIC_DISPATCH(widen_f16)(from.data(), to.data(), to.size());
    case base::Dtype::f64:
      for (std::size_t i = 0; i < to.size(); ++i) {
        double value = 0;
        std::memcpy(&value, from.data() + i * sizeof(value), sizeof(value));
        to[i] = static_cast<float>(value);
      }
      return;
    default:  // F32; nothing else is merged
      if (!to.empty()) std::memcpy(to.data(), from.data(), to.size_bytes());
  }
}

void from_f32(base::Dtype dtype, std::span<const float> from, std::span<std::byte> to) noexcept {
  switch (dtype) {
    case base::Dtype::bf16:
      return HWY_DYNAMIC_DISPATCH(round_to_bf16)(from.data(), to.data(), from.size());
    case base::Dtype::f16:
      return HWY_DYNAMIC_DISPATCH(round_to_f16)(from.data(), to.data(), from.size());
    case base::Dtype::f64:
      for (std::size_t i = 0; i < from.size(); ++i) {
        const auto value = static_cast<double>(from[i]);
        std::memcpy(to.data() + i * sizeof(value), &value, sizeof(value));
      }
      return;
    default:
      if (!from.empty()) std::memcpy(to.data(), from.data(), from.size_bytes());
  }
}

}  // namespace mpimerge::kernel
#endif  // HWY_ONCE
