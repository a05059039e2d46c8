#include "merge/tensor_ranks.hpp"

#include <algorithm>
#include <bit>

#include "mpimerge/base/mix.hpp"
#include "mpimerge/comm/agree.hpp"

namespace mpimerge::merge {
namespace {

constexpr std::uint32_t kInfinityBits = 0x7f800000u;
constexpr std::uint64_t kFewestSamples = 4;
constexpr std::uint64_t kMostSamples = 256;
constexpr std::uint64_t kSampleElements = 512;

std::vector<std::uint64_t> positions_of(const std::vector<method::Method::Rank>& ranks) {
  std::vector<std::uint64_t> positions;
  for (const method::Method::Rank& rank : ranks) positions.push_back(rank.position);
  return positions;
}

}  // namespace

bool looks_for_any(const std::vector<method::Method::Rank>& ranks) {
  return std::ranges::any_of(ranks, [](const auto& rank) { return rank.position > 0; });
}

std::vector<base::ElementRange> sample_places(const plan::Plan& plan, std::size_t number,
                                              base::ElementRange part, method::Grain grain) {
  const plan::Tensor& tensor = plan.tensors[number];
  const std::uint64_t elements = part.count().value();
  if (elements == 0 || tensor.elements.value() <= kSampledTensor) return {};
  const std::uint64_t row = grain == method::Grain::row ? row_elements(tensor) : 1;
  // Whole rows are taken, each at most once or twice.
  const std::uint64_t most = std::max(elements / row, std::uint64_t{1});
  const std::uint64_t places =
      std::min(std::clamp(elements / kSampledTensor, kFewestSamples, kMostSamples), most);
  const std::uint64_t stride = elements / places;
  const std::uint64_t room = stride > kSampleElements ? stride - kSampleElements : 0;
  std::vector<base::ElementRange> list;
  for (std::uint64_t place = 0; place < places; ++place) {
    std::uint64_t begin = (part.begin - tensor.offset).value() + stride * place +
                          (room == 0 ? 0 : base::mixed(number * kMostSamples + place) % room);
    std::uint64_t end =
        std::min(begin + std::min(kSampleElements, stride), (part.end - tensor.offset).value());
    begin = begin / row * row;
    end = (end + row - 1) / row * row;
    list.push_back({tensor.offset + base::Elements{begin}, tensor.offset + base::Elements{end}});
  }
  return list;
}

TensorRanks::TensorRanks(const MethodParts& parts, std::size_t pass, const plan::Coverage& known,
                         plan::Coverage& seen)
    : parts_(parts),
      pass_(pass),
      known_(known),
      seen_(seen),
      shard_(parts.plan, parts.reads, parts.store.rank(), {}) {}

bool TensorRanks::run(const comm::Comm& comm, const Progress& progress, const RunPart& part) {
  list_tensors();
  if (!rank_shared(comm, part)) return false;
  comm::Comm alone = comm.split(comm.rank());
  const std::size_t parts = shard_.ends.size();
  for (std::size_t each = 0; each < parts; ++each) {
    const auto rank = [&] {
      const std::size_t end = own_.size() * (each + 1) / parts;
      for (std::size_t number = own_.size() * each / parts; number < end; ++number) {
        rank_own(alone, own_[number]);
        progress(static_cast<double>(number + 1) / static_cast<double>(own_.size()));
      }
    };
    if (!part(rank)) {
      alone.close();
      return false;
    }
  }
  alone.close();
  return true;
}

void TensorRanks::list_tensors() {
  const plan::Plan& plan = parts_.plan;
  for (std::size_t group = 0; group < plan.groups.size(); ++group) {
    const base::ElementRange shard = plan.shards(group).shard(parts_.store.rank());
    for (std::uint64_t number = plan.groups[group].first_tensor;
         number < plan.groups[group].last_tensor; ++number) {
      const plan::Tensor& tensor = plan.tensors[number];
      if (tensor.role != plan::Role::merge || tensor.elements == base::Elements{} ||
          known_.covers(group, parts_.tensors.place(number)))
        continue;
      std::vector<Rank> ranks = parts_.method.ranks(pass_, parts_.tensors.tensor(number));
      if (!looks_for_any(ranks)) continue;
      if (parts_.tensors.crosses(number)) {
        const std::size_t first =
            shared_.empty() ? 0 : shared_.back().first + shared_.back().ranks.size();
        shared_.push_back({number, std::move(ranks), first});
      } else if (shard.begin <= tensor.offset && tensor.offset < shard.end) {
        own_.push_back(number);
      }
    }
  }
}

// The part of a tensor that lies in this rank's shard, in the group.
std::pair<std::size_t, base::ElementRange> TensorRanks::part_of(std::size_t number) const {
  const std::size_t group = parts_.tensors.group(number);
  return {group, base::intersect(parts_.tensors.place(number),
                                 parts_.plan.shards(group).shard(parts_.store.rank()))};
}

// Counts, in list_, what is asked of a stretch: of the tile in hand, if it is made already.
kernel::BracketCount TensorRanks::count(const BlockData& block, const Stretch& stretch,
                                        const Rank& rank, const kernel::Bracket& bracket) {
  const std::size_t elements = stretch.own.count().value();
  list_.resize(std::max(list_.size(), elements + kernel::kListPadding));
  if (rank.model != Rank::kOwn && parts_.sources.has_base) {
    const std::size_t source = parts_.sources.model(parts_.tensors.models()[rank.model]);
    const base::Dtype dtype = parts_.tiles.dtype(stretch, source);
    if (dtype == parts_.tiles.dtype(stretch, 0)) {
      const kernel::BracketCount found =
          kernel::count_bracket(dtype, parts_.tiles.raw(block, stretch, source),
                                parts_.tiles.raw(block, stretch, 0), bracket, list_.data());
      // Widening names the value; what overflows only as a difference stays.
      if (found.largest >= kInfinityBits)
        parts_.tiles.tile(block, stretch, parts_.tensors.models());
      return found;
    }
  }
  if (tile_ == nullptr) {
    tile_ = &parts_.tiles.tile(block, stretch, parts_.tensors.models());
    has_values_ = false;
  }
  const method::Tile& tile = *tile_;
  if (rank.model == Rank::kOwn && !has_values_) {
    values_.resize(std::max(values_.size(), tile.elements));
    parts_.method.magnitudes(pass_, parts_.tensors.tensor(stretch.tensor), tile, values_.data());
    has_values_ = true;
  }
  const float* const values = rank.model == Rank::kOwn ? values_.data() : tile.models[rank.model];
  zeros_.resize(std::max(zeros_.size(), elements));
  const bool differs = rank.model != Rank::kOwn && tile.base != nullptr;
  const std::span<const float> from(differs ? tile.base + tile.own_begin : zeros_.data(), elements);
  return kernel::count_bracket(base::Dtype::f32,
                               std::as_bytes(std::span(values + tile.own_begin, elements)),
                               std::as_bytes(from), bracket, list_.data());
}

// Shows the search the elements of a tensor that lie in this rank's shard.
void TensorRanks::look(std::size_t number, const std::vector<Rank>& ranks, std::size_t first,
                       select::ThresholdSearch& search) {
  const auto [group, part] = part_of(number);
  if (part.empty()) return;
  static_cast<void>(parts_.tensors.tensor(number));
  auto each = std::partition_point(
      shard_.blocks.begin(), shard_.blocks.end(),
      [&, group = group, begin = part.begin](const plan::Block& block) {
        return block.group < group || (block.group == group && block.range.end <= begin);
      });
  for (; each != shard_.blocks.end() && each->group == group && each->range.begin < part.end;
       ++each) {
    const BlockData& block = load(*each);
    for (const Stretch& stretch : parts_.tiles.stretches(block)) {
      if (stretch.tensor != number) continue;
      tile_ = nullptr;
      for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
        if (!search.wants(first + rank)) continue;
        const auto found = count(block, stretch, ranks[rank], search.bracket(first + rank));
        search.add(first + rank, found, std::span(list_).first(found.listed));
      }
    }
  }
}

