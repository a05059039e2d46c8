#include "merge/method_merge.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <map>
#include <utility>

#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/kernel/bracket.hpp"
#include "mpimerge/kernel/convert.hpp"
#include "mpimerge/merge/ties.hpp"
#include "mpimerge/plan/build.hpp"
#include "mpimerge/select/bracket_sample.hpp"
#include "mpimerge/select/threshold_search.hpp"

namespace mpimerge::merge {
namespace {

using method::ExactSum;
using method::Pass;

constexpr std::size_t kReadAhead = 4;
// Rounds of the plan between two questions whether to stop.
constexpr std::uint64_t kRoundsPerStretch = 4;
constexpr std::uint32_t kInfinityBits = 0x7f800000u;
// Sums that share an Allreduce: bounds its memory.
constexpr std::size_t kSumsPerRound = 4096;

const char* name_of(Pass::Kind kind) {
  switch (kind) {
    case Pass::Kind::sums:
    case Pass::Kind::model_sums: return "measure";
    case Pass::Kind::ranks:
    case Pass::Kind::model_trim: return "select";
  }
  return "measure";
}

std::vector<double> depths_of(const plan::Plan& plan, const job::Job& job) {
  std::vector<std::string_view> names;
  for (const plan::Tensor& tensor : plan.tensors) names.push_back(tensor.name);
  return job::depths(job, names);
}

float magnitude_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }

}  // namespace

method::Setup setup_of(const job::Job& job, method::Files* files) {
  method::Setup setup;
  setup.files = files;
  setup.rules = job.rules;
  setup.models = job.tasks.size();
  setup.may_be = [&job](std::string_view flag, bool value) {
    const auto constant = job::constant(job, flag);
    return !constant || (*constant != 0) == value;
  };
  return setup;
}

plan::PassOptions method_passes(const method::Method& method) {
  plan::PassOptions options;
  const std::vector<Pass> passes = method.passes();
  options.trims = false;
  options.needs_sign = false;
  options.selects = !passes.empty();
  options.looks = std::max<std::uint64_t>(passes.size(), 1);
  return options;
}

MethodMerge::MethodMerge(const plan::Plan& plan, const plan::ReadPlan& reads, const job::Job& job,
                         const method::Description& description, BlockStore& store,
                         BlockStore& rows)
    : plan_(plan),
      reads_(reads),
      job_(job),
      description_(description),
      store_(store),
      rows_(rows),
      sources_(job, description),
      side_files_(plan, job.nan == job::NanPolicy::error),
      method_(description.make(setup_of(job, &side_files_))),
      tiles_(plan, job, sources_, method_->grain(), rows),
      depths_(depths_of(plan, job)),
      model_facts_(method_->model_facts()) {
  std::size_t facts = 0;
  for (std::size_t number = 0; number < plan.tensors.size(); ++number) {
    first_fact_.push_back(facts);
    if (plan.tensors[number].role == plan::Role::merge) facts += method_->facts(tensor(number));
  }
  first_fact_.push_back(facts);
  facts_.assign(facts, 0);
  number_ = static_cast<std::size_t>(-1);  // its facts lie elsewhere now
}

// What the method is told of a tensor; valid until the next call.
const method::Tensor& MethodMerge::tensor(std::size_t number) {
  if (number == number_) return tensor_;
  number_ = number;
  const plan::Tensor& of_plan = plan_.tensors[number];
  models_.clear();
  for (std::size_t model = 0; model < sources_.models; ++model) {
    if (!plan_.sources[sources_.model(model)].extents[number].is_absent()) models_.push_back(model);
  }
  numbers_ = job::numbers(job_, description_, of_plan.name, depths_[number]);
  of_models_.clear();
  for (std::size_t parameter = 0; parameter < description_.parameters.size(); ++parameter) {
    for (const std::size_t model : models_)
      of_models_.push_back(numbers_.of_models[parameter * sources_.models + model]);
  }
  tensor_.name = of_plan.name;
  tensor_.shape = of_plan.shape;
  tensor_.elements = of_plan.elements.value();
  tensor_.models = models_.size();
  tensor_.numbers = models_;
  tensor_.has_base = sources_.has_base;
  tensor_.of_merge = numbers_.of_merge;
  tensor_.of_models = of_models_;
  if (!facts_.empty()) tensor_.facts = facts_of(number);
  tensor_.model_facts = model_facts_;
  return tensor_;
}

