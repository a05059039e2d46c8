#include "mpimerge/kernel/statistics.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

// Highway compiles this file once for every generation of vector units.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/statistics.cpp"
#include <hwy/foreach_target.h>

#include "kernel/elements-inl.hpp"

#ifndef MPIMERGE_KERNEL_STATISTICS_SHARED
#define MPIMERGE_KERNEL_STATISTICS_SHARED
namespace mpimerge::kernel {

/// Rows are filled up with zeros to whole vectors of any processor: 2,048 bits.
inline constexpr std::size_t kPadding = 64;
inline constexpr std::size_t kRow = StatisticsKernel::kMostElements + kPadding;
inline constexpr std::uint32_t kInfinityBits = 0x7f800000u;
/// Bits of 2^-50, without those below a quarter octave.
inline constexpr int kBinShift = 21;
inline constexpr std::int32_t kFirstBin = (127 - 50) * 4;

/// Bits of a counter of tasks' signs; rows of bits that it needs.
inline constexpr std::size_t kCounterBits = 8;
inline constexpr std::size_t kCounterRows = kCounterBits + kMostAgreeing;

/// Signs are kept as rows of bits, an element in each.
inline constexpr std::size_t kBitWords = StatisticsKernel::kMostElements / 64;
using BitRow = std::array<std::uint64_t, kBitWords>;

/// Of one task.
struct SignRows {
  BitRow positive;
  BitRow negative;
  BitRow kept;
};

/// The stretch in hand.
struct Stretch {
  const StatisticsLayout& layout;
  std::uint32_t reachable;  // classes of agreement, a bit each
  std::size_t elements;
  float* rows;
  SignRows* signs;
  std::uint8_t* bins;
  BitRow* classes;  // [kAgreementClasses]: which elements are in each, before the trim
  BitRow* counters;
  std::uint64_t* counts;
  double* sums;

  [[nodiscard]] float* task(std::size_t number) const { return rows + number * kRow; }
  [[nodiscard]] float* merged() const { return task(layout.tasks); }
  [[nodiscard]] float* total() const { return task(layout.tasks + 1); }
  [[nodiscard]] float* base() const { return task(layout.tasks + 2); }
  [[nodiscard]] float* zeros() const { return task(layout.tasks + 3); }
};

}  // namespace mpimerge::kernel
#endif

