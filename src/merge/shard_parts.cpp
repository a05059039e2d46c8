#include "merge/shard_parts.hpp"

namespace mpimerge::merge {
namespace {

constexpr std::uint64_t kRoundsPerPart = 4;

}  // namespace

ShardParts::ShardParts(const plan::Plan& plan, const plan::ReadPlan& reads, std::uint64_t rank,
                       const plan::Coverage& seen) {
  std::uint64_t rounds = 0;
  for (std::size_t group = 0; group < plan.groups.size(); ++group) {
    if (!plan.merges(group)) continue;
    for (std::uint64_t round = 0; round < plan.rounds(group); ++round) {
      for (const plan::Block& block : plan::blocks(reads, group, plan.chunk(group, rank, round))) {
        if (!seen.covers(group, block.range)) blocks.push_back(block);
      }
      if (++rounds % kRoundsPerPart == 0) ends.push_back(blocks.size());
    }
  }
  ends.push_back(blocks.size());
}

std::uint64_t ShardParts::count(const plan::Plan& plan) {
  std::uint64_t rounds = 0;
  for (std::size_t group = 0; group < plan.groups.size(); ++group)
    rounds += plan.merges(group) ? plan.rounds(group) : 0;
  return rounds / kRoundsPerPart + 1;
}

}  // namespace mpimerge::merge
