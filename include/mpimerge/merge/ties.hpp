#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mpimerge/comm/comm.hpp"
#include "mpimerge/job/job.hpp"
#include "mpimerge/kernel/ties.hpp"
#include "mpimerge/merge/block_store.hpp"
#include "mpimerge/merge/merge.hpp"
#include "mpimerge/plan/plan.hpp"
#include "mpimerge/plan/read_plan.hpp"
#include "mpimerge/select/bracket_sample.hpp"
#include "mpimerge/select/threshold_search.hpp"

namespace mpimerge::merge {

class Tally;

/// Local. Which reads the paper's TIES asks for, with any of these parameters.
plan::PassOptions ties_passes(const plan::Plan& plan, std::span<const job::Job> points);

/// TIES-Merging of this rank's shard: trim over the whole model, elect signs, disjoint merge.
///
/// Several jobs that differ in density, weight and λ only share all reads: one pass finds the
/// thresholds of all of them, and one merges. What λ alone tells apart is trimmed and elected once.
/// Each result has the bits of a merge of its own.
///
/// The same bits at every rank count, chunk size and memory budget: thresholds and the majority
/// sign are exact counts over the model, everything else is element by element in job order.
/// Source: TIES-Merging, Yadav et al., NeurIPS 2023, section 3, and the authors' code.
class TiesMerge final : public Merge {
 public:
  /// Local. Keeps references to all four.
  TiesMerge(const plan::Plan& plan, const plan::ReadPlan& reads, const job::Job& job,
            BlockStore& store)
      : TiesMerge(plan, reads, std::span(&job, 1), store) {}
  /// Local. The same for the points of a sweep, in their order.
  TiesMerge(const plan::Plan& plan, const plan::ReadPlan& reads, std::span<const job::Job> points,
            BlockStore& store);

  ~TiesMerge() override;

  [[nodiscard]] std::size_t points() const override { return points_.size(); }
  [[nodiscard]] std::vector<Step> steps(const plan::Traffic& traffic) override;
  /// The one of `steps` that is saved in the middle.
  static constexpr std::uint64_t kSelectStep = 2;

  /// Collective over `comm`. Brackets every threshold by a sample of the parameters, so that
  /// `select` finds it in one pass.
  /// Cost: up to 256 short reads per rank and model; 1 Allreduce of 256 KiB per task.
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
  /// @return false: some rank wished to stop; what was seen is in `pass_state` and `put_own`
  /// Errors: AgreedError{input}: a file that cannot be read; NaN or infinity, with model, tensor
  /// and index.
  [[nodiscard]] bool select(const comm::Comm& comm, const Progress& progress, const RunPart& part);

  [[nodiscard]] plan::PassState pass_state(const comm::Comm& comm) const override;
  void put_own(const base::PutWords& words) const override;
  [[nodiscard]] bool take_up(const plan::PassState& state) override;
  [[nodiscard]] bool take_own(const base::TakeWord& word) override;

  [[nodiscard]] std::vector<std::uint64_t> progress(const comm::Comm& comm) const override;
  [[nodiscard]] bool restore(const std::vector<std::uint64_t>& progress, bool counts) override;
  void merge_chunk(std::size_t group, base::ElementRange chunk, std::span<std::byte> out) override;
  /// Collective over `comm`. Sums the counts of all ranks; asks for another merge where cancelling
  /// sums took the wrong sign.
  [[nodiscard]] bool settle(const comm::Comm& comm) override;

  [[nodiscard]] std::span<const TaskTrim> trims(std::size_t point = 0) const override {
    return elections_[points_[point].election].trims;
  }
  [[nodiscard]] const kernel::TiesCounts* counts(std::size_t point = 0) const override {
    return &elections_[points_[point].election].totals;
  }
  [[nodiscard]] const Statistics* statistics(std::size_t point = 0) const override {
    const auto& of = elections_[points_[point].election].statistics;
    return of ? &*of : nullptr;
  }

