#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mpimerge/comm/comm.hpp"
#include "mpimerge/kernel/bracket.hpp"

namespace mpimerge::select {

/// Where a sample has the threshold of a task.
struct BracketGuess {
  kernel::Bracket bracket;      ///< in which it lies, almost certainly
  std::uint32_t threshold = 0;  ///< about which it is
};

/// A threshold that is sought.
struct Sought {
  std::size_t task = 0;
  std::uint64_t position = 0;  ///< 1-based from the smallest magnitude; 0: none is sought

  friend bool operator==(const Sought&, const Sought&) = default;
};

/// Guesses from a sample of the magnitudes in which narrow range each task's threshold lies, so
/// that one pass over all of them finds it. A wrong guess costs another pass, never the result.
///
/// The sample is counted by its leading 13 bits (exponent and 5 bits of mantissa). Beside each
/// count stand the sums of the other bits and of their squares: they tell whether all elements of a
/// bin have the same magnitude, as differences of bfloat16 numbers often do.
///
/// The magnitudes in the bracket that are frequent on this rank become its atoms: counted, not
/// listed. They are this rank's own choice, and change no result.
///
/// How far the sample can err is told by how unlike the blocks are that it was taken in: half the
/// mean square of the difference between one block and the next is the variance within a stretch of
/// the model, whatever drifts from its beginning to its end (Cochran, Sampling Techniques, chapter 8).
class BracketSample {
 public:
  /// What one task adds to the Allreduce of `brackets`.
  static constexpr std::uint64_t kBytesPerTask = std::uint64_t{256} << 10;

  /// Local.
  explicit BracketSample(std::size_t tasks);

  /// Local. Adds magnitudes of a task, bits of float32 without sign.
  void add(std::size_t task, std::span<const std::uint32_t> magnitudes);

  /// Local. What was added of every task since the last call is a block of neighbours. Blocks follow
  /// each other as they stand in the model.
  void end_block();

  /// Collective over `comm`. Equal on all ranks, but for the atoms.
  /// @param elements   of a task, over all ranks
  /// @param positions  by task: of the threshold, 1-based from the smallest magnitude
  /// @param blocks     stretches of neighbours that this rank's sample was taken in: neighbours are
  ///                   alike, so where too few blocks were compared (`end_block`), their number says
  ///                   how far the sample can be trusted
  /// Cost: 1 Allreduce of 256 KiB per task.
  std::vector<BracketGuess> brackets(const comm::Comm& comm, std::uint64_t elements,
                                     std::span<const std::uint64_t> positions,
                                     std::uint64_t blocks);
  /// Collective over `comm`. The same for any number of thresholds of each task.
  /// @return one guess for each of `sought`
  std::vector<BracketGuess> brackets(const comm::Comm& comm, std::uint64_t elements,
                                     std::span<const Sought> sought, std::uint64_t blocks);

 private:
  // Elements of one block by bin.
  struct Block {
    std::vector<std::uint32_t> counts;
    std::size_t first = 0;  // bins [first, last) may have some
    std::size_t last = 0;
    std::uint64_t elements = 0;
  };

  // Some of a task's magnitudes, spread over all that were added.
  struct Few {
    std::vector<std::uint32_t> taken;
    std::uint64_t stride = 1;
    std::uint64_t passed = 0;

    void add(std::span<const std::uint32_t> magnitudes);
  };

  std::size_t tasks_;
  /// [tasks × bins × {count, Σ, Σ², Σ difference²}], the blocks, and how often two were compared
  std::vector<std::uint64_t> bins_;
  std::vector<Block> current_;   ///< by task
  std::vector<Block> previous_;  ///< by task
  std::vector<Few> few_;         ///< by task
};

}  // namespace mpimerge::select
