#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/comm.hpp"
#include "mpimerge/job/job.hpp"
#include "mpimerge/kernel/ties.hpp"
#include "mpimerge/merge/block_store.hpp"
#include "mpimerge/plan/plan.hpp"
#include "mpimerge/plan/read_plan.hpp"
#include "mpimerge/select/threshold_search.hpp"

namespace mpimerge::merge {

/// What the trim did to one task.
struct TaskTrim {
  std::uint64_t trim_rank = 0;       ///< n_t
  std::uint32_t threshold_bits = 0;  ///< of the float32 threshold; 0 when all is kept
  std::uint64_t kept = 0;            ///< of all ranks; ties can make it more than trim_rank
};

/// Called now and then within a pass, with the share of it that this rank has done.
using Progress = std::function<void(double share)>;

/// Asked now and then within a pass: what this rank wishes that all do next.
using AskWish = std::function<comm::Wish()>;

/// Local. Which reads the rules of the job ask for.
plan::PassOptions pass_options(const plan::Plan& plan, const job::Job& job);

/// TIES-Merging of this rank's shard: trim over the whole model, elect signs, disjoint merge.
///
///     TiesMerge ties(plan, reads, job, store);
///     ties.sample(comm);
///     ties.guess_sign(comm);
///     ties.select(comm, progress, wish);
///     do {
///       for each group and chunk: ties.merge_chunk(group, chunk, out);
///     } while (!ties.settle(comm));
///
/// A merge that was interrupted behind `select` goes on in another process: `progress` there,
/// `restore` here, then the chunks that were not merged, by whatever number of ranks.
///
/// The same bits at every rank count, chunk size and memory budget: thresholds and the majority
/// sign are exact counts over the model, everything else is element by element in job order.
/// Source: TIES-Merging, Yadav et al., NeurIPS 2023, section 3, and the authors' code.
class TiesMerge {
 public:
  /// Local. Keeps references to all four.
  TiesMerge(const plan::Plan& plan, const plan::ReadPlan& reads, const job::Job& job,
            BlockStore& store);

  /// Collective over `comm`. Brackets every threshold by a sample of the parameters, so that
  /// `select` finds it in one pass.
  /// Cost: up to 256 short reads per rank and model; 1 Allreduce of 192 KiB per task.
  /// Errors: AgreedError{input}: a file that cannot be read.
  void sample(const comm::Comm& comm);

  /// Collective over `comm`, after `sample`. Guesses from the same places which sign is elected more
  /// often: exactly cancelling sums take it, and only the merge itself knows it for certain. Nothing
  /// to do when the job asks for `sign_tie: positive`.
  void guess_sign(const comm::Comm& comm);

  /// Collective over `comm`. The exact threshold of every task over the whole model; checks every
  /// value on the way unless NaN is allowed. Where the sample could not tell the majority sign, all
  /// signs are counted on the way too, with the sample's thresholds.
  /// Cost: 1 pass over the shard, seldom 2; 2 Allreduce of 64 KiB per task, seldom 3 or more.
  /// @return false: some rank wished to stop; nothing was selected
  /// Errors: AgreedError{input}: a file that cannot be read; NaN or infinity, with model, tensor
  /// and index.
  [[nodiscard]] bool select(const comm::Comm& comm, const Progress& progress, const AskWish& wish);

  /// Collective over `comm`, after `select`. What another process needs to go on: thresholds, sign,
  /// and the counts of everything that was merged, by this process or before.
  /// @return the same numbers on all ranks; their order is private to `restore`
  [[nodiscard]] std::vector<std::uint64_t> progress(const comm::Comm& comm) const;

  /// Local, on all ranks, instead of `sample`, `guess_sign` and `select`.
  /// @param counts  whether what was merged before is still there and counts: true on rank 0 alone,
  ///                or on no rank if all is merged again
  /// @return false: these are not the numbers of such a merge
  [[nodiscard]] bool restore(const std::vector<std::uint64_t>& progress, bool counts);

  /// Local. Merges a chunk, reading what is not resident.
  /// @param out  [elements of the chunk × size of one]: in the group's type
  /// Errors: Error{input}: a file that cannot be read.
  void merge_chunk(std::size_t group, base::ElementRange chunk, std::span<std::byte> out);

  /// Collective over `comm`. After the last chunk: sums the counts of all ranks.
  /// @return false: cancelling sums took the wrong sign; every chunk has to be merged again, and
  ///         this time it is right
  [[nodiscard]] bool settle(const comm::Comm& comm);

  /// Local. What happened; of all ranks after `settle`.
  [[nodiscard]] const std::vector<TaskTrim>& tasks() const noexcept { return trims_; }
  [[nodiscard]] const kernel::TiesCounts& counts() const noexcept { return counts_; }

 private:
  // A part of a segment that fits the first-level cache.
  struct Tile {
    std::size_t segment;
    std::size_t begin;  // in the segment
    std::size_t elements;
  };

  template <class Visit>
  void each_tile(const BlockData& block, Visit visit);
  [[nodiscard]] bool look_at_shard(const comm::Comm& comm, const Progress& progress,
                                   const AskWish& wish);
  [[nodiscard]] std::vector<std::uint64_t> counts_of_all(const comm::Comm& comm) const;
  void take_counts(std::span<const std::uint64_t> numbers);
  void sample_brackets(const comm::Comm& comm, const std::vector<plan::Block>& blocks,
                       std::size_t first_task, std::size_t last_task);
  void select_tile(const BlockData& block, const Tile& tile);
  kernel::BracketCount count_bracket(const BlockData& block, const Tile& tile, std::size_t task,
                                     const kernel::Bracket& bracket);
  // A tile's base, in a type that its tasks have too.
  struct Shared {
    base::Dtype dtype;
    std::span<const std::byte> base;
  };

  Shared share(const BlockData& block, const Tile& tile);
  void merge_tile(const BlockData& block, const Tile& tile);
  std::int64_t tile_signs(const BlockData& block, const Tile& tile);
  void merge_block(const BlockData& block, base::Elements chunk_begin, std::span<std::byte> out);
  [[nodiscard]] base::Dtype dtype_of(const BlockData& block, const Tile& tile,
                                     std::size_t source) const;
  [[nodiscard]] std::span<const std::byte> raw(const BlockData& block, const Tile& tile,
                                               std::size_t source) const;
  std::span<float> widen(const BlockData& block, const Tile& tile, std::size_t source,
                         std::vector<float>& to) const;
  [[noreturn]] void refuse_non_finite(const BlockData& block, const Tile& tile, std::size_t task);

  const plan::Plan& plan_;
  const plan::ReadPlan& reads_;
  const job::Job& job_;
  BlockStore& store_;
  plan::PassOptions passes_;
  bool check_values_;
  kernel::TiesRule rule_;
  select::ThresholdSearch search_;
  std::vector<TaskTrim> trims_;
  kernel::TiesCounts counts_;
  bool final_sign_;            // of cancelled sums: not a guess any more
  bool counts_signs_ = false;  // `select` has to, for a better guess
  std::int64_t signs_ = 0;     // positive ones less negative ones of this rank

  std::vector<float> base_tile_;
  std::vector<float> merged_tile_;
  std::vector<float> task_tiles_;  // [tasks × tile], where tasks are widened before they are merged
  std::vector<std::uint32_t> list_;
  std::vector<kernel::TiesTask> tile_tasks_;
  kernel::TiesScratch scratch_;
};

}  // namespace mpimerge::merge
