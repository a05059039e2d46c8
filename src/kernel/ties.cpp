#include "mpimerge/kernel/ties.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

// Highway compiles this file once for every generation of vector units.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/ties.cpp"
#include <hwy/foreach_target.h>

#include "kernel/elements-inl.hpp"

#ifndef MPIMERGE_KERNEL_TIES_GROUP
#define MPIMERGE_KERNEL_TIES_GROUP
namespace mpimerge::kernel {

/// As many tasks as have their counters near, and as processors read ahead streams.
inline constexpr std::size_t kMostInGroup = 8;

/// Some tasks of a tile, in job order. All sums stay in registers while they pass; between groups
/// they wait in the scratch rows.
struct TaskGroup {
  std::span<TiesTask> tasks;
  bool first;
  bool last;
};

}  // namespace mpimerge::kernel
#endif

HWY_BEFORE_NAMESPACE();
namespace mpimerge::kernel {
namespace HWY_NAMESPACE {
namespace {

constexpr std::size_t kBytesAhead = 2048;

// Vectors stand in no struct: those of some processors (SVE) have no size before the program runs.

HWY_INLINE FloatVector add_where(FloatMask mask, FloatVector sum, FloatVector value) {
  return hn::IfThenElse(mask, hn::Add(sum, value), sum);
}

// The signs of many values in two maxima: as an integer a positive float is greater than 0, and a
// negative one, unsigned, greater than −0. Zeros of either sign change nothing.
HWY_INLINE void see_sign(FloatVector value, IntegerVector& most, WordVector& least) {
  most = hn::Max(most, hn::BitCast(kIntegers, value));
  least = hn::Max(least, hn::BitCast(kWords, value));
}

// Where values of both signs were seen.
HWY_INLINE FloatMask conflict(IntegerVector most, WordVector least) {
  const IntegerVector zero = hn::Zero(kIntegers);
  const IntegerVector negative_zero = hn::Set(kIntegers, -0x7fffffff - 1);
  const IntegerVector signed_least = hn::BitCast(kIntegers, least);
  const auto negative = hn::And(hn::Lt(signed_least, zero), hn::Gt(signed_least, negative_zero));
  return hn::RebindMask(kFloats, hn::And(hn::Gt(most, zero), negative));
}

HWY_INLINE std::uint64_t total(WordVector counts) {
  HWY_ALIGN std::uint32_t parts[HWY_LANES(std::uint32_t)];
  hn::Store(counts, kWords, parts);
  std::uint64_t sum = 0;
  for (std::size_t lane = 0; lane < hn::Lanes(kWords); ++lane) sum += parts[lane];
  return sum;
}

// What a τ can be. `unit`: every weight is 1 and no τ is NaN, the usual case. `any`: no such limit.
// `extremes`: any, and the largest and the smallest value are sought instead of the sums. `signs`:
// any, and only the sums' signs are counted.
enum class Kind { unit, any, extremes, signs };

// One task's τ joins the sums of a vector of elements.
//   sum                Σ w·τ̂, whose sign is elected
//   positive, negative Σ, or largest, of the w·τ̂ of either sign, and Σ of their w
//   most, least        signs seen before the trim, and after it
template <Kind kKind>
HWY_INLINE std::size_t add_task(IntegerVector below, FloatVector weight, FloatVector tau,
                                FloatVector& sum, FloatVector& positive, FloatVector& negative,
                                FloatVector& positive_weight, FloatVector& negative_weight,
                                IntegerVector& most_before, WordVector& least_before,
                                IntegerVector& most_after, WordVector& least_after) {
  const FloatVector zero = hn::Zero(kFloats);
  const IntegerVector sign_off = hn::Set(kIntegers, 0x7fffffff);
  const IntegerVector magnitude = hn::And(hn::BitCast(kIntegers, tau), sign_off);
  const FloatMask kept = hn::RebindMask(kFloats, hn::Gt(magnitude, below));
  if constexpr (kKind == Kind::unit) {
    see_sign(tau, most_before, least_before);
    sum = add_where(kept, sum, tau);
    // No zero is kept: what is not positive is negative.
    const FloatMask is_positive = hn::And(kept, hn::Gt(tau, zero));
    const FloatMask is_negative = hn::AndNot(is_positive, kept);
    positive = add_where(is_positive, positive, tau);
    negative = add_where(is_negative, negative, tau);
    positive_weight = add_where(is_positive, positive_weight, weight);
    negative_weight = add_where(is_negative, negative_weight, weight);
  } else if constexpr (kKind == Kind::signs) {
    sum = add_where(kept, sum, hn::Mul(weight, tau));
  } else {
    const FloatVector number_or_zero = hn::IfThenZeroElse(hn::IsNaN(tau), tau);
    see_sign(number_or_zero, most_before, least_before);
    see_sign(hn::IfThenElseZero(kept, number_or_zero), most_after, least_after);
    const FloatVector value = hn::IfThenElseZero(kept, hn::Mul(weight, tau));
    const FloatMask is_positive = hn::Gt(value, zero);
    const FloatMask is_negative = hn::Lt(value, zero);
    sum = hn::Add(sum, value);
    if constexpr (kKind == Kind::extremes) {
      positive = hn::IfThenElse(hn::Gt(value, positive), value, positive);
      negative = hn::IfThenElse(hn::Lt(value, negative), value, negative);
    } else {
      positive = add_where(is_positive, positive, value);
      negative = add_where(is_negative, negative, value);
      positive_weight = add_where(is_positive, positive_weight, weight);
      negative_weight = add_where(is_negative, negative_weight, weight);
    }
  }
  return hn::CountTrue(kFloats, kept);
}

// The merged parameters of elements that every task has been added to, and what is counted of them.
template <Kind kKind>
HWY_INLINE FloatVector finish(const TiesRule& rule, FloatVector base, FloatVector sum,
                              FloatVector positive, FloatVector negative,
                              FloatVector positive_weight, FloatVector negative_weight,
                              IntegerVector most_before, WordVector least_before,
                              IntegerVector most_after, WordVector least_after,
                              WordVector& count_positive, WordVector& count_negative,
                              WordVector& count_cancelled, WordVector& count_nan,
                              WordVector& count_before, WordVector& count_after) {
  const FloatVector zero = hn::Zero(kFloats);
  const FloatVector one = hn::Set(kFloats, 1.0F);
  // Positive values sum to more than nothing and negative ones to less: one of both shows where
  // anything but zeros was kept.
  const FloatMask has_positive = hn::Gt(positive, zero);
  const FloatMask has_negative = hn::Lt(negative, zero);
  const FloatMask sum_is_positive = hn::Gt(sum, zero);
  const FloatMask sum_is_negative = hn::Lt(sum, zero);
  const FloatMask sum_is_zero = hn::Eq(sum, zero);
  count_positive = count_where(sum_is_positive, count_positive);
  count_negative = count_where(sum_is_negative, count_negative);
  // What cancels has values of both signs: those of one do not sum to zero.
  count_cancelled = count_where(hn::And(sum_is_zero, has_positive), count_cancelled);
  count_before = count_where(conflict(most_before, least_before), count_before);
  if constexpr (kKind == Kind::unit) {
    count_after = count_where(hn::And(has_positive, has_negative), count_after);
  } else {
    count_after = count_where(conflict(most_after, least_after), count_after);
    count_nan = count_where(hn::IsNaN(sum), count_nan);
  }

  // A sum of exactly zero takes the given sign.
  const FloatMask is_positive =
      rule.cancelled_sign > 0 ? hn::Or(sum_is_positive, sum_is_zero) : sum_is_positive;
  FloatVector value = hn::IfThenElse(is_positive, positive, negative);
  if constexpr (kKind == Kind::extremes) {
    // As published: the largest magnitude times the sign, so that an elected zero gives zero.
    const FloatVector without_sign = hn::Set(kFloats, rule.cancelled_sign == 0 ? 0.0F : -1.0F);
    const FloatVector negative_sign = hn::IfThenElse(sum_is_zero, without_sign, hn::Neg(one));
    value = hn::Mul(hn::Abs(value), hn::IfThenElse(is_positive, one, negative_sign));
  }
  if (kKind != Kind::extremes && rule.disjoint == Disjoint::mean) {
    const FloatVector weight = hn::IfThenElse(is_positive, positive_weight, negative_weight);
    if constexpr (kKind == Kind::unit)
      value = hn::Div(value, hn::Max(weight, one));
    else
      value = hn::Div(value, hn::IfThenElse(hn::Eq(weight, zero), one, weight));
  }
  if constexpr (kKind != Kind::unit) value = hn::IfThenElse(hn::IsNaN(sum), sum, value);
  if (rule.gives_vector) return value;
  // Two roundings, no fused multiply-add: the published arithmetic.
  return hn::Add(base, hn::Mul(hn::Set(kFloats, rule.lambda), value));
}

// Two vectors of elements at a time: half as often, a task's threshold and the address of its values
// are fetched. `elements` is a multiple of both.
template <class Load, Kind kKind>
TiesCounts merge_group(const TiesRule& rule, const TaskGroup& group, TiesScratch& scratch,
                       const std::byte* base, float* merged, std::size_t elements) {
  const std::size_t tasks = group.tasks.size();
  const std::size_t lanes = hn::Lanes(kFloats);
  std::array<std::uint64_t, kMostInGroup> kept_count{};
  std::array<std::int32_t, kMostInGroup> below{};
  for (std::size_t number = 0; number < tasks; ++number)
    below[number] = static_cast<std::int32_t>(group.tasks[number].threshold) - 1;
  WordVector count_positive = hn::Zero(kWords);
  WordVector count_negative = hn::Zero(kWords);
  WordVector count_cancelled = hn::Zero(kWords);
  WordVector count_nan = hn::Zero(kWords);
  WordVector count_before = hn::Zero(kWords);
  WordVector count_after = hn::Zero(kWords);
  for (std::size_t i = 0; i < elements; i += 2 * lanes) {
    prefetch_two<Load>(base, i, kBytesAhead);
    FloatVector base_a, base_b;
    Load::two_at(base, i, base_a, base_b);
    FloatVector sum_a = hn::Zero(kFloats);
    FloatVector sum_b = hn::Zero(kFloats);
    FloatVector positive_a = hn::Zero(kFloats);
    FloatVector positive_b = hn::Zero(kFloats);
    FloatVector negative_a = hn::Zero(kFloats);
    FloatVector negative_b = hn::Zero(kFloats);
    FloatVector positive_weight_a = hn::Zero(kFloats);
    FloatVector positive_weight_b = hn::Zero(kFloats);
    FloatVector negative_weight_a = hn::Zero(kFloats);
    FloatVector negative_weight_b = hn::Zero(kFloats);
    IntegerVector most_before_a = hn::Zero(kIntegers);
    IntegerVector most_before_b = hn::Zero(kIntegers);
    WordVector least_before_a = hn::Zero(kWords);
    WordVector least_before_b = hn::Zero(kWords);
    IntegerVector most_after_a = hn::Zero(kIntegers);
    IntegerVector most_after_b = hn::Zero(kIntegers);
    WordVector least_after_a = hn::Zero(kWords);
    WordVector least_after_b = hn::Zero(kWords);
    const auto each_row = [&](auto visit) HWY_ATTR {
      visit(0, sum_a, sum_b);
      if constexpr (kKind == Kind::signs) return;
      visit(1, positive_a, positive_b);
      visit(2, negative_a, negative_b);
      visit(3, positive_weight_a, positive_weight_b);
      visit(4, negative_weight_a, negative_weight_b);
      visit(5, most_before_a, most_before_b);
      visit(6, least_before_a, least_before_b);
      if constexpr (kKind == Kind::unit) return;
      visit(7, most_after_a, most_after_b);
      visit(8, least_after_a, least_after_b);
    };
    if (!group.first) {
      each_row([&](std::size_t row, auto& a, auto& b) HWY_ATTR {
        using Vector = std::remove_reference_t<decltype(a)>;
        const hn::DFromV<Vector> tag;
        a = hn::BitCast(tag, hn::LoadU(kFloats, scratch.row(row) + i));
        b = hn::BitCast(tag, hn::LoadU(kFloats, scratch.row(row) + i + lanes));
      });
    }
    for (std::size_t number = 0; number < tasks; ++number) {
      const TiesTask& task = group.tasks[number];
      prefetch_two<Load>(task.values, i, kBytesAhead);
      const IntegerVector cut = hn::Set(kIntegers, below[number]);
      const FloatVector weight = hn::Set(kFloats, kKind == Kind::unit ? 1.0F : task.weight);
      FloatVector task_a, task_b;
      Load::two_at(task.values, i, task_a, task_b);
      const FloatVector tau_a = hn::Sub(task_a, base_a);
      const FloatVector tau_b = hn::Sub(task_b, base_b);
      kept_count[number] += add_task<kKind>(cut, weight, tau_a, sum_a, positive_a, negative_a,
                                            positive_weight_a, negative_weight_a, most_before_a,
                                            least_before_a, most_after_a, least_after_a) +
                            add_task<kKind>(cut, weight, tau_b, sum_b, positive_b, negative_b,
                                            positive_weight_b, negative_weight_b, most_before_b,
                                            least_before_b, most_after_b, least_after_b);
    }
    if (!group.last) {
      each_row([&](std::size_t row, const auto& a, const auto& b) HWY_ATTR {
        hn::StoreU(hn::BitCast(kFloats, a), kFloats, scratch.row(row) + i);
        hn::StoreU(hn::BitCast(kFloats, b), kFloats, scratch.row(row) + i + lanes);
      });
      continue;
    }
    if constexpr (kKind == Kind::signs) {
      const FloatVector zero = hn::Zero(kFloats);
      count_positive = count_where(hn::Gt(sum_a, zero), count_positive);
      count_positive = count_where(hn::Gt(sum_b, zero), count_positive);
      count_negative = count_where(hn::Lt(sum_a, zero), count_negative);
      count_negative = count_where(hn::Lt(sum_b, zero), count_negative);
      continue;
    }
    const FloatVector merged_a = finish<kKind>(
        rule, base_a, sum_a, positive_a, negative_a, positive_weight_a, negative_weight_a,
        most_before_a, least_before_a, most_after_a, least_after_a, count_positive, count_negative,
        count_cancelled, count_nan, count_before, count_after);
    const FloatVector merged_b = finish<kKind>(
        rule, base_b, sum_b, positive_b, negative_b, positive_weight_b, negative_weight_b,
        most_before_b, least_before_b, most_after_b, least_after_b, count_positive, count_negative,
        count_cancelled, count_nan, count_before, count_after);
    Load::store_two(merged_a, merged_b, merged + i);
  }
  for (std::size_t number = 0; number < tasks; ++number)
    group.tasks[number].kept += kept_count[number];
  TiesCounts counts;
  if (!group.last) return counts;
  counts.positive = total(count_positive);
  counts.negative = total(count_negative);
  if constexpr (kKind == Kind::signs) return counts;
  counts.cancelled = total(count_cancelled);
  counts.conflicts_before_trim = total(count_before);
  counts.conflicts_after_trim = total(count_after);
  // A NaN was kept and has no sign: it is neither untouched nor anything else.
  counts.untouched =
      elements - counts.positive - counts.negative - counts.cancelled - total(count_nan);
  return counts;
}

template <class Load>
TiesCounts merge_as(const TiesRule& rule, bool unit_weights, const TaskGroup& group,
                    TiesScratch& scratch, const std::byte* base, float* merged,
                    std::size_t elements) {
  if (merged == nullptr)
    return merge_group<Load, Kind::signs>(rule, group, scratch, base, merged, elements);
  if (rule.disjoint == Disjoint::max)
    return merge_group<Load, Kind::extremes>(rule, group, scratch, base, merged, elements);
  if (unit_weights && !rule.may_have_nan)
    return merge_group<Load, Kind::unit>(rule, group, scratch, base, merged, elements);
  return merge_group<Load, Kind::any>(rule, group, scratch, base, merged, elements);
}

TiesCounts merge_bf16(const TiesRule& rule, bool unit_weights, const TaskGroup& group,
                      TiesScratch& scratch, const std::byte* base, float* merged,
                      std::size_t elements) {
  return merge_as<LoadBf16>(rule, unit_weights, group, scratch, base, merged, elements);
}

TiesCounts merge_f16(const TiesRule& rule, bool unit_weights, const TaskGroup& group,
                     TiesScratch& scratch, const std::byte* base, float* merged,
                     std::size_t elements) {
  return merge_as<LoadF16>(rule, unit_weights, group, scratch, base, merged, elements);
}

TiesCounts merge_f32(const TiesRule& rule, bool unit_weights, const TaskGroup& group,
                     TiesScratch& scratch, const std::byte* base, float* merged,
                     std::size_t elements) {
  return merge_as<LoadF32>(rule, unit_weights, group, scratch, base, merged, elements);
}

// `elements` is a multiple of whole vectors.
template <class Load>
void move_as(const std::byte* base, float lambda, const float* vector, float* merged,
             std::size_t elements) {
  const FloatVector scale = hn::Set(kFloats, lambda);
  for (std::size_t i = 0; i < elements; i += hn::Lanes(kFloats)) {
    const FloatVector scaled = hn::Mul(scale, hn::LoadU(kFloats, vector + i));
    hn::StoreU(hn::Add(Load::at(base, i), scaled), kFloats, merged + i);
  }
}

void move_bf16(const std::byte* base, float lambda, const float* vector, float* merged,
               std::size_t elements) {
  move_as<LoadBf16>(base, lambda, vector, merged, elements);
}

void move_f16(const std::byte* base, float lambda, const float* vector, float* merged,
              std::size_t elements) {
  move_as<LoadF16>(base, lambda, vector, merged, elements);
}

void move_f32(const std::byte* base, float lambda, const float* vector, float* merged,
              std::size_t elements) {
  move_as<LoadF32>(base, lambda, vector, merged, elements);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mpimerge::kernel
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mpimerge::kernel {
namespace {

HWY_EXPORT(merge_bf16);
HWY_EXPORT(merge_f16);
HWY_EXPORT(merge_f32);
HWY_EXPORT(move_bf16);
HWY_EXPORT(move_f16);
HWY_EXPORT(move_f32);

// Pairs of whole vectors of every processor: 2 × 2,048 bits.
constexpr std::size_t kWhole = 128;

TiesCounts merge_whole(const TiesRule& rule, base::Dtype dtype, const std::byte* base,
                       std::span<TiesTask> tasks, TiesScratch& scratch, float* merged,
                       std::size_t elements) {
  const bool unit_weights = std::all_of(tasks.begin(), tasks.end(),
                                        [](const TiesTask& task) { return task.weight == 1; });
  TiesCounts counts;
  for (std::size_t begin = 0; begin == 0 || begin < tasks.size(); begin += kMostInGroup) {
    const std::size_t size = std::min(kMostInGroup, tasks.size() - begin);
    const TaskGroup group{tasks.subspan(begin, size), begin == 0, begin + size == tasks.size()};
    switch (dtype) {
      case base::Dtype::bf16:
        counts = HWY_DYNAMIC_DISPATCH(merge_bf16)(rule, unit_weights, group, scratch, base, merged,
                                                  elements);
        break;
      case base::Dtype::f16:
        counts = HWY_DYNAMIC_DISPATCH(merge_f16)(rule, unit_weights, group, scratch, base, merged,
                                                 elements);
        break;
      default:
        counts = HWY_DYNAMIC_DISPATCH(merge_f32)(rule, unit_weights, group, scratch, base, merged,
                                                 elements);
    }
  }
  return counts;
}

// Fewer elements than whole vectors: filled up with zeros, of which no task keeps any.
TiesCounts merge_rest(const TiesRule& rule, base::Dtype dtype, const std::byte* base,
                      std::span<TiesTask> tasks, TiesScratch& scratch, float* merged,
                      std::size_t elements) {
  const std::size_t bytes = elements * base::element_bytes(dtype).value();
  using Filled = std::array<std::byte, kWhole * sizeof(float)>;
  Filled filled_base{};
  std::memcpy(filled_base.data(), base, bytes);
  std::vector<Filled> filled(tasks.size());
  std::vector<TiesTask> rest(tasks.begin(), tasks.end());
  for (std::size_t number = 0; number < tasks.size(); ++number) {
    std::memcpy(filled[number].data(), tasks[number].values, bytes);
    rest[number].values = filled[number].data();
  }
  std::array<float, kWhole> filled_merged{};
  TiesCounts counts = merge_whole(rule, dtype, filled_base.data(), rest, scratch,
                                  merged == nullptr ? nullptr : filled_merged.data(), kWhole);
  if (merged != nullptr) {
    counts.untouched -= kWhole - elements;
    std::copy_n(filled_merged.begin(), elements, merged);
  }
  for (std::size_t number = 0; number < tasks.size(); ++number)
    tasks[number].kept = rest[number].kept;
  return counts;
}

// `merged` is null where only signs are counted.
TiesCounts merge_elements(const TiesRule& rule, base::Dtype dtype, const std::byte* base,
                          std::span<TiesTask> tasks, TiesScratch& scratch, float* merged,
                          std::size_t elements) {
  // A threshold of 0 keeps zeros too. They change no sum, so they are only counted: the kernels
  // never keep a zero. A threshold that is a NaN, of many, must not trim the others: each has to
  // reach its sum.
  constexpr std::uint32_t kSmallestMagnitude = 1;
  constexpr std::uint32_t kSmallestNaN = 0x7f800001u;
  std::vector<TiesTask> cut(tasks.begin(), tasks.end());
  for (TiesTask& task : cut)
    task.threshold = std::clamp(task.threshold, kSmallestMagnitude, kSmallestNaN);
  const std::size_t whole = elements / kWhole * kWhole;
  TiesCounts counts;
  if (whole > 0) counts = merge_whole(rule, dtype, base, cut, scratch, merged, whole);
  if (whole < elements) {
    const std::size_t passed = whole * base::element_bytes(dtype).value();
    for (TiesTask& task : cut) task.values += passed;
    counts += merge_rest(rule, dtype, base + passed, cut, scratch,
                         merged == nullptr ? nullptr : merged + whole, elements - whole);
  }
  for (std::size_t number = 0; number < tasks.size(); ++number) {
    tasks[number].kept =
        tasks[number].threshold == 0 ? tasks[number].kept + elements : cut[number].kept;
  }
  return counts;
}

void move_whole(base::Dtype dtype, const std::byte* base, float lambda, const float* vector,
                float* merged, std::size_t elements) {
  switch (dtype) {
    case base::Dtype::bf16:
      return HWY_DYNAMIC_DISPATCH(move_bf16)(base, lambda, vector, merged, elements);
    case base::Dtype::f16:
      return HWY_DYNAMIC_DISPATCH(move_f16)(base, lambda, vector, merged, elements);
    default: return HWY_DYNAMIC_DISPATCH(move_f32)(base, lambda, vector, merged, elements);
  }
}

}  // namespace

TiesCounts& operator+=(TiesCounts& total, const TiesCounts& part) noexcept {
  total.positive += part.positive;
  total.negative += part.negative;
  total.cancelled += part.cancelled;
  total.untouched += part.untouched;
  total.conflicts_before_trim += part.conflicts_before_trim;
  total.conflicts_after_trim += part.conflicts_after_trim;
  return total;
}

TiesScratch::TiesScratch(std::size_t most_elements)
    : elements_(std::max(most_elements, kWhole)), memory_(kRows * elements_) {}

TiesCounts merge_tile(const TiesRule& rule, base::Dtype dtype, std::span<const std::byte> base,
                      std::span<TiesTask> tasks, TiesScratch& scratch, std::span<float> merged) {
  if (merged.empty()) return {};
  return merge_elements(rule, dtype, base.data(), tasks, scratch, merged.data(), merged.size());
}

void move_base(base::Dtype dtype, std::span<const std::byte> base, float lambda,
               std::span<const float> vector, std::span<float> merged) {
  const std::size_t whole = merged.size() / kWhole * kWhole;
  move_whole(dtype, base.data(), lambda, vector.data(), merged.data(), whole);
  const std::size_t rest = merged.size() - whole;
  if (rest == 0) return;
  const std::size_t element = base::element_bytes(dtype).value();
  std::array<std::byte, kWhole * sizeof(float)> filled_base{};
  std::array<float, kWhole> filled{};
  std::memcpy(filled_base.data(), base.data() + whole * element, rest * element);
  std::copy_n(vector.begin() + static_cast<std::ptrdiff_t>(whole), rest, filled.begin());
  move_whole(dtype, filled_base.data(), lambda, filled.data(), filled.data(), kWhole);
  std::copy_n(filled.begin(), rest, merged.begin() + static_cast<std::ptrdiff_t>(whole));
}

std::int64_t count_signs(base::Dtype dtype, std::span<const std::byte> base,
                         std::span<TiesTask> tasks, TiesScratch& scratch) {
  const std::size_t elements = base.size() / base::element_bytes(dtype).value();
  const TiesCounts counts =
      merge_elements({}, dtype, base.data(), tasks, scratch, nullptr, elements);
  return static_cast<std::int64_t>(counts.positive) - static_cast<std::int64_t>(counts.negative);
}

}  // namespace mpimerge::kernel
#endif  // HWY_ONCE
