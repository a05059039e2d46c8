#include "mpimerge/kernel/row_ranks.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <span>

// Highway compiles this file once for every generation of vector units.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/row_ranks.cpp"
#include <hwy/foreach_target.h>

#include "kernel/elements-inl.hpp"

#ifndef MPIMERGE_KERNEL_ROW_RANKS
#define MPIMERGE_KERNEL_ROW_RANKS
namespace mpimerge::kernel {
namespace {

constexpr std::size_t kParts = 16;
constexpr std::size_t kCuts = kParts - 1;
// Whole vectors of every processor: 2,048 bits.
constexpr std::size_t kMostLanes = 64;
// Above every magnitude, NaN included, as none is.
constexpr std::int32_t kNone = 0x7fffffff;

// What a row is worked on with.
struct Row {
  std::size_t elements;
  std::size_t padded;            // to whole vectors
  std::int32_t* magnitudes;      // [padded] bits; kNone behind the row
  std::int32_t* parts;           // [padded] of each element
  std::int32_t* pending;         // [padded] elements whose place has to be counted
  std::int32_t* in_parts;        // [padded + room] magnitudes part by part
  std::int32_t* elements_there;  // [padded + room] of which elements
};

// Of each part.
struct Part {
  std::size_t first = 0;  // place
  std::size_t elements = 0;
  std::size_t begin = 0;  // in Row::in_parts
  std::size_t next = 0;   // in the list: no element before it is asked for again
  bool is_listed = false;
  bool is_uniform = false;  // all magnitudes are equal
};

}  // namespace
}  // namespace mpimerge::kernel
#endif

