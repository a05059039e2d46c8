#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "mpimerge/base/index.hpp"
#include "mpimerge/base/words.hpp"
#include "mpimerge/comm/comm.hpp"
#include "mpimerge/kernel/bracket.hpp"

namespace mpimerge::select {

/// Finds, for all tasks together, the exact n-th smallest magnitude of a float32 vector that is
/// sharded over the ranks. src/select/README.md tells how, with an example.
///
///     ThresholdSearch search(elements, positions, memory);
///     search.narrow(task, bracket);      // a guess for each task, from BracketSample
///     while (!search.done()) {
///       if (search.needs_values())
///         for each task that it wants, for each tile of its shard:
///           search.add(task, count_bracket(..., search.bracket(task), list), list);
///       search.advance(comm);
///     }
///
/// Ties: every element equal to the threshold is at or above it, so the result depends neither on
/// the order of elements nor on the number of ranks, nor on any guess. NaN counts as larger than
/// infinity.
/// Cost per task: one pass over the local elements; another if what lies in the bracket does not
/// fit the memory (a few MiB for 16-bit models), or if the bracket missed. Allreduce of 64 KiB,
/// twice; once more if the bracket was wide, and three times more if it missed.
class ThresholdSearch {
 public:
  static constexpr base::Bytes kDefaultMemory{std::uint64_t{64} << 20};
  /// What one task sends in a round: its elements above the bracket, and its bins.
  static constexpr std::uint64_t kBytesPerTask = (std::uint64_t{64} << 10) + 8;
  /// Tasks that share an Allreduce: bounds its memory.
  static constexpr std::size_t kTasksPerRound = 32;

  /// Local.
  /// @param elements   of a task, over all ranks
  /// @param positions  equal on all ranks: for each task the 1-based position n from the smallest
  ///                   magnitude, at most `elements`; 0 asks for nothing, and that threshold is 0
  /// @param memory     for what lies in the brackets, all tasks together; this rank's own choice
  /// Errors: std::logic_error: a position beyond the elements.
  ThresholdSearch(std::uint64_t elements, const std::vector<std::uint64_t>& positions,
                  base::Bytes memory = kDefaultMemory);
  /// Local. The same where tasks have unlike numbers of elements: `elements[task]`.
  ThresholdSearch(const std::vector<std::uint64_t>& elements,
                  const std::vector<std::uint64_t>& positions, base::Bytes memory = kDefaultMemory);
  ThresholdSearch(ThresholdSearch&&) noexcept;
  ThresholdSearch& operator=(ThresholdSearch&&) noexcept;
  ~ThresholdSearch();

  /// Local. A first guess where a threshold lies; equal on all ranks, before the first `add`.
  void narrow(std::size_t task, const kernel::Bracket& bracket);

  /// Local. Whether all thresholds are known; equal on all ranks.
  [[nodiscard]] bool done() const noexcept;

  /// Local. Whether this rank's elements of this task are wanted in this round.
  [[nodiscard]] bool wants(std::size_t task) const noexcept;

  /// Local. Whether any task's are.
  [[nodiscard]] bool needs_values() const noexcept;

  /// Local. Where the threshold is sought in this round.
  [[nodiscard]] const kernel::Bracket& bracket(std::size_t task) const noexcept;

  /// Local. Takes what a tile of the task's values has in its bracket. A round that wants them must
  /// be given every element once.
  void add(std::size_t task, const kernel::BracketCount& count,
           std::span<const std::uint32_t> list);

  /// Collective over `comm`. Ends a round.
  void advance(const comm::Comm& comm);

  /// Local. All that this rank holds from earlier rounds goes: it gives all its elements again, of
  /// all tasks that are not found. For a rank that `needs_values` and reads all tasks together: what it
  /// has added in a round is then the same for all of them.
  void look_again();

  /// Local. What all ranks know of a search that is under way, for one in another process.
  [[nodiscard]] std::vector<std::uint64_t> common() const;
  /// Local, on all ranks, of a new search for the same. Goes on where the other was.
  /// @return false: these are no such numbers
  [[nodiscard]] bool take_common(std::span<const std::uint64_t> numbers);

  /// Local. What this rank alone knows: what it has added in this round, or holds of earlier ones.
  void put_own(const base::PutWords& words) const;
  /// Local, after `take_common`, before this round's `add`. Takes over what a rank knew: the elements
  /// that it had seen are not given again. Any rank may take over several.
  /// @return false: these are no such numbers
  /// Errors: those of `word`.
  [[nodiscard]] bool take_own(const base::TakeWord& word);

  /// Local. Bits of the threshold of each task, equal on all ranks; only when `done`.
  [[nodiscard]] std::vector<std::uint32_t> thresholds() const;

 private:
  struct State;

  std::uint64_t memory_left_;  ///< bytes
  std::vector<State> states_;
  std::vector<std::uint64_t> counts_;  ///< of the tasks that share an Allreduce
};

}  // namespace mpimerge::select