std::span<double> MethodMerge::facts_of(std::size_t tensor) {
  return std::span(facts_).subspan(first_fact_[tensor],
                                   first_fact_[tensor + 1] - first_fact_[tensor]);
}

// Whether more than one rank has elements of the tensor.
bool MethodMerge::crosses(std::size_t tensor) const {
  const plan::Tensor& of_plan = plan_.tensors[tensor];
  if (of_plan.elements == base::Elements{}) return false;
  std::size_t group = 0;
  while (plan_.groups[group].last_tensor <= tensor) ++group;
  const plan::ShardMap shards = plan_.shards(group);
  return shards.owner(of_plan.offset) !=
         shards.owner(of_plan.offset + of_plan.elements - base::Elements{1});
}

std::vector<Step> MethodMerge::steps(const plan::Traffic& traffic) {
  std::vector<Step> list;
  const std::vector<Pass> passes = method_->passes();
  for (std::size_t pass = 0; pass < passes.size(); ++pass) {
    const base::Bytes expected{traffic.select.value() / passes.size()};
    list.push_back({name_of(passes[pass].kind), expected,
                    [this, pass, kind = passes[pass].kind](
                        const comm::Comm& comm, const Progress& progress, const AskWish& wish) {
                      switch (kind) {
                        case Pass::Kind::sums: return look_for_sums(comm, pass, progress, wish);
                        case Pass::Kind::model_sums:
                          return look_for_model_sums(comm, pass, progress, wish);
                        case Pass::Kind::ranks: return look_for_ranks(comm, pass, progress, wish);
                        case Pass::Kind::model_trim:
                          return trim_over_model(comm, pass, progress, wish);
                      }
                      return true;
                    }});
  }
  return list;
}

// The blocks of this rank's shard, in as many lists on every rank.
std::vector<std::vector<plan::Block>> MethodMerge::stretches_of_shard() const {
  std::vector<std::vector<plan::Block>> lists(1);
  std::uint64_t rounds = 0;
  for (std::size_t group = 0; group < plan_.groups.size(); ++group) {
    if (!plan_.merges(group)) continue;
    for (std::uint64_t round = 0; round < plan_.rounds(group); ++round) {
      const auto part = plan::blocks(reads_, group, plan_.chunk(group, store_.rank(), round));
      lists.back().insert(lists.back().end(), part.begin(), part.end());
      if (++rounds % kRoundsPerStretch == 0) lists.emplace_back();
    }
  }
  return lists;
}

// Collective. Visits what this rank's shard has of the tensors that have sums in a pass; false:
// stopped.
template <class Visit>
bool MethodMerge::each_stretch(const comm::Comm& comm, std::size_t pass, const Progress& progress,
                               const AskWish& wish, Visit visit) {
  const auto lists = stretches_of_shard();
  std::size_t blocks = 0;
  for (const auto& list : lists) blocks += list.size();
  const auto is_wanted = [&](const plan::Segment& part) {
    return plan_.tensors[part.tensor].role == plan::Role::merge &&
           method_->sums(pass, tensor(part.tensor)) > 0;
  };
  std::size_t done = 0;
  for (const auto& list : lists) {
    const auto look = [&] {
      for (std::size_t number = 0; number < list.size(); ++number) {
        progress(static_cast<double>(++done) / static_cast<double>(blocks));
        const plan::Block& next = list[number];
        if (std::ranges::none_of(plan::segments(plan_, next.group, next.range), is_wanted))
          continue;
        if (number + kReadAhead < list.size()) store_.read_ahead(list[number + kReadAhead]);
        const BlockData& block = store_.load(next);
        for (const Stretch& stretch : tiles_.stretches(block)) visit(block, stretch);
      }
    };
    if (comm::collectively(comm, "measure", look, wish()) == comm::Wish::stop) return false;
  }
  return true;
}

void MethodMerge::add_tile(std::size_t pass, const BlockData& block, const Stretch& stretch,
                           std::span<ExactSum> into) {
  const method::Tensor& of = tensor(stretch.tensor);
  const method::Tile& tile = tiles_.tile(block, stretch, models_);
  const std::uint64_t unit = plan::unit_elements(plan_.groups[block.group].elements.value());
  method::Sums sums(into, tile, unit, plan_.tensors[stretch.tensor].offset.value() + tile.first);
  method_->add(pass, of, tile, sums);
}

