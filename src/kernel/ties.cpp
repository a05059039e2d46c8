#include "mpimerge/kernel/ties.hpp"

#include <algorithm>

// Highway compiles this file once for every generation of vector units.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/ties.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace mpimerge::kernel {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::ScalableTag<float>;
using Words = hn::ScalableTag<std::uint32_t>;
using Signed = hn::ScalableTag<std::int32_t>;
using FloatVector = hn::Vec<Floats>;
using WordVector = hn::Vec<Words>;

constexpr Floats kFloats;
constexpr Words kWords;
constexpr Signed kSigned;

// The arrays of a tile are padded to whole vectors, so every loop runs over whole vectors; what
// lies past the last element is computed like the rest and never looked at, but for the counts. A
// caller's arrays end where they end: their last, shorter part goes through a vector's worth of
// memory.

HWY_INLINE hn::Mask<Floats> first_lanes(std::size_t begin, std::size_t elements) {
  return hn::FirstN(kFloats, std::min(elements - begin, hn::Lanes(kFloats)));
}

HWY_INLINE FloatVector load(const float* from, std::size_t begin, std::size_t elements) {
  if (begin + hn::Lanes(kFloats) <= elements) return hn::LoadU(kFloats, from + begin);
  HWY_ALIGN float rest[HWY_LANES(float)] = {};
  std::copy(from + begin, from + elements, rest);
  return hn::Load(kFloats, rest);
}

HWY_INLINE void store(FloatVector vector, float* to, std::size_t begin, std::size_t elements) {
  if (begin + hn::Lanes(kFloats) <= elements) return hn::StoreU(vector, kFloats, to + begin);
  HWY_ALIGN float rest[HWY_LANES(float)];
  hn::Store(vector, kFloats, rest);
  std::copy(rest, rest + (elements - begin), to + begin);
}

// Which |value| are at or above a threshold, given the integer below it: floats without their sign
// sort as integers do.
HWY_INLINE hn::Mask<Floats> above(FloatVector value, hn::Vec<Signed> below_threshold) {
  return hn::RebindMask(kFloats, hn::Gt(hn::BitCast(kSigned, hn::Abs(value)), below_threshold));
}

HWY_INLINE WordVector bit_where(hn::Mask<Floats> mask, std::uint32_t bit) {
  return hn::IfThenElseZero(hn::RebindMask(kWords, mask), hn::Set(kWords, bit));
}

HWY_INLINE WordVector seen_bits(FloatVector value, FloatVector trimmed, FloatVector weighted) {
  const FloatVector zero = hn::Zero(kFloats);
  const WordVector before = hn::Or(bit_where(hn::Gt(value, zero), kPositiveBefore),
                                   bit_where(hn::Lt(value, zero), kNegativeBefore));
  const WordVector after = hn::Or(bit_where(hn::Gt(trimmed, zero), kPositiveAfter),
                                  bit_where(hn::Lt(trimmed, zero), kNegativeAfter));
  return hn::Or(hn::Or(before, after), bit_where(hn::Not(hn::Eq(weighted, zero)), kTouched));
}

