#include "mpimerge/kernel/bracket.hpp"

#include <algorithm>
#include <cstring>

#include "mpimerge/kernel/convert.hpp"

// Highway compiles this file once for every generation of vector units.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/bracket.cpp"
#include <hwy/foreach_target.h>

#include "kernel/elements-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace mpimerge::kernel {
namespace HWY_NAMESPACE {
namespace {

// Vectors that share a branch: with several, one of them has an element inside nearly always or
// hardly ever, and the processor guesses right.
constexpr std::size_t kVectors = 4;

HWY_INLINE IntegerVector integers(std::uint32_t bits) {
  return hn::Set(kIntegers, static_cast<std::int32_t>(bits));
}

// Takes what is inside the bracket: atoms are counted, the rest goes to the list.
HWY_INLINE void take(IntegerVector magnitude, hn::Mask<Integers> inside, const Bracket& bracket,
                     std::uint32_t* HWY_RESTRICT list, BracketCount& count) {
  for (std::size_t atom = 0; atom < bracket.atom_count; ++atom) {
    const auto equal = hn::And(inside, hn::Eq(magnitude, integers(bracket.atoms[atom])));
    count.atoms[atom] += hn::CountTrue(kIntegers, equal);
    inside = hn::AndNot(equal, inside);
  }
  if (bracket.atom_count > 0 && hn::AllFalse(kIntegers, inside)) return;
  // A whole vector is stored: on some processors far cheaper than storing under a mask.
  const auto kept = hn::Compress(hn::BitCast(kWords, magnitude), hn::RebindMask(kWords, inside));
  hn::StoreU(kept, kWords, list + count.listed);
  count.listed += hn::CountTrue(kIntegers, inside);
}

// `elements` is a multiple of kVectors vectors.
template <class Load>
BracketCount count_vectors(const std::byte* HWY_RESTRICT task, const float* HWY_RESTRICT base,
                           std::size_t elements, const Bracket& bracket,
                           std::uint32_t* HWY_RESTRICT list) {
  BracketCount count;
  const IntegerVector sign_off = integers(0x7fffffffu);
  // Magnitudes are not negative as integers, and neither is what lies below the bracket's end.
  const IntegerVector below_low = integers(bracket.low - 1);
  const IntegerVector below_high = integers(bracket.high - 1);
  const std::size_t lanes = hn::Lanes(kFloats);
  WordVector above = hn::Zero(kWords);
  IntegerVector largest = hn::Zero(kIntegers);
  for (std::size_t i = 0; i < elements; i += kVectors * lanes) {
    Load::prefetch(task, i);
    Load::prefetch(task, i + 2 * lanes);
    const auto magnitude_of = [&](std::size_t vector) HWY_ATTR {
      const std::size_t at = i + vector * lanes;
      const FloatVector tau = hn::Sub(Load::at(task, at), hn::LoadU(kFloats, base + at));
      return hn::And(hn::BitCast(kIntegers, tau), sign_off);
    };
    const IntegerVector m0 = magnitude_of(0);
    const IntegerVector m1 = magnitude_of(1);
    const IntegerVector m2 = magnitude_of(2);
    const IntegerVector m3 = magnitude_of(3);
    largest = hn::Max(largest, hn::Max(hn::Max(m0, m1), hn::Max(m2, m3)));
    const auto above0 = hn::Gt(m0, below_high);
    const auto above1 = hn::Gt(m1, below_high);
    const auto above2 = hn::Gt(m2, below_high);
    const auto above3 = hn::Gt(m3, below_high);
    above = count_where(hn::RebindMask(kFloats, above0), above);
    above = count_where(hn::RebindMask(kFloats, above1), above);
    above = count_where(hn::RebindMask(kFloats, above2), above);
    above = count_where(hn::RebindMask(kFloats, above3), above);
    const auto inside0 = hn::AndNot(above0, hn::Gt(m0, below_low));
    const auto inside1 = hn::AndNot(above1, hn::Gt(m1, below_low));
    const auto inside2 = hn::AndNot(above2, hn::Gt(m2, below_low));
    const auto inside3 = hn::AndNot(above3, hn::Gt(m3, below_low));
    if (hn::AllFalse(kIntegers, hn::Or(hn::Or(inside0, inside1), hn::Or(inside2, inside3))))
      continue;
    take(m0, inside0, bracket, list, count);
    take(m1, inside1, bracket, list, count);
    take(m2, inside2, bracket, list, count);
    take(m3, inside3, bracket, list, count);
  }
  HWY_ALIGN std::uint32_t parts[HWY_LANES(std::uint32_t)];
  hn::Store(above, kWords, parts);
  for (std::size_t lane = 0; lane < lanes; ++lane) count.above += parts[lane];
  hn::Store(hn::BitCast(kWords, largest), kWords, parts);
  count.largest = *std::max_element(parts, parts + lanes);
  return count;
}

BracketCount count_bf16(const std::byte* task, const float* base, std::size_t elements,
                        const Bracket& bracket, std::uint32_t* list) {
  return count_vectors<LoadBf16>(task, base, elements, bracket, list);
}

BracketCount count_f16(const std::byte* task, const float* base, std::size_t elements,
                       const Bracket& bracket, std::uint32_t* list) {
  return count_vectors<LoadF16>(task, base, elements, bracket, list);
}

BracketCount count_f32(const std::byte* task, const float* base, std::size_t elements,
                       const Bracket& bracket, std::uint32_t* list) {
  return count_vectors<LoadF32>(task, base, elements, bracket, list);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mpimerge::kernel
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mpimerge::kernel {
namespace {

HWY_EXPORT(count_bf16);
HWY_EXPORT(count_f16);
HWY_EXPORT(count_f32);

// Whole vectors of every processor, kVectors of them: 4 × 2,048 bits.
constexpr std::size_t kWhole = 256;

BracketCount count_whole(base::Dtype dtype, const std::byte* task, const float* base,
                         std::size_t elements, const Bracket& bracket, std::uint32_t* list) {
  switch (dtype) {
    case base::Dtype::bf16:
      return HWY_DYNAMIC_DISPATCH(count_bf16)(task, base, elements, bracket, list);
    case base::Dtype::f16:
      return HWY_DYNAMIC_DISPATCH(count_f16)(task, base, elements, bracket, list);
    default: return HWY_DYNAMIC_DISPATCH(count_f32)(task, base, elements, bracket, list);
  }
}

void add(BracketCount& total, const BracketCount& part) {
  total.above += part.above;
  total.listed += part.listed;
  total.largest = std::max(total.largest, part.largest);
  for (std::size_t atom = 0; atom < part.atoms.size(); ++atom)
    total.atoms[atom] += part.atoms[atom];
}

// Fewer elements than whole vectors: widened and filled up with zeros, which are taken out again.
BracketCount count_rest(base::Dtype dtype, std::span<const std::byte> task,
                        std::span<const float> base, const Bracket& bracket, std::uint32_t* list) {
  std::array<float, kWhole> task_values{};
  std::array<float, kWhole> base_values{};
  std::array<std::uint32_t, kWhole + kListPadding> rest_list;
  to_f32(dtype, task, std::span(task_values).first(base.size()));
  std::copy(base.begin(), base.end(), base_values.begin());
  BracketCount count =
      count_whole(base::Dtype::f32, reinterpret_cast<const std::byte*>(task_values.data()),
                  base_values.data(), kWhole, bracket, rest_list.data());
  const std::size_t added = kWhole - base.size();
  if (bracket.low == 0) {
    const auto atoms = std::span(bracket.atoms).first(bracket.atom_count);
    const auto zero = std::find(atoms.begin(), atoms.end(), 0u);
    if (zero != atoms.end()) {
      count.atoms[static_cast<std::size_t>(zero - atoms.begin())] -= added;
    } else {
      count.listed -= added;  // they stand last
    }
  }
  std::copy_n(rest_list.begin(), count.listed, list);
  return count;
}

}  // namespace

BracketCount count_bracket(base::Dtype dtype, std::span<const std::byte> task,
                           std::span<const float> base, const Bracket& bracket,
                           std::uint32_t* list) noexcept {
  const std::size_t element_bytes = base::element_bytes(dtype).value();
  // Doubles are rare: they are rounded to float32 piece by piece.
  const std::size_t whole = dtype == base::Dtype::f64 ? 0 : base.size() / kWhole * kWhole;
  BracketCount count;
  if (whole > 0) count = count_whole(dtype, task.data(), base.data(), whole, bracket, list);
  for (std::size_t begin = whole; begin < base.size(); begin += kWhole) {
    const std::size_t elements = std::min(kWhole, base.size() - begin);
    add(count, count_rest(dtype, task.subspan(begin * element_bytes, elements * element_bytes),
                          base.subspan(begin, elements), bracket, list + count.listed));
  }
  return count;
}

}  // namespace mpimerge::kernel
#endif  // HWY_ONCE