HWY_BEFORE_NAMESPACE();
namespace mpimerge::kernel {
namespace HWY_NAMESPACE {
namespace {

HWY_INLINE IntegerVector integers(std::int32_t value) { return hn::Set(kIntegers, value); }

void find_magnitudes(const float* values, const float* base, Row& row) {
  const std::size_t lanes = hn::Lanes(kFloats);
  std::size_t i = 0;
  for (; i + lanes <= row.elements; i += lanes) {
    const FloatVector delta = hn::Sub(hn::LoadU(kFloats, values + i), hn::LoadU(kFloats, base + i));
    hn::StoreU(hn::And(hn::BitCast(kIntegers, delta), integers(kNone)), kIntegers,
               row.magnitudes + i);
  }
  for (; i < row.elements; ++i)
    row.magnitudes[i] = std::bit_cast<std::int32_t>(values[i] - base[i]) & kNone;
  for (; i < row.padded; ++i) row.magnitudes[i] = kNone;
}

// The part of each element, and how many elements are at or above each cut.
void find_parts(const std::array<std::int32_t, kCuts>& cuts, Row& row,
                std::array<std::size_t, kCuts>& at_least) {
  const std::size_t lanes = hn::Lanes(kIntegers);
  constexpr std::size_t kTogether = 5;
  static_assert(kCuts % kTogether == 0);
  for (std::size_t cut = 0; cut < kCuts; cut += kTogether) {
    std::array<std::int32_t, kTogether> below{};
    for (std::size_t k = 0; k < kTogether; ++k) below[k] = cuts[cut + k] - 1;
    const IntegerVector below0 = integers(below[0]);
    const IntegerVector below1 = integers(below[1]);
    const IntegerVector below2 = integers(below[2]);
    const IntegerVector below3 = integers(below[3]);
    const IntegerVector below4 = integers(below[4]);
    WordVector count0 = hn::Zero(kWords);
    WordVector count1 = hn::Zero(kWords);
    WordVector count2 = hn::Zero(kWords);
    WordVector count3 = hn::Zero(kWords);
    WordVector count4 = hn::Zero(kWords);
    for (std::size_t i = 0; i < row.padded; i += lanes) {
      const IntegerVector magnitude = hn::LoadU(kIntegers, row.magnitudes + i);
      WordVector part =
          cut == 0 ? hn::Zero(kWords) : hn::BitCast(kWords, hn::LoadU(kIntegers, row.parts + i));
      const auto compare = [&](IntegerVector limit, WordVector& count) HWY_ATTR {
        const auto is_above = hn::Gt(magnitude, limit);
        count = count_where(is_above, count);
        part = count_where(is_above, part);
      };
      compare(below0, count0);
      compare(below1, count1);
      compare(below2, count2);
      compare(below3, count3);
      compare(below4, count4);
      hn::StoreU(hn::BitCast(kIntegers, part), kIntegers, row.parts + i);
    }
    const auto total = [&](WordVector count) HWY_ATTR {
      return static_cast<std::size_t>(hn::GetLane(hn::SumOfLanes(kWords, count))) -
             (row.padded - row.elements);
    };
    at_least[cut] = total(count0);
    at_least[cut + 1] = total(count1);
    at_least[cut + 2] = total(count2);
    at_least[cut + 3] = total(count3);
    at_least[cut + 4] = total(count4);
  }
}

// What the part decides; returns how many elements are left.
std::size_t decide_by_parts(const std::array<float, kParts>& least,
                            const std::array<float, kParts>& most, const float* random, Row& row,
                            float* drops) {
  const std::size_t lanes = hn::Lanes(kFloats);
  const FloatVector one = hn::Set(kFloats, 1.0F);
  const IntegerVector step = integers(static_cast<std::int32_t>(lanes));
  IntegerVector elements = hn::Iota(kIntegers, 0);
  std::size_t left = 0;
  std::size_t i = 0;
  for (; i + lanes <= row.elements; i += lanes) {
    const IntegerVector part = hn::LoadU(kIntegers, row.parts + i);
    const FloatVector number = hn::LoadU(kFloats, random + i);
    const auto keeps = hn::Lt(number, hn::GatherIndex(kFloats, least.data(), part));
    const auto may_keep = hn::Lt(number, hn::GatherIndex(kFloats, most.data(), part));
    hn::StoreU(hn::IfThenZeroElse(keeps, one), kFloats, drops + i);
    const auto pends = hn::RebindMask(kIntegers, hn::AndNot(keeps, may_keep));
    hn::StoreU(hn::Compress(elements, pends), kIntegers, row.pending + left);
    elements = hn::Add(elements, step);
    left += hn::CountTrue(kIntegers, pends);
  }
  for (; i < row.elements; ++i) {
    const auto part = static_cast<std::size_t>(row.parts[i]);
    const bool keeps = random[i] < least[part];
    drops[i] = keeps ? 0.0F : 1.0F;
    if (!keeps && random[i] < most[part]) row.pending[left++] = static_cast<std::int32_t>(i);
  }
  return left;
}

// Puts the elements of a part together, from left to right.
void list_part(std::int32_t number, Part& part, Row& row) {
  const std::size_t lanes = hn::Lanes(kIntegers);
  std::int32_t* const magnitudes = row.in_parts + part.begin;
  std::int32_t* const elements = row.elements_there + part.begin;
  const IntegerVector step = integers(static_cast<std::int32_t>(lanes));
  IntegerVector places = hn::Iota(kIntegers, 0);
  std::size_t listed = 0;
  for (std::size_t i = 0; i < row.padded; i += lanes) {
    const auto is_in = hn::Eq(hn::LoadU(kIntegers, row.parts + i), integers(number));
    hn::StoreU(hn::Compress(hn::LoadU(kIntegers, row.magnitudes + i), is_in), kIntegers,
               magnitudes + listed);
    hn::StoreU(hn::Compress(places, is_in), kIntegers, elements + listed);
    places = hn::Add(places, step);
    listed += hn::CountTrue(kIntegers, is_in);
  }
  // The last part has what fills up the row too, behind its own: that is counted nowhere.
  part.is_uniform = std::all_of(magnitudes, magnitudes + part.elements,
                                [&](std::int32_t each) { return each == magnitudes[0]; });
  for (std::size_t i = part.elements; i < part.elements + lanes; ++i) magnitudes[i] = kNone;
  part.is_listed = true;
}

// The place of an element of a part among the part's; elements are asked for from left to right.
std::size_t place_in(Part& part, const Row& row, std::int32_t element) {
  const std::int32_t* const magnitudes = row.in_parts + part.begin;
  const std::int32_t* const elements = row.elements_there + part.begin;
  while (elements[part.next] != element) ++part.next;
  if (part.is_uniform) return part.next;
  // Smaller ones, and of equal ones those to the left.
  const std::size_t lanes = hn::Lanes(kIntegers);
  const IntegerVector own = integers(magnitudes[part.next]);
  WordVector count = hn::Zero(kWords);
  for (std::size_t i = 0; i < part.elements; i += lanes)
    count = count_where(hn::Lt(hn::LoadU(kIntegers, magnitudes + i), own), count);
  std::size_t i = 0;
  for (; i + lanes <= part.next; i += lanes)
    count = count_where(hn::Eq(hn::LoadU(kIntegers, magnitudes + i), own), count);
  const auto to_the_left = hn::FirstN(kIntegers, part.next - i);
  const auto equals = hn::Eq(hn::LoadU(kIntegers, magnitudes + i), own);
  count = count_where(hn::And(equals, to_the_left), count);
  return static_cast<std::size_t>(hn::GetLane(hn::SumOfLanes(kWords, count)));
}

// Where a row is cut: any cuts would do, only slower. Magnitudes that many elements of a sample have
// get a part of their own, in which places follow from left to right. The others are cut at quantiles.
std::array<std::int32_t, kCuts> choose_cuts(const Row& row) {
  constexpr std::size_t kSample = 4 * kParts;
  constexpr std::size_t kMany = 5;
  std::array<std::int32_t, kSample> sample{};
  for (std::size_t i = 0; i < kSample; ++i) sample[i] = row.magnitudes[i * row.elements / kSample];
  std::sort(sample.begin(), sample.end());
  std::array<std::int32_t, kCuts> cuts{};
  cuts.fill(kNone);
  std::size_t count = 0;
  std::size_t others = 0;  // come to the front of the sample
  for (std::size_t begin = 0; begin < kSample;) {
    std::size_t end = begin;
    const std::int32_t magnitude = sample[begin];
    while (end < kSample && sample[end] == magnitude) ++end;
    if (end - begin >= kMany && magnitude < kNone && count + 2 <= kCuts) {
      if (count == 0 || cuts[count - 1] < magnitude) cuts[count++] = magnitude;
      cuts[count++] = magnitude + 1;
    } else {
      for (std::size_t i = begin; i < end; ++i) sample[others++] = magnitude;
    }
    begin = end;
  }
  const std::size_t left = kCuts - count;
  for (std::size_t cut = 0; cut < left && others > 0; ++cut)
    cuts[count + cut] = sample[(cut + 1) * others / (left + 1)];
  std::sort(cuts.begin(), cuts.end());
  return cuts;
}

void find_drops(const float* values, const float* base, const float* probabilities,
                const float* random, Row& row, float* drops) {
  find_magnitudes(values, base, row);
  const std::array<std::int32_t, kCuts> cuts = choose_cuts(row);
  std::array<std::size_t, kCuts> at_least{};
  find_parts(cuts, row, at_least);

  std::array<Part, kParts> parts{};
  std::array<float, kParts> least{};
  std::array<float, kParts> most{};
  std::size_t begin = 0;
  for (std::size_t part = 0; part < kParts; ++part) {
    const std::size_t first = part == 0 ? 0 : row.elements - at_least[part - 1];
    const std::size_t end = part == kCuts ? row.elements : row.elements - at_least[part];
    parts[part] = {.first = first, .elements = end - first, .begin = begin};
    begin += parts[part].elements + 2 * kMostLanes;
    if (end == first) continue;
    least[part] = probabilities[first];
    most[part] = probabilities[end - 1];
  }
  const std::size_t left = decide_by_parts(least, most, random, row, drops);
  for (std::size_t i = 0; i < left; ++i) {
    const std::int32_t element = row.pending[i];
    const std::int32_t number = row.parts[element];
    Part& part = parts[static_cast<std::size_t>(number)];
    if (!part.is_listed) list_part(number, part, row);
    const std::size_t place = part.first + place_in(part, row, element);
    if (random[element] < probabilities[place]) drops[element] = 0;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mpimerge::kernel
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mpimerge::kernel {
namespace {

HWY_EXPORT(find_drops);

}  // namespace

void RowDrops::find(const float* values, const float* base, std::size_t elements,
                    const float* probabilities, const float* random, float* drops) {
  if (elements == 0) return;
  const std::size_t padded = (elements + kMostLanes - 1) / kMostLanes * kMostLanes;
  // Vectors are stored whole behind the last element of each list.
  const std::size_t listed = padded + (2 * kParts + 1) * kMostLanes;
  memory_.resize(std::max(memory_.size(), 3 * padded + kMostLanes + 2 * listed));
  Row row{.elements = elements,
          .padded = padded,
          .magnitudes = memory_.data(),
          .parts = memory_.data() + padded,
          .pending = memory_.data() + 2 * padded,
          .in_parts = memory_.data() + 3 * padded + kMostLanes,
          .elements_there = memory_.data() + 3 * padded + kMostLanes + listed};
  HWY_DYNAMIC_DISPATCH(find_drops)(values, base, probabilities, random, row, drops);
}

}  // namespace mpimerge::kernel
#endif  // HWY_ONCE
