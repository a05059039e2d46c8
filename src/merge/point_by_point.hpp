#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "mpimerge/merge/merge.hpp"

namespace mpimerge::merge {

/// Several merges of the same inputs, each by itself but for the reading: a block that one of them
/// has merged is there for the others.
class PointByPoint final : public Merge {
 public:
  /// Local. Keeps references to all but the merges.
  PointByPoint(const plan::Plan& plan, const plan::ReadPlan& reads,
               std::vector<std::unique_ptr<Merge>> merges, BlockStore& store);

  [[nodiscard]] std::size_t points() const override { return merges_.size(); }
  /// The first step of each merge is the first one here, and so on.
  [[nodiscard]] std::vector<Step> steps(const plan::Traffic& traffic) override;
  [[nodiscard]] std::vector<std::uint64_t> progress(const comm::Comm& comm) const override;
  [[nodiscard]] bool restore(const std::vector<std::uint64_t>& progress, bool counts) override;
  /// Nothing: the steps of one that is gone on with begin anew.
  [[nodiscard]] plan::PassState pass_state(const comm::Comm& comm) const override;
  void put_own(const base::PutWords& words) const override;
  [[nodiscard]] bool take_up(const plan::PassState& state) override;
  [[nodiscard]] bool take_own(const base::TakeWord& word) override;
  void merge_chunk(std::size_t group, base::ElementRange chunk, std::span<std::byte> out) override;
  [[nodiscard]] bool settle(const comm::Comm& comm) override;

  [[nodiscard]] std::span<const TaskTrim> trims(std::size_t point = 0) const override {
    return merges_[point]->trims();
  }
  [[nodiscard]] const kernel::TiesCounts* counts(std::size_t point = 0) const override {
    return merges_[point]->counts();
  }
  [[nodiscard]] const Statistics* statistics(std::size_t point = 0) const override {
    return merges_[point]->statistics();
  }

 private:
  const plan::Plan& plan_;
  const plan::ReadPlan& reads_;
  std::vector<std::unique_ptr<Merge>> merges_;
  BlockStore& store_;
};

}  // namespace mpimerge::merge
