#include "mpimerge/plan/read_plan.hpp"

#include <algorithm>
#include <limits>

#include "mpimerge/base/mix.hpp"

namespace mpimerge::plan {
namespace {

// All sources of a block together: what stays in a core's share of the caches between reading and
// counting, and large enough that a call costs nothing.
constexpr std::uint64_t kBlockBytes = std::uint64_t{4} << 20;
// Elements, however many sources there are: smaller reads would show. From about 64 tasks of 16-bit
// models on, a block grows with their number.
constexpr std::uint64_t kLeastBlock = std::uint64_t{1} << 15;
// Elements: whole pages of memory, whatever their type.
constexpr std::uint64_t kBlockMultiple = 4096;

// A merge has two: for blocks, and for what rows have outside of a block.
constexpr std::uint64_t kBlockStores = 2;

// The sample: blocks over all ranks, per rank at least and at most, and elements of each.
constexpr std::uint64_t kSampleBlocks = 1024;
constexpr std::uint64_t kFewestSampleBlocks = 4;
constexpr std::uint64_t kMostSampleBlocks = 256;
constexpr std::uint64_t kSampleElements = 2048;

// An eighth of what is left for data is more than what lies in good brackets takes when all else is
// resident. Where little is left, brackets come first, up to what 16-bit models need for a threshold:
// a second look at all inputs costs more than a few blocks that stay.
constexpr std::uint64_t kMagnitudesShare = 8;
constexpr std::uint64_t kMagnitudesOfThreshold = std::uint64_t{4} << 20;

std::uint64_t magnitudes_of(std::uint64_t rest, std::uint64_t thresholds) {
  return std::max(rest / kMagnitudesShare, std::min(rest / 2, thresholds * kMagnitudesOfThreshold));
}

std::uint64_t aligned(std::uint64_t bytes) {
  return (bytes + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment;
}

// Bytes of all sources per element of a group, rounded up.
std::uint64_t bytes_per_element(const Plan& plan, std::size_t group) {
  std::uint64_t most = 1;
  const Group& laid_out = plan.groups[group];
  for (std::uint64_t tensor = laid_out.first_tensor; tensor < laid_out.last_tensor; ++tensor) {
    const std::size_t readers = plan.tensors[tensor].role == Role::merge ? plan.sources.size() : 1;
    std::uint64_t bytes = 0;
    for (std::size_t source = 0; source < readers; ++source)
      bytes += plan.sources[source].extents[tensor].element_bytes();
    most = std::max(most, bytes);
  }
  return most;
}

// What a block store keeps of factors of adapters: of each source those of one tensor.
std::uint64_t factors_memory(const Plan& plan) {
  std::uint64_t sum = 0;
  for (const Source& source : plan.sources) {
    std::uint64_t most = 0;
    for (const auto& [tensor, low_rank] : source.low_ranks)
      most = std::max(most, low_rank.memory().value());
    for (const auto& [tensor, scaling] : source.scalings)
      most = std::max(most, scaling.memory().value());
    sum += most;
  }
  return sum;
}

template <class Visit>
void each_part(const Plan& plan, const Block& block, Visit visit) {
  for (const Segment& segment : segments(plan, block.group, block.range)) {
    const std::size_t readers =
        plan.tensors[segment.tensor].role == Role::merge ? plan.sources.size() : 1;
    for (std::size_t source = 0; source < readers; ++source) visit(source, segment);
  }
}

// What a block takes, all sources.
struct Amount {
  std::uint64_t memory = 0;
  std::uint64_t bytes = 0;
};

Amount amount(const Plan& plan, const Block& block) {
  Amount total;
  each_part(plan, block, [&](std::size_t source, const Segment& segment) {
    total.memory += aligned(source_bytes(plan, source, segment).value());
    total.bytes += read_bytes(plan, source, segment).value();
  });
  return total;
}

// Blocks in a row that take the same, because they lie in one tensor.
struct Row {
  Amount each;
  std::uint64_t count = 0;
};

// Where the tensor that holds `element` ends.
base::Elements tensor_end(const Plan& plan, std::size_t group, base::Elements element) {
  const auto begin =
      plan.tensors.begin() + static_cast<std::ptrdiff_t>(plan.groups[group].first_tensor);
  const auto end =
      plan.tensors.begin() + static_cast<std::ptrdiff_t>(plan.groups[group].last_tensor);
  const auto holder = std::partition_point(
      begin, end, [&](const Tensor& tensor) { return tensor.offset + tensor.elements <= element; });
  return holder->offset + holder->elements;
}

std::vector<Row> rows_of(const Plan& plan, const ReadPlan& reads, std::size_t group,
                         base::ElementRange chunk) {
  std::vector<Row> rows;
  const std::uint64_t block = reads.blocks[group].value();
  for (base::Elements begin = chunk.begin; begin < chunk.end;) {
    const base::Elements limit = std::min(tensor_end(plan, group, begin), chunk.end);
    const std::uint64_t whole = std::max((limit - begin).value() / block, std::uint64_t{1});
    const base::Elements end = std::min(begin + base::Elements{block}, chunk.end);
    rows.push_back({amount(plan, {group, {begin, end}}), whole});
    begin = std::min(begin + base::Elements{whole * block}, chunk.end);
  }
  return rows;
}

// Visits the rows of all chunks of a shard in order, and how often they repeat: a model of 10^12
// parameters has millions of blocks, but few tensors.
template <class Visit>
void each_chunk(const Plan& plan, const ReadPlan& reads, std::size_t group, std::uint64_t rank,
                Visit visit) {
  const base::ElementRange shard = plan.shards(group).shard(rank);
  const std::uint64_t chunk = plan.groups[group].chunk.value();
  for (base::Elements begin = shard.begin; begin < shard.end;) {
    const base::Elements limit = std::min(tensor_end(plan, group, begin), shard.end);
    const std::uint64_t whole = std::max((limit - begin).value() / chunk, std::uint64_t{1});
    const base::Elements end = std::min(begin + base::Elements{chunk}, shard.end);
    visit(rows_of(plan, reads, group, {begin, end}), whole);
    begin = std::min(begin + base::Elements{whole * chunk}, shard.end);
  }
}

// Decides which blocks stay, as merge::BlockStore does: in order, each that still fits.
class Keeper {
 public:
  Keeper(base::Bytes room, Traffic& traffic) : left_(room.value()), traffic_(traffic) {}

  void keep(const std::vector<Row>& rows, std::uint64_t repeats) {
    std::uint64_t whole = 0;
    std::uint64_t smallest = UINT64_MAX;
    for (const Row& row : rows) {
      whole += row.each.memory * row.count;
      smallest = std::min(smallest, row.each.memory);
    }
    const std::uint64_t fit = whole == 0 ? repeats : std::min(repeats, left_ / whole);
    if (fit > 0) {
      for (const Row& row : rows) take(row, row.count * fit);
      in_run_ = true;
    }
    // Of the others single blocks fit, until none does.
    std::uint64_t done = fit;
    for (; done < repeats && left_ >= smallest; ++done) {
      for (const Row& row : rows) {
        const std::uint64_t stay =
            row.each.memory == 0 ? row.count : std::min(row.count, left_ / row.each.memory);
        take(row, stay);
        if (stay > 0) in_run_ = true;
        if (stay < row.count) end_run();
        traffic_.merge += base::Bytes{row.each.bytes * (row.count - stay)};
      }
    }
    for (const Row& row : rows)
      traffic_.merge += base::Bytes{row.each.bytes * row.count * (repeats - done)};
    if (done < repeats) end_run();
  }

  void end_run() {
    traffic_.resident_ends += in_run_ ? 1 : 0;
    in_run_ = false;
  }

 private:
  void take(const Row& row, std::uint64_t count) {
    left_ -= row.each.memory * count;
    traffic_.resident += base::Bytes{row.each.memory * count};
    traffic_.resident_blocks += count;
  }
  std::uint64_t left_;
  bool in_run_ = false;
  Traffic& traffic_;
};

// All of predict_traffic but the sample.
Traffic predict_passes(const Plan& plan, const ReadPlan& reads, std::uint64_t rank,
                       const PassOptions& options) {
  Traffic traffic;
  Keeper keeper(reads.resident, traffic);
  for (std::size_t group = 0; group < plan.groups.size(); ++group) {
    const bool twice = options.selects && plan.merges(group);
    const std::uint64_t elements = plan.shards(group).shard(rank).count().value();
    traffic.written +=
        base::Bytes{elements * base::element_bytes(plan.groups[group].dtype).value()};
    each_chunk(plan, reads, group, rank, [&](const std::vector<Row>& rows, std::uint64_t repeats) {
      std::uint64_t bytes = 0;
      for (const Row& row : rows) {
        const std::uint64_t count = row.count * repeats;
        bytes += row.each.bytes * count;
        traffic.blocks += count;
        if (!twice) continue;
        traffic.keepable += base::Bytes{row.each.memory * count};
        traffic.keepable_blocks += count;
      }
      if (!twice) {
        traffic.merge += base::Bytes{bytes};
        return;
      }
      const base::Bytes streamed_before = traffic.merge;
      keeper.keep(rows, repeats);
      const base::Bytes streamed = traffic.merge - streamed_before;
      traffic.select += base::Bytes{bytes + streamed.value() * (options.looks - 1)};
    });
  }
  if (rank + 1 < plan.ranks) keeper.end_run();
  return traffic;
}

}  // namespace

ReadPlan plan_reads(const Plan& plan, base::Bytes budget, const Demand& demand) {
  ReadPlan reads;
  reads.budget = budget;
  std::uint64_t longest_output = 0;
  std::uint64_t passing = 0;
  for (std::size_t group = 0; group < plan.groups.size(); ++group) {
    const std::uint64_t per_element = bytes_per_element(plan, group);
    const std::uint64_t wanted = std::max(kBlockBytes / per_element, kLeastBlock);
    const std::uint64_t whole =
        std::max(wanted / kBlockMultiple, std::uint64_t{1}) * kBlockMultiple;
    const std::uint64_t chunk =
        std::min(plan.groups[group].chunk.value(), plan.shards(group).longest().value());
    const std::uint64_t block = std::max(std::min(whole, chunk), std::uint64_t{1});
    reads.blocks.emplace_back(block);
    passing = std::max(passing, block * per_element);
    longest_output =
        std::max(longest_output, chunk * base::element_bytes(plan.groups[group].dtype).value());
  }
  longest_output *= demand.outputs;
  reads.output = base::Bytes{longest_output};
  passing += kBlockStores * factors_memory(plan);
  reads.passing = base::Bytes{passing};
  const std::uint64_t needed = longest_output + passing;
  const std::uint64_t rest = budget.value() > needed ? budget.value() - needed : 0;
  reads.thresholds = demand.thresholds > 0 ? demand.thresholds : plan.sources.size() - 1;
  reads.magnitudes = base::Bytes{magnitudes_of(rest, reads.thresholds)};
  reads.resident = base::Bytes{rest - reads.magnitudes.value()};
  return reads;
}

std::vector<Block> blocks(const ReadPlan& reads, std::size_t group, base::ElementRange chunk) {
  std::vector<Block> list;
  for (base::Elements begin = chunk.begin; begin < chunk.end; begin += reads.blocks[group]) {
    list.push_back({group, {begin, std::min(begin + reads.blocks[group], chunk.end)}});
  }
  return list;
}

base::Bytes memory_bytes(const Plan& plan, const Block& block) {
  return base::Bytes{amount(plan, block).memory};
}

base::Bytes read_bytes(const Plan& plan, const Block& block) {
  return base::Bytes{amount(plan, block).bytes};
}

std::vector<Block> sample_blocks(const Plan& plan, std::uint64_t rank) {
  std::vector<base::ElementRange> shards;
  std::uint64_t elements = 0;
  for (std::size_t group = 0; group < plan.groups.size(); ++group) {
    const auto shard = plan.merges(group) ? plan.shards(group).shard(rank) : base::ElementRange{};
    shards.push_back(shard);
    elements += shard.count().value();
  }
  if (elements == 0) return {};
  const std::uint64_t wanted =
      std::clamp(kSampleBlocks / plan.ranks, kFewestSampleBlocks, kMostSampleBlocks);
  const std::uint64_t stretches = std::clamp(elements / kSampleElements, std::uint64_t{1}, wanted);
  std::vector<Block> list;
  std::size_t group = 0;
  std::uint64_t passed = 0;  // elements of the groups before
  for (std::uint64_t number = 0; number < stretches; ++number) {
    // 128 bits are not needed: elements / stretches ≥ 1, and the remainder is dealt out.
    const std::uint64_t begin =
        elements / stretches * number + std::min(number, elements % stretches);
    const std::uint64_t end =
        elements / stretches * (number + 1) + std::min(number + 1, elements % stretches);
    const std::uint64_t length =
        stretches < wanted ? end - begin : std::min(kSampleElements, end - begin);
    const std::uint64_t room = end - begin - length;
    std::uint64_t at =
        begin + (room == 0 ? 0 : base::mixed(rank * kMostSampleBlocks + number) % room);
    const std::uint64_t last = at + length;
    while (at < last) {
      while (at >= passed + shards[group].count().value())
        passed += shards[group++].count().value();
      const std::uint64_t inside = at - passed;
      const std::uint64_t part = std::min(last - at, shards[group].count().value() - inside);
      const base::Elements first = shards[group].begin + base::Elements{inside};
      list.push_back({group, {first, first + base::Elements{part}}});
      at += part;
    }
  }
  return list;
}

Traffic predict_traffic(const Plan& plan, const ReadPlan& reads, std::uint64_t rank,
                        const PassOptions& options) {
  Traffic traffic = predict_passes(plan, reads, rank, options);
  const std::uint64_t tasks = plan.sources.size() - 1;
  const std::uint64_t batches = (tasks + kTasksPerSample - 1) / kTasksPerSample;
  for (const Block& block : sample_blocks(plan, rank)) {
    ++traffic.sampled_blocks;
    traffic.sampled_elements += block.range.count().value();
    each_part(plan, block, [&](std::size_t source, const Segment& segment) {
      const std::uint64_t bytes = read_bytes(plan, source, segment).value();
      const std::uint64_t brackets = options.trims ? (source == 0 ? batches : 1) : 0;
      const std::uint64_t guesses = options.needs_sign ? 1 : 0;
      traffic.sample += base::Bytes{bytes * (brackets + guesses)};
      traffic.guess += base::Bytes{bytes * guesses};
    });
  }
  return traffic;
}

bool stays_resident(const Plan& plan, const ReadPlan& reads, const PassOptions& options) {
  for (std::uint64_t rank = 0; rank < plan.ranks; ++rank) {
    const Traffic traffic = predict_passes(plan, reads, rank, options);
    if (traffic.resident < traffic.keepable) return false;
  }
  return true;
}

base::Bytes budget_for(const ReadPlan& reads, base::Bytes resident) {
  const std::uint64_t needed = reads.output.value() + reads.passing.value();
  if (resident == base::Bytes{}) return base::Bytes{needed};
  // The smallest rest of which that much is left: one of the three rules gives it.
  const std::uint64_t stay = resident.value();
  const std::uint64_t least = reads.thresholds * kMagnitudesOfThreshold;
  std::uint64_t smallest = std::numeric_limits<std::uint64_t>::max();
  for (const std::uint64_t rest :
       {2 * stay - 1, stay + least, stay + (stay - 1) / (kMagnitudesShare - 1)}) {
    if (rest - magnitudes_of(rest, reads.thresholds) >= stay) smallest = std::min(smallest, rest);
  }
  return base::Bytes{needed + smallest};
}

Traffic& Traffic::operator+=(const Traffic& other) {
  sample += other.sample;
  guess += other.guess;
  select += other.select;
  merge += other.merge;
  written += other.written;
  keepable += other.keepable;
  resident += other.resident;
  blocks += other.blocks;
  keepable_blocks += other.keepable_blocks;
  resident_blocks += other.resident_blocks;
  resident_ends += other.resident_ends;
  sampled_blocks += other.sampled_blocks;
  sampled_elements += other.sampled_elements;
  return *this;
}

Residency residency(const Traffic& traffic) {
  if (traffic.resident == base::Bytes{}) return Residency::streaming;
  return traffic.resident == traffic.keepable ? Residency::resident : Residency::partly;
}

std::string_view name(Residency residency) {
  switch (residency) {
    case Residency::resident: return "resident";
    case Residency::partly: return "partly resident";
    case Residency::streaming: return "streaming";
  }
  return {};
}

}  // namespace mpimerge::plan
