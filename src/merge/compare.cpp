#include "mpimerge/merge/compare.hpp"

#include "merge/shard_parts.hpp"
#include "merge/tally.hpp"

namespace mpimerge::merge {

Statistics compare(const comm::Comm& comm, const plan::Plan& plan, const plan::ReadPlan& reads,
                   BlockStore& store, const Progress& progress, const RunPart& part) {
  Tally tally(plan, plan.sources.size() - 1, Tally::Level{.full = true});
  const ShardParts parts(plan, reads, store.rank(), {});
  const std::vector<plan::Block>& blocks = parts.blocks;
  std::size_t number = 0;
  for (const std::size_t end : parts.ends) {
    const auto look = [&] {
      for (; number < end; ++number) {
        if (number + kReadAhead < blocks.size()) store.read_ahead(blocks[number + kReadAhead]);
        tally.look(store.load(blocks[number]), nullptr);
        progress(static_cast<double>(number + 1) / static_cast<double>(blocks.size()));
      }
    };
    if (!part(look)) break;
  }
  return tally.finish(comm);
}

}  // namespace mpimerge::merge
