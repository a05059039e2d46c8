#include "mpimerge/plan/plan.hpp"

#include <algorithm>

namespace mpimerge::plan {

ShardMap Plan::shards(std::size_t group) const {
  return {groups[group].elements, groups[group].block, ranks};
}

std::uint64_t Plan::rounds(std::size_t group) const {
  const std::uint64_t longest = shards(group).longest().value();
  const std::uint64_t chunk = groups[group].chunk.value();
  return longest / chunk + (longest % chunk != 0 ? 1 : 0);
}

base::ElementRange Plan::chunk(std::size_t group, std::uint64_t rank, std::uint64_t round) const {
  const base::ElementRange shard = shards(group).shard(rank);
  const base::Elements begin = shard.begin + base::Elements{round * groups[group].chunk.value()};
  return base::intersect(shard, base::ElementRange{begin, begin + groups[group].chunk});
}

bool Plan::merges(std::size_t group) const {
  return std::any_of(tensors.begin() + static_cast<std::ptrdiff_t>(groups[group].first_tensor),
                     tensors.begin() + static_cast<std::ptrdiff_t>(groups[group].last_tensor),
                     [](const Tensor& tensor) { return tensor.role == Role::merge; });
}

std::vector<Segment> segments(const Plan& plan, std::size_t group, base::ElementRange range) {
  std::vector<Segment> parts;
  if (range.empty()) return parts;
  const auto first =
      plan.tensors.begin() + static_cast<std::ptrdiff_t>(plan.groups[group].first_tensor);
  const auto last =
      plan.tensors.begin() + static_cast<std::ptrdiff_t>(plan.groups[group].last_tensor);
  auto tensor = std::partition_point(first, last, [&](const Tensor& candidate) {
    return candidate.offset + candidate.elements <= range.begin;
  });
  for (; tensor != last && tensor->offset < range.end; ++tensor) {
    const auto shared = base::intersect(
        range, base::ElementRange{tensor->offset, tensor->offset + tensor->elements});
    if (shared.empty()) continue;
    parts.push_back({static_cast<std::size_t>(tensor - plan.tensors.begin()),
                     {shared.begin - tensor->offset, shared.end - tensor->offset},
                     shared.begin - range.begin});
  }
  return parts;
}

base::Bytes source_bytes(const Plan& plan, std::size_t source, const Segment& segment) {
  return base::Bytes{segment.elements.count().value() *
                     plan.sources[source].extents[segment.tensor].element_bytes()};
}

base::Bytes read_bytes(const Plan& plan, std::size_t source, const Segment& segment) {
  const Source& from = plan.sources[source];
  switch (from.extents[segment.tensor].origin) {
    case Origin::file: return source_bytes(plan, source, segment);
    case Origin::zeros:
    case Origin::ones: return {};
    case Origin::low_rank: break;
  }
  return base::Bytes{segment.elements.count().value() *
                     base::element_bytes(from.low_ranks.at(segment.tensor).dtype).value()};
}

ShardBytes shard_bytes(const Plan& plan, std::uint64_t rank) {
  ShardBytes total;
  for (std::size_t group = 0; group < plan.groups.size(); ++group) {
    const base::ElementRange shard = plan.shards(group).shard(rank);
    total.written +=
        base::Bytes{shard.count().value() * base::element_bytes(plan.groups[group].dtype).value()};
    for (const Segment& segment : segments(plan, group, shard)) {
      const std::size_t readers =
          plan.tensors[segment.tensor].role == Role::merge ? plan.sources.size() : 1;
      for (std::size_t source = 0; source < readers; ++source)
        total.read += read_bytes(plan, source, segment);
    }
  }
  return total;
}

}  // namespace mpimerge::plan