HWY_BEFORE_NAMESPACE();
namespace mpimerge::kernel {
namespace HWY_NAMESPACE {
namespace {

using FewBytes = hn::Rebind<std::uint8_t, Integers>;
constexpr FewBytes kFewBytes;
using Doubles = hn::CappedTag<double, 8>;
constexpr Doubles kDoubles;
using DoubleVector = hn::Vec<Doubles>;
using FewFloats = hn::Rebind<float, Doubles>;
constexpr FewFloats kFewFloats;

HWY_INLINE std::uint32_t largest_of(IntegerVector magnitudes) {
  HWY_ALIGN std::int32_t parts[HWY_LANES(std::int32_t)];
  hn::Store(magnitudes, kIntegers, parts);
  std::int32_t largest = 0;
  for (std::size_t lane = 0; lane < hn::Lanes(kIntegers); ++lane)
    largest = std::max(largest, parts[lane]);
  return static_cast<std::uint32_t>(largest);
}

// A mask of the elements from i on, to and from a row of bits. Where vectors are short, a byte holds
// several masks.
HWY_INLINE void put_bits(FloatMask mask, std::size_t i, BitRow& row) {
  std::uint8_t* const byte = reinterpret_cast<std::uint8_t*>(row.data()) + i / 8;
  if (hn::Lanes(kFloats) >= 8) {
    hn::StoreMaskBits(kFloats, mask, byte);
    return;
  }
  std::array<std::uint8_t, 8> bits{};
  hn::StoreMaskBits(kFloats, mask, bits.data());
  *byte = static_cast<std::uint8_t>(*byte | bits[0] << i % 8);
}
HWY_INLINE FloatMask get_bits(const BitRow& row, std::size_t i) {
  const std::uint8_t* const byte = reinterpret_cast<const std::uint8_t*>(row.data()) + i / 8;
  if (hn::Lanes(kFloats) >= 8) return hn::LoadMaskBits(kFloats, byte);
  std::array<std::uint8_t, 8> bits{};
  bits[0] = static_cast<std::uint8_t>(*byte >> i % 8);
  return hn::LoadMaskBits(kFloats, bits.data());
}

// Visits a model's values, vector by vector; what is missing in the last one is zero.
template <class Load, class Visit>
HWY_INLINE void each_vector(const Stretch& stretch, const std::byte* values, Visit visit) {
  const std::size_t lanes = hn::Lanes(kFloats);
  std::size_t i = 0;
  for (; i + lanes <= stretch.elements; i += lanes) visit(i, Load::at(values, i));
  if (i == stretch.elements) return;
  std::array<std::byte, sizeof(float) * HWY_LANES(float)> rest{};
  std::memcpy(rest.data(), values + i * Load::kElementBytes,
              (stretch.elements - i) * Load::kElementBytes);
  visit(i, Load::at(rest.data(), 0));
}

template <class Load>
void take_base(const Stretch& stretch, const std::byte* values) {
  float* const row = stretch.base();
  each_vector<Load>(stretch, values, [&](std::size_t i, FloatVector value) HWY_ATTR {
    hn::StoreU(value, kFloats, row + i);
  });
}

// Keeps τ of a task, its signs, and the bins of its magnitudes where these are counted.
template <class Load>
void take_task(const Stretch& stretch, std::size_t number, const std::byte* values,
               std::uint32_t threshold, bool in_detail, std::uint32_t& largest) {
  float* const row = stretch.task(number);
  const float* const base = stretch.base();
  SignRows& signs = stretch.signs[number];
  const IntegerVector below = hn::Set(kIntegers, static_cast<std::int32_t>(threshold) - 1);
  const IntegerVector sign_off = hn::Set(kIntegers, 0x7fffffff);
  const FloatVector zero = hn::Zero(kFloats);
  IntegerVector most = hn::Zero(kIntegers);
  each_vector<Load>(stretch, values, [&](std::size_t i, FloatVector value) HWY_ATTR {
    const FloatVector tau = hn::Sub(value, hn::LoadU(kFloats, base + i));
    hn::StoreU(tau, kFloats, row + i);
    const IntegerVector magnitude = hn::And(hn::BitCast(kIntegers, tau), sign_off);
    most = hn::Max(most, magnitude);
    put_bits(hn::Gt(tau, zero), i, signs.positive);
    put_bits(hn::Lt(tau, zero), i, signs.negative);
    put_bits(hn::RebindMask(kFloats, hn::Gt(magnitude, below)), i, signs.kept);
  });
  largest = std::max(largest, largest_of(most));
  if (!in_detail) return;
  const IntegerVector none = hn::Zero(kIntegers);
  const IntegerVector first = hn::Set(kIntegers, kFirstBin);
  const IntegerVector last = hn::Set(kIntegers, static_cast<std::int32_t>(kMagnitudeBins) - 1);
  for (std::size_t i = 0; i < stretch.elements; i += hn::Lanes(kFloats)) {
    const FloatVector tau = hn::LoadU(kFloats, row + i);
    const IntegerVector magnitude = hn::And(hn::BitCast(kIntegers, tau), sign_off);
    const IntegerVector bin = hn::Sub(hn::ShiftRight<kBinShift>(magnitude), first);
    hn::StoreU(hn::DemoteTo(kFewBytes, hn::Min(hn::Max(bin, none), last)), kFewBytes,
               stretch.bins + i);
  }
}

void take_base_bf16(const Stretch& stretch, const std::byte* values) {
  take_base<LoadBf16>(stretch, values);
}
void take_base_f16(const Stretch& stretch, const std::byte* values) {
  take_base<LoadF16>(stretch, values);
}
void take_base_f32(const Stretch& stretch, const std::byte* values) {
  take_base<LoadF32>(stretch, values);
}
void take_bf16(const Stretch& stretch, std::size_t number, const std::byte* values,
               std::uint32_t threshold, bool in_detail, std::uint32_t& largest) {
  take_task<LoadBf16>(stretch, number, values, threshold, in_detail, largest);
}
void take_f16(const Stretch& stretch, std::size_t number, const std::byte* values,
              std::uint32_t threshold, bool in_detail, std::uint32_t& largest) {
  take_task<LoadF16>(stretch, number, values, threshold, in_detail, largest);
}
void take_f32(const Stretch& stretch, std::size_t number, const std::byte* values,
              std::uint32_t threshold, bool in_detail, std::uint32_t& largest) {
  take_task<LoadF32>(stretch, number, values, threshold, in_detail, largest);
}

std::uint64_t count_bits(const BitRow& row) {
  std::uint64_t count = 0;
  for (const std::uint64_t word : row) count += static_cast<std::uint64_t>(std::popcount(word));
  return count;
}

// Which elements have how many values of a sign: a counter for each, of one bit per row, then a row
// for each number.
class SignCounter {
 public:
  // `rows`: memory for kCounterRows of them.
  SignCounter(BitRow* rows, std::size_t tasks)
      : bits_(rows), equal_(rows + kCounterBits), tasks_(tasks) {
    for (std::size_t bit = 0; bit < bits(); ++bit) bits_[bit] = {};
  }

