#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "mpimerge/base/index.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/comm.hpp"
#include "mpimerge/merge/merge.hpp"
#include "mpimerge/output/slab.hpp"
#include "mpimerge/plan/plan.hpp"

#include "app/output_layout.hpp"
#include "app/output_writer.hpp"
#include "app/recovery.hpp"
#include "app/watchdog.hpp"

namespace mpimerge::app {

/// Merges and writes round by round: all ranks together, each its own chunk.
class MergeRounds {
 public:
  /// Local. Keeps references to all but the last.
  /// @param writers   as many for each point of the merge, those of the first point first
  /// @param finished  slabs of the outputs that are not to be made again
  MergeRounds(const comm::Comm& comm, const plan::Plan& plan, merge::Merge& merge,
              std::vector<OutputWriter>& writers, const OutputLayout& file,
              const std::vector<output::Slab>& finished);

  /// Collective. Makes everything that is not finished. Saves when it is time.
  /// @return false: some rank wished to stop, and what was made is saved
  [[nodiscard]] bool run(Recovery& recovery, Watchdog& watchdog, const merge::Progress& progress);

  /// Local. From now on nothing is finished: the next `run` makes all.
  void restart();

  /// Local. Bytes of each output that this rank still has to write.
  [[nodiscard]] base::Bytes to_write() const;
  [[nodiscard]] double merge_seconds() const noexcept { return merge_seconds_; }
  [[nodiscard]] double write_seconds() const noexcept { return write_seconds_; }
  [[nodiscard]] base::Bytes written() const noexcept { return written_; }

 private:
  // A group's work.
  struct Part {
    std::size_t group;
    std::uint64_t rounds;                  // the same on all ranks
    std::vector<base::ElementRange> mine;  // one per round, as long as there are any
  };

  void schedule(const std::vector<output::Slab>& finished);
  comm::Wish merge_round(std::size_t group, base::ElementRange chunk, comm::Wish wish);
  [[nodiscard]] bool is_wanted() const;
  void write_round(std::size_t group, base::Elements begin);

  const comm::Comm& comm_;
  const plan::Plan& plan_;
  merge::Merge& merge_;
  std::vector<OutputWriter>& writers_;
  const OutputLayout& file_;
  std::vector<Part> parts_;
  std::vector<std::byte> out_;  // of all points
  double merge_seconds_ = 0;
  double write_seconds_ = 0;
  base::Bytes written_;
};

}  // namespace mpimerge::app
