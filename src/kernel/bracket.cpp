#include "mpimerge/kernel/bracket.hpp"

#include <algorithm>
#include <cstring>
#include <type_traits>

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

// Vectors that are loaded together, before the first of them takes its place in the list.
constexpr std::size_t kVectors = 4;

constexpr std::size_t kBytesAhead = 6144;

HWY_INLINE IntegerVector integers(std::uint32_t bits) {
  return hn::Set(kIntegers, static_cast<std::int32_t>(bits));
}

// In place of a type of elements: what is counted are magnitudes already, and there is no base.
struct Listed {};

// The magnitudes of two vectors of elements.
template <class Load>
HWY_INLINE void two_magnitudes(const std::byte* task, const std::byte* base, std::size_t element,
                               IntegerVector& first, IntegerVector& second) {
  if constexpr (std::is_same_v<Load, Listed>) {
    const auto* const magnitudes = reinterpret_cast<const std::int32_t*>(task) + element;
    first = hn::LoadU(kIntegers, magnitudes);
    second = hn::LoadU(kIntegers, magnitudes + hn::Lanes(kIntegers));
    return;
  } else {
    prefetch_two<Load>(task, element, kBytesAhead);
    prefetch_two<Load>(base, element, kBytesAhead);
    FloatVector task_first, task_second, base_first, base_second;
    Load::two_at(task, element, task_first, task_second);
    Load::two_at(base, element, base_first, base_second);
    const IntegerVector sign_off = integers(0x7fffffffu);
    first = hn::And(hn::BitCast(kIntegers, hn::Sub(task_first, base_first)), sign_off);
    second = hn::And(hn::BitCast(kIntegers, hn::Sub(task_second, base_second)), sign_off);
  }
}

// An atom of the bracket, or what no magnitude is.
HWY_INLINE IntegerVector atom_of(const Bracket& bracket, std::size_t number) {
  const std::uint32_t atom = bracket.atoms[number];
  const bool inside = number < bracket.atom_count && bracket.low <= atom && atom < bracket.high;
  return integers(inside ? atom : Bracket::kEnd);
}

// Counts elements that are an atom, and puts them outside.
HWY_INLINE void take_atom(IntegerVector magnitude, IntegerVector atom, WordVector& count,
                          IntegerVector& offset) {
  const auto equal = hn::Eq(magnitude, atom);
  count = count_where(equal, count);
  offset = hn::IfThenElse(equal, integers(0x7fffffffu), offset);
}

HWY_INLINE std::uint64_t total(WordVector counts) {
  HWY_ALIGN std::uint32_t parts[HWY_LANES(std::uint32_t)];
  hn::Store(counts, kWords, parts);
  std::uint64_t sum = 0;
  for (std::size_t lane = 0; lane < hn::Lanes(kWords); ++lane) sum += parts[lane];
  return sum;
}

// `elements` is a multiple of kVectors vectors. No branch depends on the elements: with a few percent of
// them inside, none would be foreseen.
template <class Load, std::size_t kAtoms>
BracketCount count_vectors(const std::byte* HWY_RESTRICT task, const std::byte* HWY_RESTRICT base,
                           std::size_t elements, const Bracket& bracket,
                           std::uint32_t* HWY_RESTRICT list) {
  // Magnitudes are not negative as integers. Less `low` and 2^31, those inside are the least.
  const IntegerVector below_high = integers(bracket.high - 1);
  const IntegerVector low = integers(bracket.low + 0x80000000u);
  const IntegerVector width = integers(bracket.high - bracket.low + 0x80000000u);
  const IntegerVector atom0 = atom_of(bracket, 0);
  const IntegerVector atom1 = atom_of(bracket, 1);
  const IntegerVector atom2 = atom_of(bracket, 2);
  const IntegerVector atom3 = atom_of(bracket, 3);
  WordVector atoms0 = hn::Zero(kWords);
  WordVector atoms1 = hn::Zero(kWords);
  WordVector atoms2 = hn::Zero(kWords);
  WordVector atoms3 = hn::Zero(kWords);
  WordVector above = hn::Zero(kWords);
  IntegerVector largest = hn::Zero(kIntegers);
  std::size_t listed = 0;
  const auto take = [&](IntegerVector magnitude) HWY_ATTR {
    above = count_where(hn::Gt(magnitude, below_high), above);
    IntegerVector offset = hn::Sub(magnitude, low);
    if constexpr (kAtoms > 0) take_atom(magnitude, atom0, atoms0, offset);
    if constexpr (kAtoms > 1) take_atom(magnitude, atom1, atoms1, offset);
    if constexpr (kAtoms > 2) take_atom(magnitude, atom2, atoms2, offset);
    if constexpr (kAtoms > 3) take_atom(magnitude, atom3, atoms3, offset);
    const auto inside = hn::RebindMask(kWords, hn::Lt(offset, width));
    // A whole vector is stored: on some processors far cheaper than storing under a mask.
    hn::StoreU(hn::Compress(hn::BitCast(kWords, magnitude), inside), kWords, list + listed);
    listed += hn::CountTrue(kWords, inside);
  };
  const std::size_t lanes = hn::Lanes(kFloats);
  for (std::size_t i = 0; i < elements; i += kVectors * lanes) {
    IntegerVector magnitude0, magnitude1, magnitude2, magnitude3;
    two_magnitudes<Load>(task, base, i, magnitude0, magnitude1);
    two_magnitudes<Load>(task, base, i + 2 * lanes, magnitude2, magnitude3);
    largest =
        hn::Max(largest, hn::Max(hn::Max(magnitude0, magnitude1), hn::Max(magnitude2, magnitude3)));
    take(magnitude0);
    take(magnitude1);
    take(magnitude2);
    take(magnitude3);
  }
  BracketCount count;
  count.above = total(above);
  count.atoms = {total(atoms0), total(atoms1), total(atoms2), total(atoms3)};
  count.listed = listed;
  count.largest = static_cast<std::uint32_t>(hn::GetLane(hn::MaxOfLanes(kIntegers, largest)));
  return count;
}

