#include "mpimerge/plan/unfinished.hpp"

#include <algorithm>

namespace mpimerge::plan {

Unfinished::Unfinished(const Plan& plan, std::size_t group,
                       std::vector<base::ElementRange> finished)
    : chunk_(plan.groups[group].chunk), ranks_(plan.ranks), shards_({}, base::Elements{1}, 1) {
  std::sort(finished.begin(), finished.end(),
            [](const auto& a, const auto& b) { return a.begin < b.begin; });
  base::Elements done;
  const auto leave = [&](base::Elements end) {
    if (end <= done) return;
    gaps_.push_back({{done, end}, left_});
    left_ += end - done;
  };
  for (const base::ElementRange& range : finished) {
    leave(range.begin);
    done = std::max(done, range.end);
  }
  leave(plan.groups[group].elements);
  shards_ = ShardMap(left_, plan.groups[group].block, ranks_);
}

// The parts of gaps that a rank has.
template <class Visit>
void Unfinished::each_part(std::uint64_t rank, Visit visit) const {
  const base::ElementRange mine = shards_.shard(rank);
  auto gap = std::partition_point(gaps_.begin(), gaps_.end(), [&](const Gap& candidate) {
    return candidate.before + candidate.range.count() <= mine.begin;
  });
  for (; gap != gaps_.end() && gap->before < mine.end; ++gap) {
    const base::ElementRange part =
        base::intersect(mine, base::ElementRange{gap->before, gap->before + gap->range.count()});
    const base::Elements begin = gap->range.begin + (part.begin - gap->before);
    if (!part.empty()) visit(base::ElementRange{begin, begin + part.count()});
  }
}

std::vector<base::ElementRange> Unfinished::chunks(std::uint64_t rank) const {
  std::vector<base::ElementRange> list;
  each_part(rank, [&](base::ElementRange part) {
    for (; !part.empty(); part.begin = list.back().end)
      list.push_back({part.begin, std::min(part.begin + chunk_, part.end)});
  });
  return list;
}

std::uint64_t Unfinished::rounds() const {
  std::uint64_t most = 0;
  for (std::uint64_t rank = 0; rank < ranks_; ++rank) {
    std::uint64_t count = 0;
    each_part(rank, [&](base::ElementRange part) {
      count += (part.count().value() + chunk_.value() - 1) / chunk_.value();
    });
    most = std::max(most, count);
  }
  return most;
}

}  // namespace mpimerge::plan
