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

std::size_t output_tensors(const Plan& plan) {
  return static_cast<std::size_t>(std::ranges::count(plan.tensors, false, &Tensor::is_rest));
}

std::vector<MosaicRead> mosaic_reads(const Mosaic& mosaic, base::ElementRange range) {
  std::vector<MosaicRead> reads;
  for (std::size_t number = 0; number < mosaic.parts.size(); ++number) {
    const Mosaic::Part& part = mosaic.parts[number];
    const std::uint64_t length = part.last - part.first;
    // Elements of the part before that of the tensor.
    const auto before = [&](base::Elements element) {
      const std::uint64_t row = element.value() / mosaic.columns;
      if (!mosaic.is_side_by_side) {
        return base::Elements{
            std::clamp(element.value(), part.first * mosaic.columns, part.last * mosaic.columns) -
            part.first * mosaic.columns};
      }
      const std::uint64_t column = element.value() % mosaic.columns;
      return base::Elements{row * length + std::clamp(column, part.first, part.last) - part.first};
    };
    const base::ElementRange elements{before(range.begin), before(range.end)};
    if (!elements.empty()) reads.push_back({number, elements});
  }
  return reads;
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
  const auto changed = [&](base::Dtype dtype) {
    return base::Bytes{segment.elements.count().value() * base::element_bytes(dtype).value()};
  };
  switch (from.extents[segment.tensor].origin) {
    case Origin::file: return source_bytes(plan, source, segment);
    case Origin::zeros:
    case Origin::ones: return {};
    case Origin::low_rank: return changed(from.low_ranks.at(segment.tensor).dtype);
    case Origin::scaled: return changed(from.scalings.at(segment.tensor).dtype);
    case Origin::mosaic: break;
  }
  const Mosaic& mosaic = from.mosaics.at(segment.tensor);
  base::Bytes bytes;
  for (const MosaicRead& read : mosaic_reads(mosaic, segment.elements)) {
    bytes +=
        base::Bytes{read.elements.count().value() * mosaic.parts[read.part].extent.element_bytes()};
  }
  return bytes;
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