void MethodMerge::learn(std::size_t pass, std::size_t number, std::span<const double> found) {
  // The tensor's facts are shown to the method and filled by it: the same place.
  const method::Tensor& of = tensor(number);
  method_->learn(pass, of, found, facts_of(number));
}

bool MethodMerge::look_for_sums(const comm::Comm& comm, std::size_t pass, const Progress& progress,
                                const AskWish& wish) {
  std::vector<std::pair<std::size_t, TensorSums>> parts;  // of tensors that other ranks share
  TensorSums own;
  const auto values_of = [](const TensorSums& sums) {
    std::vector<double> values;
    for (const ExactSum& sum : sums) values.push_back(sum.value());
    return values;
  };
  const auto visit = [&](const BlockData& block, const Stretch& stretch) {
    const std::size_t sums = method_->sums(pass, tensor(stretch.tensor));
    if (sums == 0) return;
    if (crosses(stretch.tensor)) {
      if (parts.empty() || parts.back().first != stretch.tensor)
        parts.emplace_back(stretch.tensor, TensorSums(sums));
      return add_tile(pass, block, stretch, parts.back().second);
    }
    if (stretch.own.begin == base::Elements{}) own.assign(sums, {});
    add_tile(pass, block, stretch, own);
    if (stretch.own.end == plan_.tensors[stretch.tensor].elements)
      learn(pass, stretch.tensor, values_of(own));
  };
  if (!each_stretch(comm, pass, progress, wish, visit)) return false;
  put_together(comm, pass, parts);
  return true;
}

// Collective. The sums of tensors that several ranks have a part of.
void MethodMerge::put_together(const comm::Comm& comm, std::size_t pass,
                               std::vector<std::pair<std::size_t, TensorSums>>& parts) {
  std::vector<std::size_t> shared;
  for (std::size_t number = 0; number < plan_.tensors.size(); ++number) {
    if (plan_.tensors[number].role == plan::Role::merge && crosses(number))
      shared.push_back(number);
  }
  auto mine = parts.begin();
  for (const std::size_t number : shared) {
    const std::size_t count = method_->sums(pass, tensor(number));
    if (count == 0) continue;
    const bool is_mine = mine != parts.end() && mine->first == number;
    std::vector<double> values;
    for (std::size_t first = 0; first < count; first += kSumsPerRound) {
      const std::size_t size = std::min(kSumsPerRound, count - first);
      std::vector<std::int64_t> numbers(size * ExactSum::kNumbers);
      for (std::size_t sum = 0; is_mine && sum < size; ++sum) {
        mine->second[first + sum].store(std::span<std::int64_t, ExactSum::kNumbers>(
            numbers.data() + sum * ExactSum::kNumbers, ExactSum::kNumbers));
      }
      comm::all_reduce_sum(comm, std::span<std::int64_t>(numbers));
      for (std::size_t sum = 0; sum < size; ++sum) {
        ExactSum total;
        total.load(std::span<const std::int64_t, ExactSum::kNumbers>(
            numbers.data() + sum * ExactSum::kNumbers, ExactSum::kNumbers));
        values.push_back(total.value());
      }
    }
    learn(pass, number, values);
    if (is_mine) ++mine;
  }
}

bool MethodMerge::look_for_model_sums(const comm::Comm& comm, std::size_t pass,
                                      const Progress& progress, const AskWish& wish) {
  TensorSums sums;
  const auto visit = [&](const BlockData& block, const Stretch& stretch) {
    const std::size_t count = method_->sums(pass, tensor(stretch.tensor));
    if (count == 0) return;
    sums.resize(std::max(sums.size(), count));
    add_tile(pass, block, stretch, std::span(sums).first(count));
  };
  if (!each_stretch(comm, pass, progress, wish, visit)) return false;
  const auto count =
      static_cast<std::size_t>(comm::all_reduce_max(comm, static_cast<std::uint64_t>(sums.size())));
  sums.resize(count);
  std::vector<std::int64_t> numbers(count * ExactSum::kNumbers);
  const auto of_sum = [&](std::size_t sum) {
    return std::span<std::int64_t, ExactSum::kNumbers>(numbers.data() + sum * ExactSum::kNumbers,
                                                       ExactSum::kNumbers);
  };
  for (std::size_t sum = 0; sum < count; ++sum) sums[sum].store(of_sum(sum));
  comm::all_reduce_sum(comm, std::span<std::int64_t>(numbers));
  std::vector<double> values;
  for (std::size_t sum = 0; sum < count; ++sum) {
    ExactSum total;
    total.load(of_sum(sum));
    values.push_back(total.value());
  }
  method::Tensor whole;
  whole.models = sources_.models;
  whole.model_facts = model_facts_;
  method_->learn(pass, whole, values, model_facts_);
  return true;
}

