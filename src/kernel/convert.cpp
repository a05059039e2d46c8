#include "mpimerge/kernel/convert.hpp"

#include <bit>
#include <cstring>

// Highway compiles this file once for every generation of vector units.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/convert.cpp"
#include <hwy/foreach_target.h>

#include "kernel/elements-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace mpimerge::kernel {
namespace HWY_NAMESPACE {
namespace {

// How far ahead of its loads or stores memory is asked for; the float32 side is a tile in the cache.
constexpr std::size_t kBytesAhead = 4096;

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

template <class Load, class Scalar>
HWY_INLINE void widen_halves(const std::byte* HWY_RESTRICT from, float* HWY_RESTRICT to,
                             std::size_t elements, Scalar scalar) {
  std::size_t i = 0;
  for (; i + 2 * hn::Lanes(kFloats) <= elements; i += 2 * hn::Lanes(kFloats)) {
    prefetch_two<Load>(from, i, kBytesAhead);
    hn::StoreU(Load::at(from, i), kFloats, to + i);
    hn::StoreU(Load::at(from, i + hn::Lanes(kFloats)), kFloats, to + i + hn::Lanes(kFloats));
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
  const auto store = [&](std::size_t at) HWY_ATTR {
    const auto halves = hn::TruncateTo(kHalves, vector(hn::LoadU(kFloats, from + at)));
    hn::StoreU(halves, kHalves, reinterpret_cast<std::uint16_t*>(to + 2 * at));
  };
  const std::size_t lanes = hn::Lanes(kFloats);
  std::size_t i = 0;
  for (; i + 2 * lanes <= elements; i += 2 * lanes) {
    hwy::Prefetch(to + 2 * i + kBytesAhead);
    store(i);
    store(i + lanes);
  }
  if (i + lanes <= elements) {
    store(i);
    i += lanes;
  }
  for (; i < elements; ++i) {
    const std::uint16_t bits = scalar(from[i]);
    std::memcpy(to + 2 * i, &bits, sizeof(bits));
  }
}

// The 8-bit formats: vector forms of f8_to_f32 and f32_to_f8.

using Bytes = hn::Rebind<std::uint8_t, Words>;
constexpr Bytes kBytes;

template <unsigned kMantissaBits>
constexpr Float8 format_of() {
  return kMantissaBits == kE5M2.mantissa_bits ? kE5M2 : kE4M3;
}

template <unsigned kMantissaBits>
HWY_INLINE FloatVector f8_to_f32(WordVector bits) {
  constexpr Float8 kFormat = format_of<kMantissaBits>();
  const WordVector sign = hn::ShiftLeft<24>(hn::And(bits, hn::Set(kWords, 0x80u)));
  const WordVector rest = hn::And(bits, hn::Set(kWords, 0x7fu));
  const WordVector magnitude = hn::ShiftLeft<23 - kMantissaBits>(rest);
  const FloatVector scale = hn::BitCast(kFloats, hn::Set(kWords, (254 - kFormat.bias) << 23));
  const WordVector finite = hn::BitCast(kWords, hn::Mul(hn::BitCast(kFloats, magnitude), scale));
  const WordVector special = hn::Or(magnitude, hn::Set(kWords, 0x7f800000u));
  const auto is_special = hn::Gt(rest, hn::Set(kWords, kFormat.first_special - 1u));
  return hn::BitCast(kFloats, hn::Or(sign, hn::IfThenElse(is_special, special, finite)));
}

template <unsigned kMantissaBits>
HWY_INLINE WordVector f32_to_f8(FloatVector value) {
  constexpr Float8 kFormat = format_of<kMantissaBits>();
  constexpr int kShift = 23 - static_cast<int>(kMantissaBits);
  constexpr std::uint32_t kRebiasAndHalf = (1u << (kShift - 1)) - 1 - ((127 - kFormat.bias) << 23);
  constexpr std::uint32_t kAligner = (127 + 24 - kFormat.bias - kMantissaBits) << 23;
  constexpr std::uint32_t kNaN = 0x7f;
  const WordVector bits = hn::BitCast(kWords, value);
  const WordVector sign = hn::And(hn::ShiftRight<24>(bits), hn::Set(kWords, 0x80u));
  const WordVector magnitude = hn::And(bits, hn::Set(kWords, 0x7fffffffu));
  // What overflows is limited first: the limit rounds to the first special value.
  const WordVector limited = hn::Min(magnitude, hn::Set(kWords, kFormat.limit));
  const WordVector odd = hn::And(hn::ShiftRight<kShift>(limited), hn::Set(kWords, 1u));
  const WordVector normal =
      hn::ShiftRight<kShift>(hn::Add(hn::Add(limited, odd), hn::Set(kWords, kRebiasAndHalf)));
  const WordVector aligner = hn::Set(kWords, kAligner);
  const FloatVector aligned = hn::Add(hn::BitCast(kFloats, limited), hn::BitCast(kFloats, aligner));
  const WordVector subnormal = hn::Sub(hn::BitCast(kWords, aligned), aligner);
  const auto is_small = hn::Gt(hn::Set(kWords, (128 - kFormat.bias) << 23), limited);
  WordVector rounded = hn::IfThenElse(is_small, subnormal, normal);
  if constexpr (kFormat.first_special != kNaN) {
    const auto is_nan = hn::RebindMask(kWords, hn::IsNaN(value));
    rounded = hn::IfThenElse(is_nan, hn::Set(kWords, kNaN), rounded);
  }
  return hn::Or(sign, rounded);
}

template <unsigned kMantissaBits>
HWY_INLINE void widen_bytes(const std::byte* HWY_RESTRICT from, float* HWY_RESTRICT to,
                            std::size_t elements) {
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(from);
  std::size_t i = 0;
  for (; i + hn::Lanes(kFloats) <= elements; i += hn::Lanes(kFloats)) {
    hwy::Prefetch(bytes + i + kBytesAhead);
    const WordVector bits = hn::PromoteTo(kWords, hn::LoadU(kBytes, bytes + i));
    hn::StoreU(f8_to_f32<kMantissaBits>(bits), kFloats, to + i);
  }
  for (; i < elements; ++i) to[i] = kernel::f8_to_f32(format_of<kMantissaBits>(), bytes[i]);
}

template <unsigned kMantissaBits>
HWY_INLINE void round_to_bytes(const float* HWY_RESTRICT from, std::byte* HWY_RESTRICT to,
                               std::size_t elements) {
  auto* const bytes = reinterpret_cast<std::uint8_t*>(to);
  std::size_t i = 0;
  for (; i + hn::Lanes(kFloats) <= elements; i += hn::Lanes(kFloats)) {
    hwy::Prefetch(bytes + i + kBytesAhead);
    const WordVector bits = f32_to_f8<kMantissaBits>(hn::LoadU(kFloats, from + i));
    hn::StoreU(hn::TruncateTo(kBytes, bits), kBytes, bytes + i);
  }
  for (; i < elements; ++i) bytes[i] = kernel::f32_to_f8(format_of<kMantissaBits>(), from[i]);
}

void widen_e5m2(const std::byte* from, float* to, std::size_t elements) {
  widen_bytes<kE5M2.mantissa_bits>(from, to, elements);
}

void widen_e4m3(const std::byte* from, float* to, std::size_t elements) {
  widen_bytes<kE4M3.mantissa_bits>(from, to, elements);
}

void round_to_e5m2(const float* from, std::byte* to, std::size_t elements) {
  round_to_bytes<kE5M2.mantissa_bits>(from, to, elements);
}

void round_to_e4m3(const float* from, std::byte* to, std::size_t elements) {
  round_to_bytes<kE4M3.mantissa_bits>(from, to, elements);
}

void widen_bf16(const std::byte* from, float* to, std::size_t elements) {
  widen_halves<LoadBf16>(from, to, elements,
                         [](std::uint16_t bits) { return kernel::bf16_to_f32(bits); });
}

void widen_f16(const std::byte* from, float* to, std::size_t elements) {
  widen_halves<LoadF16>(from, to, elements,
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
HWY_EXPORT(widen_e5m2);
HWY_EXPORT(widen_e4m3);
HWY_EXPORT(round_to_e5m2);
HWY_EXPORT(round_to_e4m3);

}  // namespace

void to_f32(base::Dtype dtype, std::span<const std::byte> from, std::span<float> to) noexcept {
  switch (dtype) {
    case base::Dtype::bf16:
      return HWY_DYNAMIC_DISPATCH(widen_bf16)(from.data(), to.data(), to.size());
    case base::Dtype::f16:
      return HWY_DYNAMIC_DISPATCH(widen_f16)(from.data(), to.data(), to.size());
    case base::Dtype::f8_e5m2:
      return HWY_DYNAMIC_DISPATCH(widen_e5m2)(from.data(), to.data(), to.size());
    case base::Dtype::f8_e4m3:
      return HWY_DYNAMIC_DISPATCH(widen_e4m3)(from.data(), to.data(), to.size());
    case base::Dtype::f64:
      for (std::size_t i = 0; i < to.size(); ++i) {
        double value = 0;
        std::memcpy(&value, from.data() + i * sizeof(value), sizeof(value));
        to[i] = static_cast<float>(value);
      }
      return;
    default:  // F32; nothing else has float values
      if (!to.empty()) std::memcpy(to.data(), from.data(), to.size_bytes());
  }
}

void from_f32(base::Dtype dtype, std::span<const float> from, std::span<std::byte> to) noexcept {
  switch (dtype) {
    case base::Dtype::bf16:
      return HWY_DYNAMIC_DISPATCH(round_to_bf16)(from.data(), to.data(), from.size());
    case base::Dtype::f16:
      return HWY_DYNAMIC_DISPATCH(round_to_f16)(from.data(), to.data(), from.size());
    case base::Dtype::f8_e5m2:
      return HWY_DYNAMIC_DISPATCH(round_to_e5m2)(from.data(), to.data(), from.size());
    case base::Dtype::f8_e4m3:
      return HWY_DYNAMIC_DISPATCH(round_to_e4m3)(from.data(), to.data(), from.size());
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