template <bool kExtremes>
std::uint64_t add(TiesTile& tile, const float* HWY_RESTRICT tau, std::size_t elements,
                  std::uint32_t threshold, float weight) {
  const FloatVector zero = hn::Zero(kFloats);
  const FloatVector weights = hn::Set(kFloats, weight);
  const auto below_threshold = hn::Set(kSigned, static_cast<std::int32_t>(threshold) - 1);
  std::uint64_t kept_count = 0;
  for (std::size_t i = 0; i < elements; i += hn::Lanes(kFloats)) {
    const FloatVector value = load(tau, i, elements);
    const auto kept = hn::And(above(value, below_threshold), first_lanes(i, elements));
    const FloatVector trimmed = hn::IfThenElseZero(kept, value);
    const FloatVector weighted = hn::IfThenElseZero(kept, hn::Mul(weights, value));
    kept_count += hn::CountTrue(kFloats, kept);

    float* const sum = tile.sum.data() + i;
    float* const positive = tile.positive.data() + i;
    float* const negative = tile.negative.data() + i;
    std::uint32_t* const seen = tile.seen.data() + i;
    const auto is_positive = hn::Gt(weighted, zero);
    const auto is_negative = hn::Lt(weighted, zero);
    hn::StoreU(hn::Add(hn::LoadU(kFloats, sum), weighted), kFloats, sum);
    const FloatVector old_positive = hn::LoadU(kFloats, positive);
    const FloatVector old_negative = hn::LoadU(kFloats, negative);
    if constexpr (kExtremes) {
      const FloatVector larger =
          hn::IfThenElse(hn::Gt(weighted, old_positive), weighted, old_positive);
      const FloatVector smaller =
          hn::IfThenElse(hn::Lt(weighted, old_negative), weighted, old_negative);
      hn::StoreU(larger, kFloats, positive);
      hn::StoreU(smaller, kFloats, negative);
    } else {
      hn::StoreU(hn::Add(old_positive, hn::IfThenElseZero(is_positive, weighted)), kFloats,
                 positive);
      hn::StoreU(hn::Add(old_negative, hn::IfThenElseZero(is_negative, weighted)), kFloats,
                 negative);
      float* const positive_weight = tile.positive_weight.data() + i;
      float* const negative_weight = tile.negative_weight.data() + i;
      const FloatVector old_positive_weight = hn::LoadU(kFloats, positive_weight);
      const FloatVector old_negative_weight = hn::LoadU(kFloats, negative_weight);
      hn::StoreU(hn::Add(old_positive_weight, hn::IfThenElseZero(is_positive, weights)), kFloats,
                 positive_weight);
      hn::StoreU(hn::Add(old_negative_weight, hn::IfThenElseZero(is_negative, weights)), kFloats,
                 negative_weight);
    }
    hn::StoreU(hn::Or(hn::LoadU(kWords, seen), seen_bits(value, trimmed, weighted)), kWords, seen);
  }
  return kept_count;
}

std::uint64_t add_to_sums(TiesTile& tile, std::span<const float> tau, std::uint32_t threshold,
                          float weight) {
  return add<false>(tile, tau.data(), tau.size(), threshold, weight);
}

std::uint64_t add_to_extremes(TiesTile& tile, std::span<const float> tau, std::uint32_t threshold,
                              float weight) {
  return add<true>(tile, tau.data(), tau.size(), threshold, weight);
}

TiesCounts count_tile(const TiesTile& tile, std::size_t elements) {
  const FloatVector zero = hn::Zero(kFloats);
  const auto has_all = [&](WordVector seen, std::uint32_t bits) {
    const WordVector wanted = hn::Set(kWords, bits);
    return hn::RebindMask(kFloats, hn::Eq(hn::And(seen, wanted), wanted));
  };
  TiesCounts counts;
  for (std::size_t i = 0; i < elements; i += hn::Lanes(kFloats)) {
    const auto lanes = first_lanes(i, elements);
    const auto number_of = [&](hn::Mask<Floats> mask) {
      return hn::CountTrue(kFloats, hn::And(mask, lanes));
    };
    const FloatVector sum = hn::LoadU(kFloats, tile.sum.data() + i);
    const WordVector seen = hn::LoadU(kWords, tile.seen.data() + i);
    const auto touched = has_all(seen, kTouched);
    counts.positive += number_of(hn::Gt(sum, zero));
    counts.negative += number_of(hn::Lt(sum, zero));
    counts.cancelled += number_of(hn::And(hn::Eq(sum, zero), touched));
    counts.untouched += number_of(hn::Not(touched));
    counts.conflicts_before_trim += number_of(has_all(seen, kPositiveBefore | kNegativeBefore));
    counts.conflicts_after_trim += number_of(has_all(seen, kPositiveAfter | kNegativeAfter));
  }
  return counts;
}

