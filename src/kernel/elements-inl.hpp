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

HWY_INLINE WordVector load_words(const std::byte* from) {
  return hn::LoadU(kWords, reinterpret_cast<const std::uint32_t*>(from));
}

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

// Loads of elements from any byte on. `at` gives a vector of them. `two_at` gives the next two
// vectors, in an order that is the same for all models and costs no shuffling; `store_two` puts two
// such vectors back in the order of the elements.

struct LoadBf16 {
  static constexpr std::size_t kElementBytes = 2;
  static HWY_INLINE FloatVector at(const std::byte* from, std::size_t element) {
    const auto* const bits = reinterpret_cast<const std::uint16_t*>(from) + element;
    return bf16_to_f32(hn::PromoteTo(kWords, hn::LoadU(kHalves, bits)));
  }
  // The even elements, then the odd ones: the lower and the upper halves of words.
  static HWY_INLINE void two_at(const std::byte* from, std::size_t element, FloatVector& even,
                                FloatVector& odd) {
    const WordVector words = load_words(from + kElementBytes * element);
    even = bf16_to_f32(words);
    odd = hn::BitCast(kFloats, hn::And(words, hn::Set(kWords, 0xffff0000u)));
  }
  static HWY_INLINE void store_two(FloatVector even, FloatVector odd, float* to) {
    hn::StoreInterleaved2(even, odd, kFloats, to);
  }
};

struct LoadF16 {
  static constexpr std::size_t kElementBytes = 2;
  static HWY_INLINE FloatVector at(const std::byte* from, std::size_t element) {
    const auto* const bits = reinterpret_cast<const std::uint16_t*>(from) + element;
    return f16_to_f32(hn::PromoteTo(kWords, hn::LoadU(kHalves, bits)));
  }
  static HWY_INLINE void two_at(const std::byte* from, std::size_t element, FloatVector& even,
                                FloatVector& odd) {
    const WordVector words = load_words(from + kElementBytes * element);
    even = f16_to_f32(hn::And(words, hn::Set(kWords, 0xffffu)));
    odd = f16_to_f32(hn::ShiftRight<16>(words));
  }
  static HWY_INLINE void store_two(FloatVector even, FloatVector odd, float* to) {
    hn::StoreInterleaved2(even, odd, kFloats, to);
  }
};

struct LoadF32 {
  static constexpr std::size_t kElementBytes = 4;
  static HWY_INLINE FloatVector at(const std::byte* from, std::size_t element) {
    return hn::LoadU(kFloats, reinterpret_cast<const float*>(from) + element);
  }
  static HWY_INLINE void two_at(const std::byte* from, std::size_t element, FloatVector& first,
                                FloatVector& second) {
    first = at(from, element);
    second = at(from, element + hn::Lanes(kFloats));
  }
  static HWY_INLINE void store_two(FloatVector first, FloatVector second, float* to) {
    hn::StoreU(first, kFloats, to);
    hn::StoreU(second, kFloats, to + hn::Lanes(kFloats));
  }
};

// Asks for the memory of two vectors of elements, some way ahead of their load: a model's values
// come as a stream of their own, which processors follow no further than to the end of a page.
template <class Load>
HWY_INLINE void prefetch_two(const std::byte* from, std::size_t element, std::size_t bytes_ahead) {
  const std::byte* const ahead = from + Load::kElementBytes * element + bytes_ahead;
  hwy::Prefetch(ahead);
  if constexpr (Load::kElementBytes == 4) hwy::Prefetch(ahead + hn::Lanes(kFloats) * 4);
}

// `counts` + 1 where the mask is set. A processor with mask registers adds under the mask; others
// have the mask as −1 at hand.
template <class Mask>
HWY_INLINE WordVector count_where(Mask mask, WordVector counts) {
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