bool MethodMerge::trim_over_model(const comm::Comm& comm, std::size_t pass,
                                  const Progress& progress, const AskWish& wish) {
  TiesMerge ties(plan_, reads_, job_, store_);
  ties.sample(comm);
  if (!ties.select(comm, progress, wish)) return false;
  trims_.assign(ties.trims().begin(), ties.trims().end());
  std::vector<double> thresholds;
  for (const TaskTrim& trim : trims_) thresholds.push_back(magnitude_of(trim.threshold_bits));
  method::Tensor whole;
  whole.models = sources_.models;
  whole.model_facts = model_facts_;
  method_->learn(pass, whole, thresholds, model_facts_);
  return true;
}

void MethodMerge::merge_chunk(std::size_t group, base::ElementRange chunk,
                              std::span<std::byte> out) {
  const base::Dtype out_type = plan_.groups[group].dtype;
  const std::size_t out_bytes = base::element_bytes(out_type).value();
  const std::vector<plan::Block> blocks = plan::blocks(reads_, group, chunk);
  for (std::size_t number = 0; number < blocks.size(); ++number) {
    if (number + kReadAhead < blocks.size()) store_.read_ahead(blocks[number + kReadAhead]);
    const BlockData& block = store_.load(blocks[number]);
    const std::size_t block_begin = (block.range.begin - chunk.begin).value();
    for (std::size_t segment = 0; segment < block.segments.size(); ++segment) {
      const plan::Segment& part = block.segments[segment];
      if (plan_.tensors[part.tensor].role != plan::Role::copy) continue;
      const auto from = block.bytes(0, segment);
      std::memcpy(out.data() + (block_begin + part.chunk_offset.value()) * out_bytes, from.data(),
                  from.size());
    }
    for (const Stretch& stretch : tiles_.stretches(block)) {
      const method::Tensor& of = tensor(stretch.tensor);
      const method::Tile& tile = tiles_.tile(block, stretch, models_);
      if (merged_.size() < tile.elements) merged_.resize(tile.elements);
      method_->merge(of, tile, merged_.data());
      const plan::Segment& part = block.segments[stretch.segment];
      const std::size_t first = block_begin + part.chunk_offset.value() +
                                (stretch.own.begin - part.elements.begin).value();
      const std::size_t count = tile.own_end - tile.own_begin;
      kernel::from_f32(out_type, std::span<const float>(merged_).subspan(tile.own_begin, count),
                       out.subspan(first * out_bytes, count * out_bytes));
    }
  }
}

bool MethodMerge::settle(const comm::Comm& /*comm*/) { return true; }

// The facts' bits, after a number that makes it never empty: how many there are.
std::vector<std::uint64_t> MethodMerge::progress(const comm::Comm& comm) const {
  std::vector<std::uint64_t> bits;
  for (const double fact : facts_) bits.push_back(std::bit_cast<std::uint64_t>(fact));
  // Those who know a tensor know the same, the others nothing.
  comm::all_reduce_max(comm, std::span<std::uint64_t>(bits));
  std::vector<std::uint64_t> numbers{bits.size()};
  numbers.insert(numbers.end(), bits.begin(), bits.end());
  for (const double fact : model_facts_) numbers.push_back(std::bit_cast<std::uint64_t>(fact));
  for (const TaskTrim& trim : trims_) numbers.push_back(trim.threshold_bits);
  return numbers;
}