  void add(const BitRow& row) {
    BitRow carry = row;
    ++added_;
    for (std::size_t bit = 0; bit < static_cast<std::size_t>(std::bit_width(added_)); ++bit) {
      for (std::size_t word = 0; word < kBitWords; ++word) {
        const std::uint64_t before = bits_[bit][word];
        bits_[bit][word] = before ^ carry[word];
        carry[word] &= before;
      }
    }
  }

  // Makes the rows: elements with any; with each number from 1 to all but one.
  void finish() {
    equal_[0] = {};
    for (std::size_t bit = 0; bit < bits(); ++bit) {
      for (std::size_t word = 0; word < kBitWords; ++word) equal_[0][word] |= bits_[bit][word];
    }
    for (std::size_t number = 1; number < tasks_; ++number) {
      BitRow row = equal_[0];
      for (std::size_t bit = 0; bit < bits(); ++bit) {
        const std::uint64_t turn = (number >> bit & 1) != 0 ? 0 : ~std::uint64_t{0};
        for (std::size_t word = 0; word < kBitWords; ++word) row[word] &= bits_[bit][word] ^ turn;
      }
      equal_[number] = row;
    }
  }
  [[nodiscard]] const BitRow& any() const { return equal_[0]; }
  [[nodiscard]] const BitRow& equal(std::size_t number) const { return equal_[number]; }

 private:
  [[nodiscard]] std::size_t bits() const {
    return static_cast<std::size_t>(std::bit_width(tasks_));
  }