// As many atoms as the bracket has are looked for.
template <class Load, std::size_t kAtoms = 0>
BracketCount count_as(const std::byte* task, const std::byte* base, std::size_t elements,
                      const Bracket& bracket, std::uint32_t* list) {
  if constexpr (kAtoms < Bracket::kMostAtoms) {
    if (bracket.atom_count > kAtoms)
      return count_as<Load, kAtoms + 1>(task, base, elements, bracket, list);
  }
  return count_vectors<Load, kAtoms>(task, base, elements, bracket, list);
}

BracketCount count_bf16(const std::byte* task, const std::byte* base, std::size_t elements,
                        const Bracket& bracket, std::uint32_t* list) {
  return count_as<LoadBf16>(task, base, elements, bracket, list);
}

BracketCount count_f16(const std::byte* task, const std::byte* base, std::size_t elements,
                       const Bracket& bracket, std::uint32_t* list) {
  return count_as<LoadF16>(task, base, elements, bracket, list);
}

BracketCount count_f32(const std::byte* task, const std::byte* base, std::size_t elements,
                       const Bracket& bracket, std::uint32_t* list) {
  return count_as<LoadF32>(task, base, elements, bracket, list);
}

BracketCount count_magnitudes(const std::byte* magnitudes, const std::byte* /*base*/,
                              std::size_t elements, const Bracket& bracket, std::uint32_t* list) {
  return count_as<Listed>(magnitudes, magnitudes, elements, bracket, list);
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
HWY_EXPORT(count_magnitudes);

// Whole vectors of every processor, kVectors of them: 4 × 2,048 bits.
constexpr std::size_t kWhole = 256;

BracketCount count_whole(base::Dtype dtype, const std::byte* task, const std::byte* base,
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
                        std::span<const std::byte> base, std::size_t elements,
                        const Bracket& bracket, std::uint32_t* list) {
  std::array<float, kWhole> task_values{};
  std::array<float, kWhole> base_values{};
  std::array<std::uint32_t, kWhole + kListPadding> rest_list;
  to_f32(dtype, task, std::span(task_values).first(elements));
  to_f32(dtype, base, std::span(base_values).first(elements));
  BracketCount count =
      count_whole(base::Dtype::f32, std::as_bytes(std::span(task_values)).data(),
                  std::as_bytes(std::span(base_values)).data(), kWhole, bracket, rest_list.data());
  const std::size_t added = kWhole - elements;
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
                           std::span<const std::byte> base, const Bracket& bracket,
                           std::uint32_t* list) noexcept {
  const std::size_t element_bytes = base::element_bytes(dtype).value();
  const std::size_t elements = base.size() / element_bytes;
  // Doubles are rare: they are rounded to float32 piece by piece.
  const std::size_t whole = dtype == base::Dtype::f64 ? 0 : elements / kWhole * kWhole;
  BracketCount count;
  if (whole > 0) count = count_whole(dtype, task.data(), base.data(), whole, bracket, list);
  for (std::size_t begin = whole; begin < elements; begin += kWhole) {
    const std::size_t size = std::min(kWhole, elements - begin);
    const auto part = [&](std::span<const std::byte> of) {
      return of.subspan(begin * element_bytes, size * element_bytes);
    };
    add(count, count_rest(dtype, part(task), part(base), size, bracket, list + count.listed));
  }
  return count;
}

BracketCount count_listed(std::uint32_t* magnitudes, std::size_t elements, const Bracket& bracket,
                          std::uint32_t* list) noexcept {
  const std::size_t whole = (elements + kWhole - 1) / kWhole * kWhole;
  const std::size_t added = whole - elements;
  // The largest magnitude there is: the last in the list, or above.
  constexpr std::uint32_t kFilling = Bracket::kEnd - 1;
  std::fill_n(magnitudes + elements, added, kFilling);
  const auto* const bytes = reinterpret_cast<const std::byte*>(magnitudes);
  BracketCount count = HWY_DYNAMIC_DISPATCH(count_magnitudes)(bytes, bytes, whole, bracket, list);
  if (bracket.high < Bracket::kEnd) {
    count.above -= added;
    return count;
  }
  const auto atoms = std::span(bracket.atoms).first(bracket.atom_count);
  const auto filling = std::find(atoms.begin(), atoms.end(), kFilling);
  if (filling != atoms.end()) {
    count.atoms[static_cast<std::size_t>(filling - atoms.begin())] -= added;
  } else {
    count.listed -= added;
  }
  return count;
}

}  // namespace mpimerge::kernel
#endif  // HWY_ONCE