bool MethodMerge::restore(const std::vector<std::uint64_t>& progress, bool /*counts*/) {
  const std::size_t known = 1 + facts_.size() + model_facts_.size();
  const std::size_t trims = progress.size() < known ? 0 : progress.size() - known;
  if (progress.size() < known || progress[0] != facts_.size() ||
      (trims != 0 && trims != sources_.models))
    return false;
  std::size_t next = 1;
  for (double& fact : facts_) fact = std::bit_cast<double>(progress[next++]);
  for (double& fact : model_facts_) fact = std::bit_cast<double>(progress[next++]);
  trims_.resize(trims);
  for (std::size_t task = 0; task < trims; ++task) {
    const double density = job::constant(job_, "density", task).value_or(1);
    trims_[task] = {plan::trim_rank(plan_.merged, density),
                    static_cast<std::uint32_t>(progress[next++]), 0};
  }
  return true;
}

namespace {

// Below this many elements a tensor is listed as it is: a sample would cost as much.
constexpr std::uint64_t kSampledTensor = 16384;
constexpr std::uint64_t kFewestSamples = 4;
constexpr std::uint64_t kMostSamples = 256;
constexpr std::uint64_t kSampleElements = 512;

// Mixes a number well enough to choose places by (SplitMix64, Steele et al. 2014).
std::uint64_t mixed(std::uint64_t number) {
  number += 0x9e3779b97f4a7c15u;
  number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9u;
  number = (number ^ (number >> 27)) * 0x94d049bb133111ebu;
  return number ^ (number >> 31);
}

std::vector<std::uint64_t> positions_of(const std::vector<method::Method::Rank>& ranks) {
  std::vector<std::uint64_t> positions;
  for (const method::Method::Rank& rank : ranks) positions.push_back(rank.position);
  return positions;
}

bool looks_for_any(const std::vector<method::Method::Rank>& ranks) {
  return std::ranges::any_of(ranks, [](const auto& rank) { return rank.position > 0; });
}

}  // namespace

// The order statistics of a pass: of tensors that this rank has whole by itself, of others together.
class TensorRanks {
 public:
  TensorRanks(MethodMerge& merge, std::size_t pass) : merge_(merge), pass_(pass) {
    for (const auto& list : merge.stretches_of_shard()) {
      ++parts_;
      blocks_.insert(blocks_.end(), list.begin(), list.end());
    }
  }

  // Collective; false: stopped.
  bool run(const comm::Comm& comm, const Progress& progress, const AskWish& wish) {
    list_tensors();
    if (!rank_shared(comm, wish)) return false;
    comm::Comm alone = comm.split(comm.rank());
    for (std::size_t part = 0; part < parts_; ++part) {
      const auto rank = [&] {
        const std::size_t end = own_.size() * (part + 1) / parts_;
        for (std::size_t number = own_.size() * part / parts_; number < end; ++number) {
          rank_own(alone, own_[number]);
          progress(static_cast<double>(number + 1) / static_cast<double>(own_.size()));
        }
      };
      if (comm::collectively(comm, "select", rank, wish()) == comm::Wish::stop) {
        alone.close();
        return false;
      }
    }
    alone.close();
    return true;
  }

 private:
  using Rank = method::Method::Rank;
  struct Shared {
    std::size_t tensor;
    std::vector<Rank> ranks;
    std::size_t first;  // of its ranks in the search
  };