// Small tensors that follow each other lie in the same block.
const BlockData& TensorRanks::load(const plan::Block& block) {
  if (loaded_ == nullptr || at_.group != block.group || at_.range != block.range) {
    loaded_ = &parts_.store.load(block);
    at_ = block;
  }
  return *loaded_;
}

// Samples this rank's part of a tensor; returns the number of places.
std::uint64_t TensorRanks::sample(std::size_t number, const std::vector<Rank>& ranks,
                                  select::BracketSample& sample) {
  const auto [group, part] = part_of(number);
  static_cast<void>(parts_.tensors.tensor(number));
  const auto places = sample_places(parts_.plan, number, part, parts_.method.grain());
  for (const base::ElementRange& place : places) {
    const BlockData& block = parts_.rows.peek({group, place}, 0, parts_.plan.sources.size() - 1);
    for (const Stretch& stretch : parts_.tiles.stretches(block)) {
      tile_ = nullptr;
      for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
        if (ranks[rank].position == 0) continue;
        const auto all = count(block, stretch, ranks[rank], kernel::Bracket{});
        sample.add(rank, std::span(list_).first(all.listed));
      }
    }
    sample.end_block();
  }
  return places.size();
}

// Collective over `comm`.
void TensorRanks::narrow(const comm::Comm& comm, std::size_t number, const std::vector<Rank>& ranks,
                         std::size_t first, select::ThresholdSearch& search) {
  const std::uint64_t elements = parts_.plan.tensors[number].elements.value();
  if (elements <= kSampledTensor) return;
  select::BracketSample samples(ranks.size());
  std::uint64_t places = 0;
  comm::collectively(comm, "select", [&] { places = sample(number, ranks, samples); });
  const std::vector<std::uint64_t> positions = positions_of(ranks);
  const auto guesses = samples.brackets(comm, elements, positions, places);
  for (std::size_t rank = 0; rank < ranks.size(); ++rank)
    search.narrow(first + rank, guesses[rank].bracket);
}