  BitRow* bits_;
  BitRow* equal_;
  std::size_t tasks_;
  std::size_t added_ = 0;
};

// Elements by class of agreement; leaves their rows in `classes`.
void classify(const Stretch& stretch, const SignCounter& positive, const SignCounter& negative,
              BitRow* classes, std::uint64_t* counts) {
  constexpr std::size_t kNone = kAgreementClasses - 1;
  constexpr std::size_t kAll = kNone - 1;  // values of one sign only
  const std::size_t tasks = stretch.layout.tasks;
  for (std::size_t of = 0; of < kAll; ++of) classes[of] = {};
  for (std::size_t word = 0; word < kBitWords; ++word) {
    classes[kAll][word] = positive.any()[word] ^ negative.any()[word];
    classes[kNone][word] = ~(positive.any()[word] | negative.any()[word]);
  }
  for (std::size_t above = 1; above < tasks; ++above) {
    for (std::size_t below = 1; above + below <= tasks; ++below) {
      const std::size_t nonzero = above + below;
      const std::size_t apart = above > below ? above - below : below - above;
      BitRow& row = classes[10 * apart / nonzero];
      const BitRow& a = positive.equal(above);
      const BitRow& b = negative.equal(below);
      for (std::size_t word = 0; word < kBitWords; ++word) row[word] |= a[word] & b[word];
    }
  }
  std::uint64_t known = 0;
  for (std::size_t of = 0; of < kNone; ++of) {
    if ((stretch.reachable >> of & 1) == 0) continue;
    const std::uint64_t count = count_bits(classes[of]);
    counts[of] += count;
    known += count;
  }
  counts[kNone] += stretch.elements - known;
}

void count_signs(const Stretch& stretch) {
  const StatisticsLayout& layout = stretch.layout;
  BitRow positive{};
  BitRow negative{};
  BitRow kept_positive{};
  BitRow kept_negative{};
  BitRow row;
  for (std::size_t task = 0; task < layout.tasks; ++task) {
    const SignRows& signs = stretch.signs[task];
    for (std::size_t word = 0; word < kBitWords; ++word) {
      positive[word] |= signs.positive[word];
      negative[word] |= signs.negative[word];
      kept_positive[word] |= signs.positive[word] & signs.kept[word];
      kept_negative[word] |= signs.negative[word] & signs.kept[word];
    }
    const auto count = [&](auto bits) {
      for (std::size_t word = 0; word < kBitWords; ++word) row[word] = bits(word);
      return count_bits(row);
    };
    stretch.counts[layout.nonzero(task)] +=
        count([&](std::size_t word) { return signs.positive[word] | signs.negative[word]; });
    stretch.counts[layout.conflicts_before(task)] +=
        count([&](std::size_t word) { return positive[word] & negative[word]; });
    stretch.counts[layout.conflicts_after(task)] +=
        count([&](std::size_t word) { return kept_positive[word] & kept_negative[word]; });
    for (std::size_t other = task + 1; other < layout.paired(); ++other) {
      const SignRows& others = stretch.signs[other];
      const std::size_t pair = layout.pair(task, other);
      stretch.counts[layout.same_sign(pair)] += count([&](std::size_t word) {
        return (signs.positive[word] & others.positive[word]) |
               (signs.negative[word] & others.negative[word]);
      });
      stretch.counts[layout.both_nonzero(pair)] += count([&](std::size_t word) {
        return (signs.positive[word] | signs.negative[word]) &
               (others.positive[word] | others.negative[word]);
      });
    }
  }
}

// Agreement before the trim and after it.
void count_agreement(const Stretch& stretch) {
  const StatisticsLayout& layout = stretch.layout;
  SignCounter positive(stretch.counters, layout.tasks);
  SignCounter negative(stretch.counters + kCounterRows, layout.tasks);
  const auto classify_as = [&](BitRow* classes, std::uint64_t* counts) {
    positive.finish();
    negative.finish();
    classify(stretch, positive, negative, classes, counts);
  };
  for (std::size_t task = 0; task < layout.tasks; ++task) {
    positive.add(stretch.signs[task].positive);
    negative.add(stretch.signs[task].negative);
  }
  classify_as(stretch.classes, stretch.counts + layout.agreement_before(0));
  positive = SignCounter(stretch.counters, layout.tasks);
  negative = SignCounter(stretch.counters + kCounterRows, layout.tasks);
  BitRow row;
  for (std::size_t task = 0; task < layout.tasks; ++task) {
    const SignRows& signs = stretch.signs[task];
    for (std::size_t word = 0; word < kBitWords; ++word)
      row[word] = signs.positive[word] & signs.kept[word];
    positive.add(row);
    for (std::size_t word = 0; word < kBitWords; ++word)
      row[word] = signs.negative[word] & signs.kept[word];
    negative.add(row);
  }
  std::array<BitRow, kAgreementClasses> classes;
  classify_as(classes.data(), stretch.counts + layout.agreement_after(0));
}

// Eight doubles, an element in the lane of its place modulo eight: whatever the processor's vectors
// are, lanes and their order are the same. Shorter vectors pass over the rows several times, each time
// over other elements. Rows end in zeros. A product of two float32 is exact, so that fused
// multiply-add changes nothing.
using Lanes = std::array<double, 8>;

HWY_INLINE double sum_of(const Lanes& lanes) {
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
         ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

HWY_INLINE DoubleVector load_doubles(const float* from) {
  return hn::PromoteTo(kDoubles, hn::LoadU(kFewFloats, from));
}

HWY_INLINE void add_kept(DoubleVector cut, DoubleVector size, DoubleVector x, DoubleVector& kept) {
  kept = hn::IfThenElse(hn::Ge(size, cut), hn::MulAdd(x, x, kept), kept);
}

// Four tasks, some of which may be a row of zeros: magnitudes, squares, what is kept of these, and
// products of each two.
struct FourSums {
  std::array<Lanes, 4> magnitude;
  std::array<Lanes, 4> square;
  std::array<Lanes, 4> kept;
  std::array<Lanes, 6> product;  // 01 02 03 12 13 23
};

void sum_four(const std::array<const float*, 4>& rows, const std::array<double, 4>& thresholds,
              std::size_t elements, FourSums& sums) {
  const DoubleVector cut_a = hn::Set(kDoubles, thresholds[0]);
  const DoubleVector cut_b = hn::Set(kDoubles, thresholds[1]);
  const DoubleVector cut_c = hn::Set(kDoubles, thresholds[2]);
  const DoubleVector cut_d = hn::Set(kDoubles, thresholds[3]);
  for (std::size_t part = 0; part < 8; part += hn::Lanes(kDoubles)) {
    const DoubleVector zero = hn::Zero(kDoubles);
    DoubleVector size_a = zero, size_b = zero, size_c = zero, size_d = zero;
    DoubleVector aa = zero, bb = zero, cc = zero, dd = zero;
    DoubleVector kept_a = zero, kept_b = zero, kept_c = zero, kept_d = zero;
    DoubleVector ab = zero, ac = zero, ad = zero, bc = zero, bd = zero, cd = zero;
    for (std::size_t i = part; i < elements; i += 8) {
      const DoubleVector a = load_doubles(rows[0] + i);
      const DoubleVector b = load_doubles(rows[1] + i);
      const DoubleVector c = load_doubles(rows[2] + i);
      const DoubleVector d = load_doubles(rows[3] + i);
      const DoubleVector of_a = hn::Abs(a);
      const DoubleVector of_b = hn::Abs(b);
      const DoubleVector of_c = hn::Abs(c);
      const DoubleVector of_d = hn::Abs(d);
      size_a = hn::Add(size_a, of_a);
      size_b = hn::Add(size_b, of_b);
      size_c = hn::Add(size_c, of_c);
      size_d = hn::Add(size_d, of_d);
      aa = hn::MulAdd(a, a, aa);
      bb = hn::MulAdd(b, b, bb);
      cc = hn::MulAdd(c, c, cc);
      dd = hn::MulAdd(d, d, dd);
      add_kept(cut_a, of_a, a, kept_a);
      add_kept(cut_b, of_b, b, kept_b);
      add_kept(cut_c, of_c, c, kept_c);
      add_kept(cut_d, of_d, d, kept_d);
      ab = hn::MulAdd(a, b, ab);
      ac = hn::MulAdd(a, c, ac);
      ad = hn::MulAdd(a, d, ad);
      bc = hn::MulAdd(b, c, bc);
      bd = hn::MulAdd(b, d, bd);
      cd = hn::MulAdd(c, d, cd);
    }
    const auto put = [part](DoubleVector vector, Lanes& lanes)
                         HWY_ATTR { hn::StoreU(vector, kDoubles, lanes.data() + part); };
    put(size_a, sums.magnitude[0]);
    put(size_b, sums.magnitude[1]);
    put(size_c, sums.magnitude[2]);
    put(size_d, sums.magnitude[3]);
    put(aa, sums.square[0]);
    put(bb, sums.square[1]);
    put(cc, sums.square[2]);
    put(dd, sums.square[3]);
    put(kept_a, sums.kept[0]);
    put(kept_b, sums.kept[1]);
    put(kept_c, sums.kept[2]);
    put(kept_d, sums.kept[3]);
    put(ab, sums.product[0]);
    put(ac, sums.product[1]);
    put(ad, sums.product[2]);
    put(bc, sums.product[3]);
    put(bd, sums.product[4]);
    put(cd, sums.product[5]);
  }
}

// Products of a task with each of four others.
void multiply_four(const float* one, const std::array<const float*, 4>& rows, std::size_t elements,
                   std::array<Lanes, 4>& products) {
  for (std::size_t part = 0; part < 8; part += hn::Lanes(kDoubles)) {
    const DoubleVector zero = hn::Zero(kDoubles);
    DoubleVector a = zero, b = zero, c = zero, d = zero;
    for (std::size_t i = part; i < elements; i += 8) {
      const DoubleVector x = load_doubles(one + i);
      a = hn::MulAdd(x, load_doubles(rows[0] + i), a);
      b = hn::MulAdd(x, load_doubles(rows[1] + i), b);
      c = hn::MulAdd(x, load_doubles(rows[2] + i), c);
      d = hn::MulAdd(x, load_doubles(rows[3] + i), d);
    }
    hn::StoreU(a, kDoubles, products[0].data() + part);
    hn::StoreU(b, kDoubles, products[1].data() + part);
    hn::StoreU(c, kDoubles, products[2].data() + part);
    hn::StoreU(d, kDoubles, products[3].data() + part);
  }
}

double sum_squares(const float* row, std::size_t elements) {
  Lanes lanes;
  for (std::size_t part = 0; part < 8; part += hn::Lanes(kDoubles)) {
    DoubleVector sum = hn::Zero(kDoubles);
    for (std::size_t i = part; i < elements; i += 8) {
      const DoubleVector x = load_doubles(row + i);
      sum = hn::MulAdd(x, x, sum);
    }
    hn::StoreU(sum, kDoubles, lanes.data() + part);
  }
  return sum_of(lanes);
}

void sum_tasks(const Stretch& stretch, std::span<const TiesTask> tasks) {
  const StatisticsLayout& layout = stretch.layout;
  const auto rows = [&](std::size_t first) {
    std::array<const float*, 4> four{};
    for (std::size_t k = 0; k < 4; ++k)
      four[k] = first + k < layout.tasks ? stretch.task(first + k) : stretch.zeros();
    return four;
  };
  for (std::size_t first = 0; first < layout.tasks; first += 4) {
    const std::size_t size = std::min<std::size_t>(4, layout.tasks - first);
    std::array<double, 4> thresholds{};
    for (std::size_t k = 0; k < size; ++k)
      thresholds[k] = static_cast<double>(std::bit_cast<float>(tasks[first + k].threshold));
    FourSums four;
    sum_four(rows(first), thresholds, stretch.elements, four);
    for (std::size_t k = 0; k < size; ++k) {
      stretch.sums[layout.magnitude(first + k)] = sum_of(four.magnitude[k]);
      stretch.sums[layout.square(first + k)] = sum_of(four.square[k]);
      stretch.sums[layout.kept_square(first + k)] = sum_of(four.kept[k]);
    }
    std::size_t product = 0;
    for (std::size_t a = first; a < first + 4; ++a) {
      for (std::size_t b = a + 1; b < first + 4; ++b, ++product) {
        if (b < layout.paired())
          stretch.sums[layout.product(layout.pair(a, b))] = sum_of(four.product[product]);
      }
    }
    for (std::size_t second = first + 4; second < layout.paired(); second += 4) {
      for (std::size_t a = first; a < first + 4; ++a) {
        std::array<Lanes, 4> products;
        multiply_four(stretch.task(a), rows(second), stretch.elements, products);
        for (std::size_t b = 0; b < 4 && second + b < layout.paired(); ++b)
          stretch.sums[layout.product(layout.pair(a, second + b))] = sum_of(products[b]);
      }
    }
  }
}

// merged − base, in float32.
void take_merged(const Stretch& stretch, const std::byte* merged) {
  float* const row = stretch.merged();
  const float* const base = stretch.base();
  each_vector<LoadF32>(stretch, merged, [&](std::size_t i, FloatVector value) HWY_ATTR {
    hn::StoreU(hn::Sub(value, hn::LoadU(kFloats, base + i)), kFloats, row + i);
  });
}

// All task vectors, from left to right.
void sum_total(const Stretch& stretch) {
  float* const total = stretch.total();
  const std::size_t lanes = hn::Lanes(kFloats);
  for (std::size_t i = 0; i < stretch.elements; i += lanes) {
    FloatVector sum = hn::Zero(kFloats);
    for (std::size_t task = 0; task < stretch.layout.tasks; ++task)
      sum = hn::Add(sum, hn::LoadU(kFloats, stretch.task(task) + i));
    hn::StoreU(sum, kFloats, total + i);
  }
}

// Magnitudes of a row by class. They are added as whole numbers of 20 bits, in a unit that the
// largest of them gives, so that their order makes no difference.
void sum_by_class(const Stretch& stretch, float* row, double* by_class) {
  constexpr int kBits = 20;
  const std::size_t lanes = hn::Lanes(kFloats);
  IntegerVector most = hn::Zero(kIntegers);
  const IntegerVector sign_off = hn::Set(kIntegers, 0x7fffffff);
  for (std::size_t i = 0; i < stretch.elements; i += lanes) {
    const FloatVector value = hn::LoadU(kFloats, row + i);
    most = hn::Max(most, hn::And(hn::BitCast(kIntegers, value), sign_off));
  }
  const std::uint32_t largest = largest_of(most);
  if (largest == 0) return;
  if (largest >= kInfinityBits) {
    std::fill_n(by_class, kAgreementClasses, std::numeric_limits<double>::quiet_NaN());
    return;
  }
  // 2^shift times the largest is below 2^20. The factor of the smallest is no float32: two are.
  const int shift = kBits - 1 - std::ilogb(std::bit_cast<float>(largest));
  const int half = shift / 2;
  const FloatVector once = hn::Set(kFloats, std::ldexp(1.0F, half));
  const FloatVector twice = hn::Set(kFloats, std::ldexp(1.0F, shift - half));
  auto* const whole = reinterpret_cast<std::int32_t*>(row);
  for (std::size_t i = 0; i < stretch.elements; i += lanes) {
    const FloatVector value = hn::Abs(hn::LoadU(kFloats, row + i));
    hn::StoreU(hn::NearestInt(hn::Mul(hn::Mul(value, once), twice)), kIntegers, whole + i);
  }
  for (std::size_t of = 0; of < kAgreementClasses; ++of) {
    if ((stretch.reachable >> of & 1) == 0) continue;
    const BitRow& elements = stretch.classes[of];
    IntegerVector sum = hn::Zero(kIntegers);
    for (std::size_t i = 0; i < stretch.elements; i += lanes) {
      const auto mask = hn::RebindMask(kIntegers, get_bits(elements, i));
      sum = hn::Add(sum, hn::IfThenElseZero(mask, hn::LoadU(kIntegers, whole + i)));
    }
    HWY_ALIGN std::int32_t parts[HWY_LANES(std::int32_t)];
    hn::Store(sum, kIntegers, parts);
    std::int64_t all = 0;
    for (std::size_t lane = 0; lane < lanes; ++lane) all += parts[lane];
    by_class[of] = std::ldexp(static_cast<double>(all), -shift);
  }
}

// Of squares and products, where there are those of all tasks.
double square_of_total(const Stretch& stretch) {
  const StatisticsLayout& layout = stretch.layout;
  if (layout.paired() < layout.tasks) return sum_squares(stretch.total(), stretch.elements);
  double sum = 0;
  for (std::size_t task = 0; task < layout.tasks; ++task) sum += stretch.sums[layout.square(task)];
  for (std::size_t pair = 0; pair < layout.pairs(); ++pair)
    sum += 2 * stretch.sums[layout.product(pair)];
  return std::max(sum, 0.0);
}

void sum_all(const Stretch& stretch, std::span<const TiesTask> tasks, bool has_merged,
             bool in_detail) {
  const StatisticsLayout& layout = stretch.layout;
  count_signs(stretch);
  if (layout.tasks <= kMostAgreeing) count_agreement(stretch);
  sum_tasks(stretch, tasks);
  if (in_detail || layout.paired() < layout.tasks) sum_total(stretch);
  stretch.sums[layout.total_square()] = square_of_total(stretch);
  if (has_merged)
    stretch.sums[layout.merged_square()] = sum_squares(stretch.merged(), stretch.elements);
  if (!in_detail) return;
  std::uint64_t known = 0;
  for (std::size_t of = 0; of + 1 < kAgreementClasses; ++of) {
    const std::uint64_t count = count_bits(stretch.classes[of]);
    stretch.counts[layout.detailed(of)] += count;
    known += count;
  }
  stretch.counts[layout.detailed(kAgreementClasses - 1)] += stretch.elements - known;
  sum_by_class(stretch, stretch.total(), stretch.sums + layout.total_magnitude(0));
  if (has_merged)
    sum_by_class(stretch, stretch.merged(), stretch.sums + layout.merged_magnitude(0));
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mpimerge::kernel
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mpimerge::kernel {
namespace {

HWY_EXPORT(take_bf16);
HWY_EXPORT(take_f16);
HWY_EXPORT(take_f32);
HWY_EXPORT(take_base_bf16);
HWY_EXPORT(take_base_f16);
HWY_EXPORT(take_base_f32);
HWY_EXPORT(take_merged);
HWY_EXPORT(sum_all);

// In four places at a time: neighbours are often equal, and a counter that was just written is slow to
// read.
void count_bins(const std::uint8_t* bins, std::size_t elements, std::uint64_t* counts) {
  std::array<std::array<std::uint32_t, kMagnitudeBins>, 4> parts{};
  std::size_t i = 0;
  for (; i + 4 <= elements; i += 4) {
    for (std::size_t part = 0; part < 4; ++part) ++parts[part][bins[i + part]];
  }
  for (; i < elements; ++i) ++parts[0][bins[i]];
  for (std::size_t bin = 0; bin < kMagnitudeBins; ++bin)
    counts[bin] += std::uint64_t{parts[0][bin]} + parts[1][bin] + parts[2][bin] + parts[3][bin];
}

// The classes that differences of so many signs can fall into.
std::uint32_t reachable_classes(std::size_t tasks) {
  std::uint32_t classes = std::uint32_t{1} << (kAgreementClasses - 1) | 1u;
  for (std::size_t nonzero = 1; nonzero <= std::min(tasks, kMostAgreeing); ++nonzero) {
    for (std::size_t apart = nonzero % 2; apart <= nonzero; apart += 2)
      classes |= std::uint32_t{1} << (10 * apart / nonzero);
  }
  return classes;
}

}  // namespace

double magnitude_bin_begin(std::size_t bin) {
  if (bin == 0) return 0;
  const auto bits = static_cast<std::uint32_t>(kFirstBin + static_cast<std::int32_t>(bin));
  return static_cast<double>(std::bit_cast<float>(bits << kBinShift));
}

StatisticsKernel::StatisticsKernel(std::size_t tasks)
    : layout_{tasks},
      reachable_(reachable_classes(tasks)),
      rows_((tasks + 4) * kRow),
      signs_(tasks * sizeof(SignRows) / sizeof(std::uint64_t)),
      bins_(kRow),
      classes_(kAgreementClasses * kBitWords),
      counters_(2 * kCounterRows * kBitWords) {
  // Without counters of agreement all elements are in the last class.
  std::fill(classes_.end() - kBitWords, classes_.end(), ~std::uint64_t{0});
}

void StatisticsKernel::add(base::Dtype dtype, std::span<const std::byte> base,
                           std::span<const TiesTask> tasks, const float* merged, bool in_detail,
                           std::span<std::uint64_t> counts, std::span<std::uint32_t> largest,
                           std::span<double> sums) {
  const std::size_t elements = base.size() / base::element_bytes(dtype).value();
  // As in merge_tile: zeros are never kept, and a threshold that is NaN trims no NaN.
  constexpr std::uint32_t kSmallestMagnitude = 1;
  constexpr std::uint32_t kSmallestNaN = 0x7f800001u;
  const Stretch stretch{layout_,
                        reachable_,
                        elements,
                        rows_.data(),
                        reinterpret_cast<SignRows*>(signs_.data()),
                        bins_.data(),
                        reinterpret_cast<BitRow*>(classes_.data()),
                        reinterpret_cast<BitRow*>(counters_.data()),
                        counts.data(),
                        sums.data()};
  std::ranges::fill(sums, 0.0);
  // Behind the last element everything is zero, whatever stood there before.
  const std::size_t filled = (elements + kPadding - 1) / kPadding * kPadding;
  for (std::size_t row = 0; row < layout_.tasks + 3; ++row)
    std::fill(rows_.data() + row * kRow + elements, rows_.data() + row * kRow + filled, 0.0F);
  switch (dtype) {
    case base::Dtype::bf16: HWY_DYNAMIC_DISPATCH(take_base_bf16)(stretch, base.data()); break;
    case base::Dtype::f16: HWY_DYNAMIC_DISPATCH(take_base_f16)(stretch, base.data()); break;
    default: HWY_DYNAMIC_DISPATCH(take_base_f32)(stretch, base.data());
  }
  for (std::size_t task = 0; task < layout_.tasks; ++task) {
    stretch.signs[task] = {};
    const std::byte* const values = tasks[task].values;
    const std::uint32_t cut = std::clamp(tasks[task].threshold, kSmallestMagnitude, kSmallestNaN);
    switch (dtype) {
      case base::Dtype::bf16:
        HWY_DYNAMIC_DISPATCH(take_bf16)(stretch, task, values, cut, in_detail, largest[task]);
        break;
      case base::Dtype::f16:
        HWY_DYNAMIC_DISPATCH(take_f16)(stretch, task, values, cut, in_detail, largest[task]);
        break;
      default: HWY_DYNAMIC_DISPATCH(take_f32)(stretch, task, values, cut, in_detail, largest[task]);
    }
    if (in_detail) count_bins(bins_.data(), elements, counts.data() + layout_.bin(task, 0));
  }
  if (merged != nullptr)
    HWY_DYNAMIC_DISPATCH(take_merged)(stretch, reinterpret_cast<const std::byte*>(merged));
  HWY_DYNAMIC_DISPATCH(sum_all)(stretch, tasks, merged != nullptr, in_detail);
}

}  // namespace mpimerge::kernel
#endif  // HWY_ONCE
