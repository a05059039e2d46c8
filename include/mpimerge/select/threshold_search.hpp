#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mpimerge/base/index.hpp"
#include "mpimerge/comm/comm.hpp"

namespace mpimerge::select {

/// Finds, for all tasks together, the exact n-th smallest magnitude of a float32 vector that is
/// sharded over the ranks.
///
/// |value| as 31 bits keeps the order of magnitudes, so the answer is found digit by digit: every
/// rank counts its elements by the leading 13 bits (exponent and 5 bits of mantissa), the counts
/// are summed over the ranks, and the digit in which the n-th element lies is fixed; then the next
/// 9 bits among the elements of that digit, then the last 9. Three rounds, whatever the values and
/// however many are equal. The elements that are left after the first digit are few, as a rule:
/// they are kept in the second round, and the third needs no further look at the data.
///
///     ThresholdSearch search(positions, memory);
///     while (!search.done()) {
///       if (search.needs_values())
///         for each task that it wants, for each tile of its shard: search.count(task, values);
///       search.advance(comm);
///     }
///
/// Ties: every element equal to the threshold is at or above it, so the result depends neither on
/// the order of elements nor on the number of ranks. NaN counts as larger than infinity. Cost per
/// task: 2 passes over the local elements, 3 if too many share their leading 13 bits; 64 KiB of
/// memory and what is kept; Allreduce of 64 + 4 + 4 KiB.
class ThresholdSearch {
 public:
  /// Local.
  /// @param positions  equal on all ranks: for each task the 1-based position n from the smallest
  /// magnitude, at
  ///                   most the number of elements of all ranks; 0 asks for nothing, and that
  ///                   threshold is 0
  /// @param memory     for the elements that are kept, all tasks together; this rank's own choice
  explicit ThresholdSearch(const std::vector<std::uint64_t>& positions,
                           base::Bytes memory = kDefaultMemory);

  /// Local. Whether all thresholds are known; equal on all ranks.
  [[nodiscard]] bool done() const noexcept { return round_ == kRounds; }

  /// Local. Whether this rank's elements of this task are wanted in this round.
  [[nodiscard]] bool wants(std::size_t task) const noexcept;

  /// Local. Whether any task's are.
  [[nodiscard]] bool needs_values() const noexcept;

  /// Local. Counts a tile of the task's values in this round. A round that wants them must be given
  /// every element once. Fastest when the tiles of one task follow each other.
  void count(std::size_t task, std::span<const float> values);

  /// Collective over `comm`. Ends a round: one Allreduce for all tasks.
  void advance(const comm::Comm& comm);

  /// Local. Bits of the threshold of each task, equal on all ranks; only when `done`.
  [[nodiscard]] std::vector<std::uint32_t> thresholds() const;

 private:
  static constexpr int kRounds = 3;
  static constexpr base::Bytes kDefaultMemory{std::uint64_t{64} << 20};

  struct State {
    std::uint64_t position = 0;  ///< still to go within the digits fixed so far; 1-based
    std::uint32_t prefix = 0;    ///< digits fixed so far, right-aligned
    std::vector<std::uint32_t>
        left{};  ///< magnitudes that have the first digit, while they are all kept
    bool keeps_left = true;
  };

  void count_first_digit(std::size_t task, std::span<const float> values);
  void count_left(std::size_t task, std::span<const std::uint32_t> magnitudes);
  void keep_left(State& state, std::span<const std::uint32_t> magnitudes);
  void flush_lanes();

  int round_ = 0;
  std::vector<State> states_;
  std::vector<std::uint64_t> counts_;  ///< [tasks × bins of this round]
  std::uint64_t memory_left_;          ///< in elements

  // Counts of the first digit of the task at hand, in several tables in turn: equal values that
  // follow each other would else wait for one another.
  std::size_t lanes_task_ = 0;
  std::uint64_t lanes_elements_ = 0;
  std::vector<std::uint32_t> lanes_;
  std::vector<std::uint32_t> found_;  ///< magnitudes of one tile that have the first digit
};

}  // namespace mpimerge::select
