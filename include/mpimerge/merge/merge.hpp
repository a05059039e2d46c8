#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "mpimerge/base/index.hpp"
#include "mpimerge/base/words.hpp"
#include "mpimerge/comm/comm.hpp"
#include "mpimerge/job/job.hpp"
#include "mpimerge/kernel/ties.hpp"
#include "mpimerge/merge/block_store.hpp"
#include "mpimerge/merge/statistics.hpp"
#include "mpimerge/plan/pass_state.hpp"
#include "mpimerge/plan/plan.hpp"
#include "mpimerge/plan/read_plan.hpp"

namespace mpimerge::merge {

/// What the trim did to one task.
struct TaskTrim {
  std::uint64_t trim_rank = 0;       ///< n_t
  std::uint32_t threshold_bits = 0;  ///< of the float32 threshold; 0 when all is kept
  std::uint64_t kept = 0;            ///< of all ranks; ties can make it more than trim_rank
};

/// Called now and then within a pass, with the share of it that this rank has done.
using Progress = std::function<void(double share)>;

/// Collective. Runs a part of a pass, which is local, and agrees on how it went: all ranks call it
/// equally often. Between two parts the pass may be saved (Merge::pass_state).
/// @return false: some rank wished to stop, and all leave the pass
/// Errors: AgreedError: that of the part.
using RunPart = std::function<bool(const std::function<void()>& part)>;

/// A look at the inputs before the merge.
struct Step {
  const char* name;      ///< for the log and the summary: "select"
  base::Bytes expected;  ///< that this rank will read
  /// Collective. false: some rank wished to stop.
  std::function<bool(const comm::Comm&, const Progress&, const RunPart&)> run;
};

/// The merge of this rank's shard, whatever the method:
///
///     for each step of merge.steps(traffic): step.run(comm, progress, part);
///     do {
///       for each group and chunk: merge.merge_chunk(group, chunk, out);
///     } while (!merge.settle(comm));
///
/// The points of a sweep are one such merge: of the same inputs, with other parameters each.
///
/// A merge that was interrupted behind its steps goes on in another process: `progress` there,
/// `restore` here, then the chunks that were not merged, by whatever number of ranks. One that was
/// interrupted within a step does so too: `pass_state` and on each rank `put_own` there; here
/// `take_up`, each part of a rank once more by any one rank with `take_own`, and the steps from that
/// one on. The bits are the same at every rank count, chunk size and memory budget.
class Merge {
 public:
  Merge() = default;
  Merge(const Merge&) = delete;
  Merge& operator=(const Merge&) = delete;
  virtual ~Merge() = default;

  /// Local. How many results it has: the points of a sweep, or one.
  [[nodiscard]] virtual std::size_t points() const { return 1; }

  /// Local. What to do before the first chunk, in order.
  /// @param traffic  what this rank reads
  [[nodiscard]] virtual std::vector<Step> steps(const plan::Traffic& traffic) = 0;

  /// Collective over `comm`, after the steps. What another process needs to go on, counts of
  /// everything that was merged included.
  /// @return the same numbers on all ranks, never none; their order is private to `restore`
  [[nodiscard]] virtual std::vector<std::uint64_t> progress(const comm::Comm& comm) const = 0;

  /// Local, on all ranks, instead of the steps.
  /// @param counts  whether what was merged before is still there and counts: true on rank 0 alone,
  ///                or on no rank if all is merged again
  /// @return false: these are not the numbers of such a merge
  [[nodiscard]] virtual bool restore(const std::vector<std::uint64_t>& progress, bool counts) = 0;

  /// Collective over `comm`, between two parts of a step.
  /// @return what all ranks know of it; `looked_at` by this rank, or by others that it speaks for
  [[nodiscard]] virtual plan::PassState pass_state(const comm::Comm& comm) const = 0;

  /// Local. What this rank alone knows of the step in hand.
  virtual void put_own(const base::PutWords& words) const = 0;

  /// Local, on all ranks. Goes on within a step.
  /// @param state  of all ranks
  /// @return false: it is not of such a merge
  [[nodiscard]] virtual bool take_up(const plan::PassState& state) = 0;

  /// Local, after `take_up`, of some rank's `put_own`.
  /// @return false: these are no such numbers
  /// Errors: those of `word`.
  [[nodiscard]] virtual bool take_own(const base::TakeWord& word) = 0;

  /// Local. Merges a chunk, reading what is not resident.
  /// @param out  [points × elements of the chunk × size of one]: in the group's type
  /// Errors: Error{input}: a file that cannot be read, NaN or infinity where that is not allowed.
  virtual void merge_chunk(std::size_t group, base::ElementRange chunk,
                           std::span<std::byte> out) = 0;

  /// Collective over `comm`, after the last chunk.
  /// @return false: every chunk has to be merged again, and this time it is right
  [[nodiscard]] virtual bool settle(const comm::Comm& comm) = 0;

  /// Local. What the trim over the whole model did to each task; empty where there was none.
  [[nodiscard]] virtual std::span<const TaskTrim> trims(std::size_t /*point*/ = 0) const {
    return {};
  }
  /// Local. Signs and conflicts, of all ranks after `settle`; null where they were not counted.
  [[nodiscard]] virtual const kernel::TiesCounts* counts(std::size_t /*point*/ = 0) const {
    return nullptr;
  }

  /// Local. What was seen of each tensor, as the job's `report` asks for, of all ranks after
  /// `settle`: on rank 0, without rows on the others. Null where the job asks for none, and where the
  /// method counts nothing that `basic` tells.
  [[nodiscard]] virtual const Statistics* statistics(std::size_t /*point*/ = 0) const {
    return nullptr;
  }
};

/// Local. Whether the job is the paper's TIES, which has an engine of its own: trimmed over the whole
/// model, signs by mass, disjoint, the same numbers for all tensors.
bool is_ties(const job::Job& job);

/// Local. Which reads the rules of the job ask for, or those of several jobs of the same inputs.
plan::PassOptions pass_options(const plan::Plan& plan, const job::Job& job);
plan::PassOptions pass_options(const plan::Plan& plan, std::span<const job::Job> points);

/// Local. The merge that the jobs ask for: one, or the points of a sweep, which differ in parameters
/// only. Keeps references to all five.
/// @param rows  reads rows that other ranks have a part of; keeps nothing
std::unique_ptr<Merge> make_merge(const plan::Plan& plan, const plan::ReadPlan& reads,
                                  std::span<const job::Job> points, BlockStore& store,
                                  BlockStore& rows);

}  // namespace mpimerge::merge
