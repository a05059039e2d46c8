#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "mpimerge/comm/comm.hpp"
#include "mpimerge/kernel/bracket.hpp"
#include "mpimerge/merge/merge.hpp"
#include "mpimerge/method/method.hpp"
#include "mpimerge/plan/read_plan.hpp"
#include "mpimerge/select/bracket_sample.hpp"
#include "mpimerge/select/threshold_search.hpp"

#include "merge/method_tensors.hpp"
#include "merge/shard_parts.hpp"
#include "merge/sources.hpp"
#include "merge/tiles.hpp"

namespace mpimerge::merge {

/// Tensors of up to so many elements are listed as they are: a sample would cost as much.
inline constexpr std::uint64_t kSampledTensor = 16384;

/// Local. Whether anything is looked for.
[[nodiscard]] bool looks_for_any(const std::vector<method::Method::Rank>& ranks);

/// Local. What a sample takes of the part of a tensor that one rank has, in the group; nothing of a
/// tensor that is not sampled. With Grain::row the rest of the rows comes along.
std::vector<base::ElementRange> sample_places(const plan::Plan& plan, std::size_t number,
                                              base::ElementRange part, method::Grain grain);

/// What a pass of a method works with: the engine's own.
struct MethodParts {
  const plan::Plan& plan;
  const plan::ReadPlan& reads;
  const Sources& sources;
  BlockStore& store;
  BlockStore& rows;  ///< reads what is not in a block; keeps nothing
  method::Method& method;
  MethodTensors& tensors;
  Tiles& tiles;
};

/// The order statistics of one pass of a method: of tensors that this rank has whole by itself, of
/// the others together with those who have the rest. Each is found as the thresholds of TIES are:
/// a sample brackets it, one look counts, and the few elements inside decide.
class TensorRanks {
 public:
  /// Local. Keeps references to all but the number.
  /// @param known  tensors that lie in it need not be looked at
  /// @param seen   grows by the tensors that are done
  TensorRanks(const MethodParts& parts, std::size_t pass, const plan::Coverage& known,
              plan::Coverage& seen);

  /// Collective over `comm`. Tells the method what was found, for each tensor that it asked for.
  /// Cost: one look at this rank's tensors, seldom more; Allreduces of what TIES needs for a task,
  /// for each statistic of tensors that several ranks share: at most two a rank.
  /// @return false: some rank wished to stop
  [[nodiscard]] bool run(const comm::Comm& comm, const Progress& progress, const RunPart& part);

 private:
  using Rank = method::Method::Rank;
  struct Shared {
    std::size_t tensor;
    std::vector<Rank> ranks;
    std::size_t first;  // of its ranks in the search
  };

  void list_tensors();
  [[nodiscard]] std::pair<std::size_t, base::ElementRange> part_of(std::size_t number) const;
  kernel::BracketCount count(const BlockData& block, const Stretch& stretch, const Rank& rank,
                             const kernel::Bracket& bracket);
  void look(std::size_t number, const std::vector<Rank>& ranks, std::size_t first,
            select::ThresholdSearch& search);
  const BlockData& load(const plan::Block& block);
  std::uint64_t sample(std::size_t number, const std::vector<Rank>& ranks,
                       select::BracketSample& sample);
  void narrow(const comm::Comm& comm, std::size_t number, const std::vector<Rank>& ranks,
              std::size_t first, select::ThresholdSearch& search);
  void learn(std::size_t number, std::span<const std::uint32_t> bits);
  bool rank_shared(const comm::Comm& comm, const RunPart& part);
  void rank_own(const comm::Comm& alone, std::size_t number);

  MethodParts parts_;
  std::size_t pass_;
  const plan::Coverage& known_;
  plan::Coverage& seen_;
  ShardParts shard_;
  std::vector<std::size_t> own_;
  std::vector<Shared> shared_;
  plan::Block at_;
  const BlockData* loaded_ = nullptr;
  const method::Tile* tile_ = nullptr;  // of the stretch in hand, once it is asked for
  bool has_values_ = false;             // values_ are the method's of this tile
  std::vector<std::uint32_t> list_;
  std::vector<float> values_;
  std::vector<float> zeros_;
};

}  // namespace mpimerge::merge
