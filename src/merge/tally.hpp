#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "mpimerge/comm/comm.hpp"
#include "mpimerge/kernel/statistics.hpp"
#include "mpimerge/kernel/ties.hpp"
#include "mpimerge/merge/allreduces.hpp"
#include "mpimerge/merge/block_store.hpp"
#include "mpimerge/merge/statistics.hpp"
#include "mpimerge/method/exact_sum.hpp"
#include "mpimerge/plan/plan.hpp"

namespace mpimerge::merge {

/// What a rank has counted of each tensor in its shard. Counts are integers, and sums are rounded
/// within units of the plan only, so that all numbers are the same however the model is cut.
///
/// Memory: per tensor of the shard 8 bytes for each task and 48 more; `full` 2 KiB for each task,
/// 192 bytes for each sum (3 for each task, 1 for each pair of tasks, 26), and some more.
class Tally {
 public:
  struct Level {
    bool trims = false;  ///< TIES counts what it keeps and elects
    bool full = false;
    bool merged = false;  ///< `full` also looks at the merged vector
  };

  /// Local. Keeps a reference to the plan.
  Tally(const plan::Plan& plan, std::size_t tasks, Level level);

  [[nodiscard]] const Level& level() const { return level_; }

  /// Local. Adds what TIES counted in a part of a tensor.
  void add(std::size_t tensor, const kernel::TiesCounts& counts,
           std::span<const kernel::TiesTask> tasks);

  /// Local, for level `full`. Looks at a part of a tensor that begins and ends where units of the
  /// plan, or the tensor, begin and end.
  /// @param place   of its first element in the group
  /// @param dtype, base, tasks, merged  as of kernel::StatisticsKernel::add, any number of elements
  void look(std::size_t group, std::size_t tensor, std::uint64_t place, base::Dtype dtype,
            std::span<const std::byte> base, std::span<const kernel::TiesTask> tasks,
            const float* merged);

  /// Local, for level `full`. Looks at all of a block, of which the base is the first source and the
  /// tasks follow; a task that lacks a tensor counts as the base.
  /// @param merged  [elements of the block] f32, or null
  void look(const BlockData& block, const float* merged);

  /// Local. How many numbers `numbers` has.
  [[nodiscard]] std::size_t size() const;
  /// Collective over `comm`. What all ranks counted, for `load` of another process.
  [[nodiscard]] std::vector<std::uint64_t> numbers(const comm::Comm& comm) const;
  /// Local. Adds what `numbers` gave.
  /// @return false: these cannot be such numbers
  [[nodiscard]] bool load(std::span<const std::uint64_t> numbers);

  /// Local. What `numbers` and `finish` reduce.
  [[nodiscard]] Allreduces allreduces() const;

  /// Collective over `comm`. The statistics of all ranks; on rank 0 only, without rows on the
  /// others. Forgets everything.
  [[nodiscard]] Statistics finish(const comm::Comm& comm);

 private:
  // One tensor's.
  struct Row {
    kernel::TiesCounts counts;
    std::vector<std::uint64_t> kept;
    std::vector<std::uint64_t> numbers;  // [layout.counts()]
    std::vector<std::uint32_t> largest;  // [tasks]
    std::vector<method::ExactSum> sums;  // [layout.sums()]

    void add(const Row& other);
  };

  [[nodiscard]] Row empty() const;
  Row& row_of(std::size_t tensor);
  [[nodiscard]] std::size_t merged_tensors() const;
  [[nodiscard]] std::size_t numbers_of_row() const;
  [[nodiscard]] std::size_t rows_per_round() const;
  void store(const Row& row, std::span<std::uint64_t> sums, std::span<std::uint64_t> most) const;
  void load(Row& row, std::span<const std::uint64_t> sums,
            std::span<const std::uint64_t> most) const;
  template <class Visit>
  void each_row_of_all(const comm::Comm& comm, Visit visit) const;
  void weigh(Row& row, std::uint64_t times) const;
  [[nodiscard]] RowStatistics statistics_of(const Row& row, std::uint64_t elements) const;
  [[nodiscard]] VectorStatistics vector_of(const Row& row, std::size_t task,
                                           std::uint64_t elements) const;

  const plan::Plan& plan_;
  std::size_t tasks_;
  Level level_;
  kernel::StatisticsKernel kernel_;
  const kernel::StatisticsLayout layout_;
  std::vector<std::optional<Row>> rows_;  // by tensor of the plan; those of the shard

  // The part in hand.
  std::vector<double> sums_;
  std::vector<float> widened_;
  std::vector<kernel::TiesTask> tile_tasks_;
};

}  // namespace mpimerge::merge