 private:
  // What is trimmed and elected, with densities and weights of its own.
  struct Election {
    std::vector<std::size_t> sought;  // by task: of sought_
    std::vector<float> weights;       // by task
    std::vector<TaskTrim> trims;      // by task
    kernel::TiesRule rule;
    kernel::TiesCounts counts;             // of this rank, so far
    std::vector<std::uint64_t> kept;       // by task: likewise
    kernel::TiesCounts totals;             // of all ranks, after `settle`
    bool final_sign = true;                // of cancelled sums: not a guess any more
    bool counts_signs = false;             // `select` has to, for a better guess
    std::int64_t signs = 0;                // positive ones less negative ones of this rank
    std::vector<std::size_t> points;       // that differ in λ only
    std::unique_ptr<Tally> tally;          // tensor by tensor; null where none is asked for
    std::optional<Statistics> statistics;  // of all ranks, after `settle`
  };
  struct Point {
    std::size_t election;
    float lambda;
  };

  // A part of a segment that fits the first-level cache.
  struct Tile {
    std::size_t segment;
    std::size_t begin;  // in the segment
    std::size_t elements;
  };

  template <class Visit>
  void each_tile(const BlockData& block, base::ElementRange within, Visit visit);
  [[nodiscard]] bool look_at_shard(const Progress& progress, const RunPart& part);
  void look_again(const comm::Comm& comm);
  void add_point(const job::Job& job, bool is_only);
  [[nodiscard]] std::vector<std::uint64_t> counts_of_all(const comm::Comm& comm) const;
  static bool has_right_sign(Election& election);
  std::vector<std::uint32_t> sample_brackets(const comm::Comm& comm,
                                             const std::vector<plan::Block>& blocks,
                                             std::size_t first_task, std::size_t last_task);
  void take_thresholds(std::span<const std::uint32_t> bits);
  void settle_guesses(const comm::Comm& comm);
  void select_tile(const BlockData& block, const Tile& tile);
  kernel::BracketCount count_bracket(const BlockData& block, const Tile& tile, std::size_t task,
                                     const kernel::Bracket& bracket);
  // A tile's base, in a type that its tasks have too.
  struct Shared {
    base::Dtype dtype;
    std::span<const std::byte> base;
  };

  Shared share(const BlockData& block, const Tile& tile);
  void prepare(const Election& election);
  void elect_tile(Election& election, const BlockData& block, const Tile& tile,
                  const Shared& shared, std::span<float> merged);
  std::int64_t tile_signs(const Shared& shared, const Election& election);
  void merge_block(const BlockData& block, base::Elements chunk_begin, std::span<std::byte> out);
  [[nodiscard]] std::uint64_t place_of(const BlockData& block, const Tile& tile) const;
  [[nodiscard]] base::Dtype dtype_of(const BlockData& block, const Tile& tile,
                                     std::size_t source) const;
  [[nodiscard]] std::span<const std::byte> raw(const BlockData& block, const Tile& tile,
                                               std::size_t source) const;
  std::span<float> widen(const BlockData& block, const Tile& tile, std::size_t source,
                         std::vector<float>& to) const;
  [[noreturn]] void refuse_non_finite(const BlockData& block, const Tile& tile, std::size_t task);

  const plan::Plan& plan_;
  const plan::ReadPlan& reads_;
  BlockStore& store_;
  plan::PassOptions passes_;
  bool check_values_;
  std::size_t tasks_;
  std::vector<Election> elections_;
  std::vector<Point> points_;
  std::vector<select::Sought> sought_;     // by task; what elections share is sought once
  std::vector<std::size_t> first_sought_;  // by task, and the end
  select::ThresholdSearch search_;
  // In the look in hand: by a run before this one; by this rank, or held by it from the look before.
  plan::Coverage seen_before_;
  plan::Coverage seen_;

  std::vector<float> base_tile_;
  std::vector<float> merged_tile_;
  std::vector<float> moved_tile_;
  std::vector<float> task_tiles_;  // [tasks × tile], where tasks are widened before they are merged
  std::vector<std::uint32_t> list_;
  std::vector<kernel::TiesTask> tile_tasks_;
  kernel::TiesScratch scratch_;
};

}  // namespace mpimerge::merge
