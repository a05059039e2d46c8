#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mpimerge/base/words.hpp"
#include "mpimerge/kernel/bracket.hpp"

namespace mpimerge::select {

/// The magnitudes of a task that lie in its bracket, as a multiset of one rank. In a narrow bracket
/// a counter for each magnitude, in pages that are made when a magnitude of theirs occurs (the
/// differences of bfloat16 numbers have few); in a wide one the magnitudes as they come. As long as
/// the memory allows: then only counts of coarse bins are left, and the elements have to be looked
/// at once more.
class BracketContents {
 public:
  /// Bins that any bracket is cut into at most, all of the same width.
  static constexpr std::size_t kBins = std::size_t{1} << 13;

  /// Local. Bits in which the elements of a bin may differ.
  static unsigned bin_shift(const kernel::Bracket& bracket) noexcept;

  /// Local. Empties it and makes it ready for a bracket.
  /// @param memory_left  bytes that all tasks share: taken here and in `add`, given back in `close`
  void open(const kernel::Bracket& bracket, std::uint64_t& memory_left);

  /// Local. Adds magnitudes, all of them inside.
  void add(std::span<const std::uint32_t> magnitudes, std::uint64_t& memory_left);

  /// Local. Adds so many elements of one magnitude, which is inside.
  void add(std::uint32_t magnitude, std::uint64_t times, std::uint64_t& memory_left);

  /// Local. Adds elements of which only the bins are known: from now on all are known so.
  /// @param bins  [kBins] of the bracket
  void add_bins(std::span<const std::uint64_t> bins, std::uint64_t& memory_left);

  /// Local. Gives all memory back.
  void close(std::uint64_t& memory_left);

  /// Local. Whether every magnitude is known, not only its bin.
  [[nodiscard]] bool exact() const noexcept { return bins_.empty(); }

  /// Local. Adds the number of elements in each bin of `bracket`: any bracket within the first if
  /// `exact`, else the first itself.
  /// @param counts  [kBins]
  void count(const kernel::Bracket& bracket, std::span<std::uint64_t> counts) const;

  /// Local. Only if `exact`: the magnitudes within `bracket`, and how often each occurs, as words that
  /// `unpack` takes apart. A magnitude may come more than once.
  void put(const kernel::Bracket& bracket, const base::PutWords& words) const;

  /// A magnitude and how often it occurs.
  struct Entry {
    std::uint32_t magnitude;
    std::uint64_t times;
  };
  /// Local. Any word is one entry; `times` is below kMostTimes.
  static Entry unpack(std::uint64_t word) noexcept;
  static std::uint64_t pack(const Entry& entry) noexcept;
  static constexpr std::uint64_t kMostTimes = std::uint64_t{1} << 33;

 private:
  void list(std::span<const std::uint32_t> magnitudes, std::uint64_t& memory_left);
  void tally(std::span<const std::uint32_t> magnitudes, std::uint64_t& memory_left);
  std::uint32_t& counter(std::uint32_t page, std::uint32_t index);
  void fall_back_to_bins(std::uint64_t& memory_left);
  void count_in_bins(std::span<const std::uint32_t> magnitudes);
  template <class Visit>
  void each(Visit visit) const;

  kernel::Bracket bracket_{};
  // One of three forms.
  std::vector<std::uint32_t> stretches_;  ///< the page of each stretch that occurs
  std::uint32_t pages_ = 0;
  std::vector<std::vector<std::uint32_t>> counters_;  ///< pieces of some pages each
  std::vector<std::uint32_t> carries_;  ///< magnitudes whose counter ran over, each time
  std::vector<std::vector<std::uint32_t>> lists_;
  std::vector<std::uint64_t> bins_;
};

}  // namespace mpimerge::select