void finish_tile(const TiesTile& tile, Disjoint disjoint, int cancelled_sign, float lambda,
                 std::span<float> merged) {
  const FloatVector zero = hn::Zero(kFloats);
  const FloatVector one = hn::Set(kFloats, 1.0F);
  // Stands in for a sum of exactly zero, where only its sign is asked for.
  const FloatVector zero_sum = hn::Set(kFloats, static_cast<float>(cancelled_sign));
  const FloatVector scale = hn::Set(kFloats, lambda);
  for (std::size_t i = 0; i < merged.size(); i += hn::Lanes(kFloats)) {
    const FloatVector sum = hn::LoadU(kFloats, tile.sum.data() + i);
    const FloatVector elected = hn::IfThenElse(hn::Eq(sum, zero), zero_sum, sum);
    const auto is_positive = hn::Gt(elected, zero);
    FloatVector value = hn::IfThenElse(is_positive, hn::LoadU(kFloats, tile.positive.data() + i),
                                       hn::LoadU(kFloats, tile.negative.data() + i));
    if (disjoint == Disjoint::mean) {
      const FloatVector weight =
          hn::IfThenElse(is_positive, hn::LoadU(kFloats, tile.positive_weight.data() + i),
                         hn::LoadU(kFloats, tile.negative_weight.data() + i));
      value = hn::Div(value, hn::IfThenElse(hn::Eq(weight, zero), one, weight));
    }
    if (disjoint == Disjoint::max) {
      // As published: the largest magnitude times the sign, so that an elected zero gives zero.
      const FloatVector negative_or_zero = hn::IfThenElseZero(hn::Lt(elected, zero), hn::Neg(one));
      value = hn::Mul(hn::Abs(value), hn::IfThenElse(is_positive, one, negative_or_zero));
    }
    value = hn::IfThenElse(hn::IsNaN(elected), elected, value);
    // Two roundings, no fused multiply-add: the published arithmetic.
    const FloatVector base = load(merged.data(), i, merged.size());
    store(hn::Add(base, hn::Mul(scale, value)), merged.data(), i, merged.size());
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mpimerge::kernel
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mpimerge::kernel {
namespace {

HWY_EXPORT(add_to_sums);
HWY_EXPORT(add_to_extremes);
HWY_EXPORT(count_tile);
HWY_EXPORT(finish_tile);

// Room for a whole vector of the widest processor behind the last element.
constexpr std::size_t kWidestVector = 2048 / sizeof(float) / 8;

std::size_t padded(std::size_t elements) { return elements + kWidestVector; }

}  // namespace

TiesTile::TiesTile(std::size_t elements)
    : sum(padded(elements)),
      positive(padded(elements)),
      negative(padded(elements)),
      positive_weight(padded(elements)),
      negative_weight(padded(elements)),
      seen(padded(elements)) {}

void TiesTile::clear() noexcept {
  for (std::vector<float>* part :
       {&sum, &positive, &negative, &positive_weight, &negative_weight}) {
    std::fill(part->begin(), part->end(), 0.0F);
  }
  std::fill(seen.begin(), seen.end(), 0u);
}

std::uint64_t add_task(TiesTile& tile, std::span<const float> tau, std::uint32_t threshold,
                       float weight, Disjoint disjoint) noexcept {
  // A threshold that is a NaN, of many, must not trim the others: each has to reach its sum.
  constexpr std::uint32_t kSmallestNaN = 0x7f800001u;
  const std::uint32_t cut = std::min(threshold, kSmallestNaN);
  return disjoint == Disjoint::max ? HWY_DYNAMIC_DISPATCH(add_to_extremes)(tile, tau, cut, weight)
                                   : HWY_DYNAMIC_DISPATCH(add_to_sums)(tile, tau, cut, weight);
}

TiesCounts count(const TiesTile& tile, std::size_t elements) noexcept {
  return HWY_DYNAMIC_DISPATCH(count_tile)(tile, elements);
}

void finish(const TiesTile& tile, Disjoint disjoint, int cancelled_sign, float lambda,
            std::span<float> merged) noexcept {
  HWY_DYNAMIC_DISPATCH(finish_tile)(tile, disjoint, cancelled_sign, lambda, merged);
}

}  // namespace mpimerge::kernel
#endif  // HWY_ONCE
