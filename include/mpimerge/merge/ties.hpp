#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "mpimerge/comm/comm.hpp"
#include "mpimerge/job/job.hpp"
#include "mpimerge/kernel/ties.hpp"
#include "mpimerge/merge/chunk_store.hpp"
#include "mpimerge/plan/plan.hpp"

namespace mpimerge::merge {

/// What the trim did to one task.
struct TaskTrim {
  std::uint64_t trim_rank = 0;       ///< n_t
  std::uint32_t threshold_bits = 0;  ///< of the float32 threshold; 0 when all is kept
  std::uint64_t kept = 0;            ///< of all ranks; ties can make it more than trim_rank
};

/// Called now and then within a pass, with the share of it that this rank has done.
using Progress = std::function<void(double share)>;

/// TIES-Merging of this rank's shard: trim over the whole model, elect signs, disjoint merge.
///
///     TiesMerge ties(plan, job, store);
///     ties.select(comm);
///     ties.elect(comm);
///     for each group and round: ties.merge_chunk(store.load(group, round), out);
///     ties.reduce(comm);
///
/// The same bits at every rank count, chunk size and memory budget: thresholds and the majority
/// sign are exact counts over the model, everything else is element by element in job order.
/// Source: TIES-Merging, Yadav et al., NeurIPS 2023, section 3, and the authors' code.
class TiesMerge {
 public:
  /// Local. Keeps references to all three.
  TiesMerge(const plan::Plan& plan, const job::Job& job, ChunkStore& store);

  /// Collective over `comm`. The exact threshold of every task over the whole model; checks every
  /// value on the way unless NaN is allowed.
  /// Cost: 2 passes over the shard, seldom 3; 3 Allreduce, 72 KiB per task.
  /// Errors: AgreedError{input}: a file that cannot be read; NaN or infinity, with model, tensor
  /// and index.
  void select(const comm::Comm& comm, const Progress& progress);

  /// Collective over `comm`. The sign that exactly cancelling sums take: that of the majority of
  /// elected signs over the model. Nothing to do, and no pass, when the job asks for `sign_tie:
  /// positive`.
  /// Cost: 1 pass over the shard, 1 Allreduce of two numbers.
  void elect(const comm::Comm& comm, const Progress& progress);

  /// Local. The output bytes of a chunk, in the group's type.
  /// @param out  [elements of the chunk × size of one]
  void merge_chunk(const ChunkData& chunk, std::span<std::byte> out);

  /// Collective over `comm`. Sums the counts of all ranks; after the last chunk.
  void reduce(const comm::Comm& comm);

  /// Local. What happened; of all ranks after `reduce`.
  [[nodiscard]] const std::vector<TaskTrim>& tasks() const noexcept { return trims_; }
  [[nodiscard]] const kernel::TiesCounts& counts() const noexcept { return counts_; }

 private:
  /// A part of a segment that fits the first-level cache, its base values widened.
  struct Tile {
    std::size_t segment;
    std::size_t begin;  ///< in the segment
    std::span<float> base;
  };

  void each_merged_chunk(const Progress& progress,
                         const std::function<void(const ChunkData&)>& visit);
  template <class Visit>
  void each_tile(const ChunkData& chunk, Visit visit);
  void widen(const ChunkData& chunk, std::size_t segment, std::size_t source, std::size_t begin,
             std::span<float> to) const;
  std::span<const float> task_vector(const ChunkData& chunk, const Tile& tile, std::size_t task);
  void add_all_tasks(const ChunkData& chunk, const Tile& tile, bool count_kept);
  [[noreturn]] void refuse_non_finite(const ChunkData& chunk, const Tile& tile, std::size_t task,
                                      std::size_t element) const;

  const plan::Plan& plan_;
  const job::Job& job_;
  ChunkStore& store_;
  kernel::Disjoint disjoint_;
  bool check_values_;
  int cancelled_sign_ = 1;
  std::vector<TaskTrim> trims_;
  kernel::TiesCounts counts_;

  kernel::TiesTile tile_;
  std::vector<float> base_tile_;
  std::vector<float> task_tile_;
};

}  // namespace mpimerge::merge