  void list_tensors() {
    const plan::Plan& plan = merge_.plan_;
    for (std::size_t group = 0; group < plan.groups.size(); ++group) {
      const base::ElementRange shard = plan.shards(group).shard(merge_.store_.rank());
      for (std::uint64_t number = plan.groups[group].first_tensor;
           number < plan.groups[group].last_tensor; ++number) {
        const plan::Tensor& tensor = plan.tensors[number];
        if (tensor.role != plan::Role::merge || tensor.elements == base::Elements{}) continue;
        std::vector<Rank> ranks = merge_.method_->ranks(pass_, merge_.tensor(number));
        if (!looks_for_any(ranks)) continue;
        if (merge_.crosses(number)) {
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
  [[nodiscard]] std::pair<std::size_t, base::ElementRange> part_of(std::size_t number) const {
    const plan::Plan& plan = merge_.plan_;
    std::size_t group = 0;
    while (plan.groups[group].last_tensor <= number) ++group;
    const plan::Tensor& tensor = plan.tensors[number];
    const base::ElementRange all{tensor.offset, tensor.offset + tensor.elements};
    return {group, base::intersect(all, plan.shards(group).shard(merge_.store_.rank()))};
  }

  // Counts, in list_, what is asked of a stretch.
  kernel::BracketCount count(const BlockData& block, const Stretch& stretch, const Rank& rank,
                             const kernel::Bracket& bracket) {
    const std::size_t elements = stretch.own.count().value();
    list_.resize(std::max(list_.size(), elements + kernel::kListPadding));
    if (rank.model != Rank::kOwn && merge_.sources_.has_base) {
      const std::size_t source = merge_.sources_.model(merge_.models_[rank.model]);
      const base::Dtype dtype = merge_.tiles_.dtype(stretch, source);
      if (dtype == merge_.tiles_.dtype(stretch, 0)) {
        const kernel::BracketCount found =
            kernel::count_bracket(dtype, merge_.tiles_.raw(block, stretch, source),
                                  merge_.tiles_.raw(block, stretch, 0), bracket, list_.data());
        // Widening names the value; what overflows only as a difference stays.
        if (found.largest >= kInfinityBits) merge_.tiles_.tile(block, stretch, merge_.models_);
        return found;
      }
    }
    const method::Tile& tile = merge_.tiles_.tile(block, stretch, merge_.models_);
    values_.resize(std::max(values_.size(), tile.elements));
    const float* values = values_.data();
    if (rank.model == Rank::kOwn)
      merge_.method_->magnitudes(pass_, merge_.tensor_, tile, values_.data());
    else
      values = tile.models[rank.model];
    zeros_.resize(std::max(zeros_.size(), elements));
    const bool differs = rank.model != Rank::kOwn && tile.base != nullptr;
    const std::span<const float> from(differs ? tile.base + tile.own_begin : zeros_.data(),
                                      elements);
    return kernel::count_bracket(base::Dtype::f32,
                                 std::as_bytes(std::span(values + tile.own_begin, elements)),
                                 std::as_bytes(from), bracket, list_.data());
  }

  // Shows the search the elements of a tensor that lie in this rank's shard.
  void look(std::size_t number, const std::vector<Rank>& ranks, std::size_t first,
            select::ThresholdSearch& search) {
    const auto [group, part] = part_of(number);
    if (part.empty()) return;
    static_cast<void>(merge_.tensor(number));
    auto each = std::partition_point(
        blocks_.begin(), blocks_.end(),
        [&, group = group, begin = part.begin](const plan::Block& block) {
          return block.group < group || (block.group == group && block.range.end <= begin);
        });
    for (; each != blocks_.end() && each->group == group && each->range.begin < part.end; ++each) {
      const BlockData& block = load(*each);
      for (const Stretch& stretch : merge_.tiles_.stretches(block)) {
        if (stretch.tensor != number) continue;
        for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
          if (!search.wants(first + rank)) continue;
          const auto found = count(block, stretch, ranks[rank], search.bracket(first + rank));
          search.add(first + rank, found, std::span(list_).first(found.listed));
        }
      }
    }
  }

  // Small tensors that follow each other lie in the same block.
  const BlockData& load(const plan::Block& block) {
    if (loaded_ == nullptr || at_.group != block.group || at_.range != block.range) {
      loaded_ = &merge_.store_.load(block);
      at_ = block;
    }
    return *loaded_;
  }

  // Samples this rank's part of a tensor; returns the number of places.
  std::uint64_t sample(std::size_t number, const std::vector<Rank>& ranks,
                       select::BracketSample& sample) {
    const auto [group, part] = part_of(number);
    if (part.empty()) return 0;
    const method::Tensor& tensor = merge_.tensor(number);
    const base::Elements offset = merge_.plan_.tensors[number].offset;
    const std::uint64_t elements = part.count().value();
    const std::uint64_t places =
        std::min(std::clamp(elements / kSampledTensor, kFewestSamples, kMostSamples), elements);
    for (std::uint64_t place = 0; place < places; ++place) {
      const std::uint64_t stride = elements / places;
      const std::uint64_t room = stride > kSampleElements ? stride - kSampleElements : 0;
      std::uint64_t begin = (part.begin - offset).value() + stride * place +
                            (room == 0 ? 0 : mixed(number * kMostSamples + place) % room);
      std::uint64_t end =
          std::min(begin + std::min(kSampleElements, stride), (part.end - offset).value());
      if (merge_.method_->grain() == method::Grain::row) {
        begin = begin / tensor.row() * tensor.row();
        end = (end + tensor.row() - 1) / tensor.row() * tensor.row();
      }
      const BlockData& block =
          merge_.rows_.peek({group, {offset + base::Elements{begin}, offset + base::Elements{end}}},
                            0, merge_.plan_.sources.size() - 1);
      for (const Stretch& stretch : merge_.tiles_.stretches(block)) {
        for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
          if (ranks[rank].position == 0) continue;
          const auto all = count(block, stretch, ranks[rank], kernel::Bracket{});
          sample.add(rank, std::span(list_).first(all.listed));
        }
      }
    }
    return places;
  }

  // Collective over `comm`.
  void narrow(const comm::Comm& comm, std::size_t number, const std::vector<Rank>& ranks,
              std::size_t first, select::ThresholdSearch& search) {
    const std::uint64_t elements = merge_.plan_.tensors[number].elements.value();
    if (elements <= kSampledTensor) return;
    select::BracketSample samples(ranks.size());
    std::uint64_t places = 0;
    comm::collectively(comm, "select", [&] { places = sample(number, ranks, samples); });
    const std::vector<std::uint64_t> positions = positions_of(ranks);
    const auto guesses = samples.brackets(comm, elements, positions, places);
    for (std::size_t rank = 0; rank < ranks.size(); ++rank)
      search.narrow(first + rank, guesses[rank].bracket);
  }

  void learn(std::size_t number, std::span<const std::uint32_t> bits) {
    std::vector<double> found;
    for (const std::uint32_t magnitude : bits) found.push_back(magnitude_of(magnitude));
    merge_.learn(pass_, number, found);
  }

  // Collective.
  bool rank_shared(const comm::Comm& comm, const AskWish& wish) {
    std::vector<std::uint64_t> elements;
    std::vector<std::uint64_t> positions;
    for (const Shared& each : shared_) {
      for (const Rank& rank : each.ranks) {
        elements.push_back(merge_.plan_.tensors[each.tensor].elements.value());
        positions.push_back(rank.position);
      }
    }
    select::ThresholdSearch search(elements, positions, merge_.reads_.magnitudes);
    for (const Shared& each : shared_) narrow(comm, each.tensor, each.ranks, each.first, search);
    while (!search.done()) {
      const auto look_at_all = [&] {
        for (const Shared& each : shared_) look(each.tensor, each.ranks, each.first, search);
      };
      if (comm::collectively(comm, "select", look_at_all, wish()) == comm::Wish::stop) return false;
      search.advance(comm);
    }
    const std::vector<std::uint32_t> bits = search.thresholds();
    for (const Shared& each : shared_)
      learn(each.tensor, std::span(bits).subspan(each.first, each.ranks.size()));
    return true;
  }

  // Local: `alone` has this rank only.
  void rank_own(const comm::Comm& alone, std::size_t number) {
    const std::vector<Rank> ranks = merge_.method_->ranks(pass_, merge_.tensor(number));
    const std::uint64_t elements = merge_.plan_.tensors[number].elements.value();
    select::ThresholdSearch search(std::vector<std::uint64_t>(ranks.size(), elements),
                                   positions_of(ranks), merge_.reads_.magnitudes);
    narrow(alone, number, ranks, 0, search);
    while (!search.done()) {
      if (search.needs_values()) look(number, ranks, 0, search);
      search.advance(alone);
    }
    learn(number, search.thresholds());
  }

  MethodMerge& merge_;
  std::size_t pass_;
  std::size_t parts_ = 0;            // of the own tensors: as many on every rank
  std::vector<plan::Block> blocks_;  // of the shard
  std::vector<std::size_t> own_;
  std::vector<Shared> shared_;
  plan::Block at_;
  const BlockData* loaded_ = nullptr;
  std::vector<std::uint32_t> list_;
  std::vector<float> values_;
  std::vector<float> zeros_;
};

bool MethodMerge::look_for_ranks(const comm::Comm& comm, std::size_t pass, const Progress& progress,
                                 const AskWish& wish) {
  return TensorRanks(*this, pass).run(comm, progress, wish);
}

}  // namespace mpimerge::merge
