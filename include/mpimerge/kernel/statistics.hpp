#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/kernel/ties.hpp"

namespace mpimerge::kernel {

/// Magnitudes are counted in bins of a quarter octave: [2^e, 1.25·2^e), [1.25·2^e, 1.5·2^e), ...
/// from 2^-50 on; the first bin has all that is smaller, zeros included, the last all from 1.75·2^13
/// on.
inline constexpr std::size_t kMagnitudeBins = 256;

/// Local. Where a bin begins; 0 for the first. The end of the last is that of its quarter octave.
double magnitude_bin_begin(std::size_t bin);

/// How far the signs of an element's task values agree, |positive − negative| / non-zero, is counted
/// in classes: [0, 0.1), [0.1, 0.2), ..., [0.9, 1), exactly 1, and one of elements that are zero in
/// all tasks.
inline constexpr std::size_t kAgreementClasses = 12;
/// Signs are counted in 8 bits: of more tasks, agreement is not.
inline constexpr std::size_t kMostAgreeing = 255;
/// Pairs are looked at among the first tasks only: their number grows with its square.
inline constexpr std::size_t kMostPaired = 16;

/// What is known of the task vectors of some elements, and where in three rows of numbers it stands.
struct StatisticsLayout {
  std::size_t tasks = 0;

  [[nodiscard]] std::size_t paired() const { return tasks < kMostPaired ? tasks : kMostPaired; }
  [[nodiscard]] std::size_t pairs() const { return paired() * (paired() - (paired() > 0)) / 2; }
  /// Of tasks a < b < paired(): (0,1), (0,2), ..., (1,2), ...
  [[nodiscard]] std::size_t pair(std::size_t a, std::size_t b) const {
    return a * (2 * paired() - a - 1) / 2 + (b - a - 1);
  }

  // Counts of elements.
  [[nodiscard]] std::size_t nonzero(std::size_t task) const { return task; }
  /// With values of both signs among tasks 0 to `task`, before the trim.
  [[nodiscard]] std::size_t conflicts_before(std::size_t task) const { return tasks + task; }
  [[nodiscard]] std::size_t conflicts_after(std::size_t task) const { return 2 * tasks + task; }
  [[nodiscard]] std::size_t agreement_before(std::size_t of_class) const {
    return 3 * tasks + of_class;
  }
  [[nodiscard]] std::size_t agreement_after(std::size_t of_class) const {
    return agreement_before(kAgreementClasses) + of_class;
  }
  /// Where two tasks have the same sign; where neither is zero.
  [[nodiscard]] std::size_t same_sign(std::size_t pair) const {
    return agreement_after(kAgreementClasses) + pair;
  }
  [[nodiscard]] std::size_t both_nonzero(std::size_t pair) const {
    return same_sign(pairs()) + pair;
  }
  /// Elements that were looked at in detail, by class of agreement before the trim.
  [[nodiscard]] std::size_t detailed(std::size_t of_class) const {
    return both_nonzero(pairs()) + of_class;
  }
  [[nodiscard]] std::size_t bin(std::size_t task, std::size_t number) const {
    return detailed(kAgreementClasses) + task * kMagnitudeBins + number;
  }
  [[nodiscard]] std::size_t counts() const { return bin(tasks, 0); }

  // Sums over elements.
  [[nodiscard]] std::size_t magnitude(std::size_t task) const { return task; }
  [[nodiscard]] std::size_t square(std::size_t task) const { return tasks + task; }
  [[nodiscard]] std::size_t kept_square(std::size_t task) const { return 2 * tasks + task; }
  [[nodiscard]] std::size_t product(std::size_t pair) const { return 3 * tasks + pair; }
  /// Of merged − base, and of the sum of all task vectors: squares, and magnitudes by class of
  /// agreement before the trim.
  [[nodiscard]] std::size_t merged_square() const { return product(pairs()); }
  [[nodiscard]] std::size_t total_square() const { return merged_square() + 1; }
  [[nodiscard]] std::size_t merged_magnitude(std::size_t of_class) const {
    return total_square() + 1 + of_class;
  }
  [[nodiscard]] std::size_t total_magnitude(std::size_t of_class) const {
    return merged_magnitude(kAgreementClasses) + of_class;
  }
  [[nodiscard]] std::size_t sums() const { return total_magnitude(kAgreementClasses); }
};

/// Counts and sums over stretches of elements.
class StatisticsKernel {
 public:
  /// Elements of a stretch, at most.
  static constexpr std::size_t kMostElements = 1024;

  explicit StatisticsKernel(std::size_t tasks);

  /// Local. Looks at a stretch: all tasks, element by element.
  ///
  /// @param dtype   of the base's and every task's values: F32, BF16 or F16
  /// @param base    of at most kMostElements elements, any alignment
  /// @param tasks   in job order; only `values` and `threshold` are looked at
  /// @param merged  [elements] f32; null: there is no merged vector
  /// @param in_detail  whether magnitudes are counted in their bins and summed by class
  /// @param counts  [layout.counts()] grow
  /// @param largest [tasks] bits of the largest magnitudes; grow
  /// @param sums    [layout.sums()] of this stretch: doubles, added in lanes of the elements' places
  ///                in it and in a fixed order, so that every processor gives the same bits
  /// Magnitudes by class are added as whole multiples of 2^-20 of the stretch's largest, or less.
  /// All other products are exact, and sums in double.
  void add(base::Dtype dtype, std::span<const std::byte> base, std::span<const TiesTask> tasks,
           const float* merged, bool in_detail, std::span<std::uint64_t> counts,
           std::span<std::uint32_t> largest, std::span<double> sums);

  [[nodiscard]] const StatisticsLayout& layout() const { return layout_; }

 private:
  StatisticsLayout layout_;
  std::uint32_t reachable_;             // classes of agreement, a bit each
  std::vector<float> rows_;             // [tasks + 4][row]: τ, merged − base, Σ τ, base, zeros
  std::vector<std::uint64_t> signs_;    // rows of bits: of each task
  std::vector<std::uint8_t> bins_;      // [row]
  std::vector<std::uint64_t> classes_;  // rows of bits, by class of agreement
  std::vector<std::uint64_t> counters_;  // rows of bits, to count signs
};

}  // namespace mpimerge::kernel
