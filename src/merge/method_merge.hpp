#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "mpimerge/job/job.hpp"
#include "mpimerge/merge/merge.hpp"
#include "mpimerge/merge/ties.hpp"
#include "mpimerge/method/method.hpp"

#include "merge/method_tensors.hpp"
#include "merge/side_files.hpp"
#include "merge/sources.hpp"
#include "merge/tally.hpp"
#include "merge/tiles.hpp"

namespace mpimerge::merge {

/// Sums that share an Allreduce: bounds its memory.
inline constexpr std::size_t kSumsPerRound = 4096;

/// Local. What a method is made from. Valid as long as the job and the files.
/// @param files  null where the method is only asked what it needs
method::Setup setup_of(const job::Job& job, method::Files* files);

/// Local. Which reads a method's passes ask for.
plan::PassOptions method_passes(const plan::Plan& plan, const job::Job& job,
                                const method::Method& method);

/// Runs a method::Method over this rank's shard. A tensor that lies in it whole is this rank's own
/// affair; of the others, at most two of each group, the ranks put together what they found.
class MethodMerge final : public Merge {
 public:
  /// Local. Keeps references to all but the method.
  MethodMerge(const plan::Plan& plan, const plan::ReadPlan& reads, const job::Job& job,
              const method::Description& description, BlockStore& store, BlockStore& rows);

  [[nodiscard]] std::vector<Step> steps(const plan::Traffic& traffic) override;
  [[nodiscard]] std::vector<std::uint64_t> progress(const comm::Comm& comm) const override;
  [[nodiscard]] bool restore(const std::vector<std::uint64_t>& progress, bool counts) override;
  [[nodiscard]] plan::PassState pass_state(const comm::Comm& comm) const override;
  void put_own(const base::PutWords& words) const override;
  [[nodiscard]] bool take_up(const plan::PassState& state) override;
  [[nodiscard]] bool take_own(const base::TakeWord& word) override;
  void merge_chunk(std::size_t group, base::ElementRange chunk, std::span<std::byte> out) override;
  [[nodiscard]] bool settle(const comm::Comm& comm) override;
  [[nodiscard]] std::span<const TaskTrim> trims(std::size_t /*point*/ = 0) const override {
    return trims_;
  }
  [[nodiscard]] const Statistics* statistics(std::size_t /*point*/ = 0) const override {
    return statistics_ ? &*statistics_ : nullptr;
  }

 private:
  using TensorSums = std::vector<method::ExactSum>;

  bool look(const comm::Comm& comm, const Progress& progress, const RunPart& part);
  bool look_for_sums(const comm::Comm& comm, const Progress& progress, const RunPart& part);
  bool look_for_model_sums(const comm::Comm& comm, const Progress& progress, const RunPart& part);
  bool trim_over_model(const comm::Comm& comm, const Progress& progress, const RunPart& part);
  template <class Visit>
  bool each_stretch(const Progress& progress, const RunPart& part, Visit visit);
  void add_tile(const BlockData& block, const Stretch& stretch, std::span<method::ExactSum> sums);
  void put_together(const comm::Comm& comm);
  void forget_pass();
  [[nodiscard]] bool is_mine(std::size_t tensor) const;
  [[nodiscard]] std::uint64_t step_of(std::size_t pass) const;

  const plan::Plan& plan_;
  const plan::ReadPlan& reads_;
  const job::Job& job_;
  BlockStore& store_;
  BlockStore& rows_;
  const Sources sources_;
  SideFiles side_files_;
  std::unique_ptr<method::Method> method_;
  MethodTensors tensors_;
  Tiles tiles_;
  std::vector<TaskTrim> trims_;
  std::vector<float> merged_;
  std::optional<Tally> tally_;       // of a job that asks for full statistics
  std::vector<float> merged_block_;  // for it
  std::optional<Statistics> statistics_;

  // The pass in hand.
  std::size_t pass_ = 0;
  plan::Coverage seen_before_;  // by a run before this one
  plan::Coverage seen_;         // by this rank
  // Of tensors whose sums the run before has begun: how many.
  std::map<std::size_t, std::size_t> shared_;
  std::map<std::size_t, TensorSums> sums_;  // of tensors that other ranks have a part of, or had
  std::map<std::size_t, TensorSums> own_sums_;  // of the tensor in hand that is this rank's alone
  TensorSums model_sums_;
  std::unique_ptr<TiesMerge> trim_;  // from its sample on
};

}  // namespace mpimerge::merge
