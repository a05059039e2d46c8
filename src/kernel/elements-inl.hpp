// Elements of checkpoints as vectors of float32. Included once per generation of vector units, by
// sources that Highway compiles for each: hence no `#pragma once`.
#if defined(MPIMERGE_KERNEL_ELEMENTS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MPIMERGE_KERNEL_ELEMENTS_INL
#undef MPIMERGE_KERNEL_ELEMENTS_INL
#else
#define MPIMERGE_KERNEL_ELEMENTS_INL
#endif

#include <cstddef>
#include <cstdint>

#include <hwy/cache_control.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace mpimerge::kernel {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::ScalableTag<float>;
using Words = hn::ScalableTag<std::uint32_t>;
using Integers = hn::ScalableTag<std::int32_t>;
using Halves = hn::Rebind<std::uint16_t, Words>;

constexpr Floats kFloats;
constexpr Words kWords;
constexpr Integers kIntegers;
constexpr Halves kHalves;

using FloatVector = hn::Vec<Floats>;
using WordVector = hn::Vec<Words>;
using IntegerVector = hn::Vec<Integers>;
using FloatMask = hn::Mask<Floats>;

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

// How far ahead of its loads a kernel asks for memory: a model's values come as a stream of their
// own, which processors follow no further than to the end of a page.
constexpr std::size_t kPrefetchBytes = 2048;

template <std::size_t kElementBytes>
struct Prefetching {
  static HWY_INLINE void prefetch(const std::byte* from, std::size_t element) {
    hwy::Prefetch(from + element * kElementBytes + kPrefetchBytes);
  }
};

// Loads of a vector's worth of elements, from any byte on.

struct LoadBf16 : Prefetching<2> {
  static HWY_INLINE FloatVector at(const std::byte* from, std::size_t element) {
    const auto* const bits = reinterpret_cast<const std::uint16_t*>(from) + element;
    return bf16_to_f32(hn::PromoteTo(kWords, hn::LoadU(kHalves, bits)));
  }
};

struct LoadF16 : Prefetching<2> {
  static HWY_INLINE FloatVector at(const std::byte* from, std::size_t element) {
    const auto* const bits = reinterpret_cast<const std::uint16_t*>(from) + element;
    return f16_to_f32(hn::PromoteTo(kWords, hn::LoadU(kHalves, bits)));
  }
};

struct LoadF32 : Prefetching<4> {
  static HWY_INLINE FloatVector at(const std::byte* from, std::size_t element) {
    return hn::LoadU(kFloats, reinterpret_cast<const float*>(from) + element);
  }
};

// `counts` + 1 where the mask is set. A processor with mask registers adds under the mask; others
// have the mask as −1 at hand.
HWY_INLINE WordVector count_where(FloatMask mask, WordVector counts) {
#if HWY_MAX_BYTES >= 64
  const WordVector one = hn::Set(kWords, 1u);
  return hn::IfThenElse(hn::RebindMask(kWords, mask), hn::Add(counts, one), counts);
#else
  return hn::Sub(counts, hn::VecFromMask(kWords, hn::RebindMask(kWords, mask)));
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace mpimerge::kernel
HWY_AFTER_NAMESPACE();

#endif  // include guard