void TensorRanks::learn(std::size_t number, std::span<const std::uint32_t> bits) {
  std::vector<double> found;
  for (const std::uint32_t magnitude : bits) found.push_back(std::bit_cast<float>(magnitude));
  parts_.tensors.learn(pass_, number, found);
}

// Collective.
bool TensorRanks::rank_shared(const comm::Comm& comm, const RunPart& part) {
  std::vector<std::uint64_t> elements;
  std::vector<std::uint64_t> positions;
  for (const Shared& each : shared_) {
    for (const Rank& rank : each.ranks) {
      elements.push_back(parts_.plan.tensors[each.tensor].elements.value());
      positions.push_back(rank.position);
    }
  }
  select::ThresholdSearch search(elements, positions, parts_.reads.magnitudes);
  for (const Shared& each : shared_) narrow(comm, each.tensor, each.ranks, each.first, search);
  while (!search.done()) {
    const auto look_at_all = [&] {
      for (const Shared& each : shared_) look(each.tensor, each.ranks, each.first, search);
    };
    if (!part(look_at_all)) return false;
    search.advance(comm);
  }
  const std::vector<std::uint32_t> bits = search.thresholds();
  for (const Shared& each : shared_) {
    learn(each.tensor, std::span(bits).subspan(each.first, each.ranks.size()));
    const auto [group, range] = part_of(each.tensor);
    seen_.add(group, range);
  }
  return true;
}

// Local: `alone` has this rank only.
void TensorRanks::rank_own(const comm::Comm& alone, std::size_t number) {
  const std::vector<Rank> ranks = parts_.method.ranks(pass_, parts_.tensors.tensor(number));
  const std::uint64_t elements = parts_.plan.tensors[number].elements.value();
  select::ThresholdSearch search(std::vector<std::uint64_t>(ranks.size(), elements),
                                 positions_of(ranks), parts_.reads.magnitudes);
  narrow(alone, number, ranks, 0, search);
  while (!search.done()) {
    if (search.needs_values()) look(number, ranks, 0, search);
    search.advance(alone);
  }
  learn(number, search.thresholds());
  seen_.add(parts_.tensors.group(number), parts_.tensors.place(number));
}

}  // namespace mpimerge::merge
