#include "merge/method_merge.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <utility>

#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/kernel/convert.hpp"
#include "mpimerge/merge/ties.hpp"
#include "mpimerge/plan/build.hpp"

#include "merge/shard_parts.hpp"
#include "merge/tensor_ranks.hpp"

namespace mpimerge::merge {
namespace {

using method::ExactSum;
using method::Pass;

const char* name_of(Pass::Kind kind) {
  switch (kind) {
    case Pass::Kind::sums:
    case Pass::Kind::model_sums: return "measure";
    case Pass::Kind::ranks:
    case Pass::Kind::model_trim: return "select";
  }
  return "measure";
}

// Collective over `comm`. The sums of all ranks, as many on each.
std::vector<double> add_up(const comm::Comm& comm, std::span<const ExactSum> mine) {
  constexpr std::size_t kNumbers = ExactSum::kNumbers;
  std::vector<double> values;
  for (std::size_t first = 0; first < mine.size(); first += kSumsPerRound) {
    const std::size_t size = std::min(kSumsPerRound, mine.size() - first);
    std::vector<std::int64_t> numbers(size * kNumbers);
    const auto of_sum = [&](std::size_t sum) {
      return std::span<std::int64_t, kNumbers>(numbers.data() + sum * kNumbers, kNumbers);
    };
    for (std::size_t sum = 0; sum < size; ++sum) mine[first + sum].store(of_sum(sum));
    comm::all_reduce_sum(comm, std::span<std::int64_t>(numbers));
    for (std::size_t sum = 0; sum < size; ++sum) {
      ExactSum total;
      total.load(of_sum(sum));
      values.push_back(total.value());
    }
  }
  return values;
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

plan::PassOptions method_passes(const plan::Plan& plan, const job::Job& job,
                                const method::Method& method) {
  plan::PassOptions options;
  const std::vector<Pass> passes = method.passes();
  const bool trims_model = std::ranges::any_of(
      passes, [](const Pass& pass) { return pass.kind == Pass::Kind::model_trim; });
  options.trims = trims_model && ties_passes(plan, std::span(&job, 1)).trims;
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
      store_(store),
      rows_(rows),
      sources_(job, description),
      side_files_(plan, job.nan == job::NanPolicy::error),
      method_(description.make(setup_of(job, &side_files_))),
      tensors_(plan, job, description, sources_, *method_),
      tiles_(plan, job, sources_, method_->grain(), rows) {
  if (job.report == job::Report::full && sources_.has_base)
    tally_.emplace(plan, sources_.models, Tally::Level{.full = true, .merged = true});
}

std::vector<Step> MethodMerge::steps(const plan::Traffic& traffic) {
  std::vector<Step> list;
  const std::vector<Pass> passes = method_->passes();
  for (std::size_t pass = 0; pass < passes.size(); ++pass) {
    if (passes[pass].kind == Pass::Kind::model_trim) {
      list.push_back({"sample", traffic.sample,
                      [this](const comm::Comm& comm, const Progress&, const AskWish&) {
                        trim_ = std::make_unique<TiesMerge>(plan_, reads_, job_, store_);
                        trim_->sample(comm);
                        return true;
                      }});
    }
    const base::Bytes expected{traffic.select.value() / passes.size()};
    list.push_back({name_of(passes[pass].kind), expected,
                    [this, pass, kind = passes[pass].kind](
                        const comm::Comm& comm, const Progress& progress, const AskWish& wish) {
                      if (!look(kind, comm, pass, progress, wish)) return false;
                      share_with_twins(comm);
                      return true;
                    }});
  }
  return list;
}

// Collective; false: stopped.
bool MethodMerge::look(Pass::Kind kind, const comm::Comm& comm, std::size_t pass,
                       const Progress& progress, const AskWish& wish) {
  switch (kind) {
    case Pass::Kind::sums: return look_for_sums(comm, pass, progress, wish);
    case Pass::Kind::model_sums: return look_for_model_sums(comm, pass, progress, wish);
    case Pass::Kind::ranks: return look_for_ranks(comm, pass, progress, wish);
    case Pass::Kind::model_trim: return trim_over_model(comm, pass, progress, wish);
  }
  return true;
}

// Collective. What is known of a tensor, for those who have parts of its twin.
void MethodMerge::share_with_twins(const comm::Comm& comm) {
  for (const std::span<double> facts : tensors_.facts_of_twins()) {
    if (facts.empty()) continue;
    std::vector<std::uint64_t> bits;
    for (const double fact : facts) bits.push_back(std::bit_cast<std::uint64_t>(fact));
    // Those who know a tensor know the same, the others nothing.
    comm::all_reduce_max(comm, std::span<std::uint64_t>(bits));
    std::ranges::transform(bits, facts.begin(),
                           [](std::uint64_t fact) { return std::bit_cast<double>(fact); });
  }
}

// Collective. Visits what this rank's shard has of the tensors that have sums in a pass; false:
// stopped.
template <class Visit>
bool MethodMerge::each_stretch(const comm::Comm& comm, std::size_t pass, const Progress& progress,
                               const AskWish& wish, Visit visit) {
  const ShardParts parts(plan_, reads_, store_.rank());
  const auto is_wanted = [&](const plan::Segment& part) {
    return plan_.tensors[part.tensor].counts() &&
           method_->sums(pass, tensors_.tensor(part.tensor)) > 0;
  };
  std::size_t number = 0;
  for (const std::size_t end : parts.ends) {
    const auto look = [&] {
      for (; number < end; ++number) {
        progress(static_cast<double>(number + 1) / static_cast<double>(parts.blocks.size()));
        const plan::Block& next = parts.blocks[number];
        if (std::ranges::none_of(plan::segments(plan_, next.group, next.range), is_wanted))
          continue;
        if (number + kReadAhead < parts.blocks.size())
          store_.read_ahead(parts.blocks[number + kReadAhead]);
        const BlockData& block = store_.load(next);
        for (const Stretch& stretch : tiles_.stretches(block)) {
          if (plan_.tensors[stretch.tensor].counts()) visit(block, stretch);
        }
      }
    };
    if (comm::collectively(comm, "measure", look, wish()) == comm::Wish::stop) return false;
  }
  return true;
}

void MethodMerge::add_tile(std::size_t pass, const BlockData& block, const Stretch& stretch,
                           std::span<ExactSum> into) {
  const method::Tensor& of = tensors_.tensor(stretch.tensor);
  const method::Tile& tile = tiles_.tile(block, stretch, tensors_.models());
  const std::uint64_t unit = plan::unit_elements(plan_.groups[block.group].elements.value());
  method::Sums sums(into, tile, unit, plan_.tensors[stretch.tensor].offset.value() + tile.first);
  method_->add(pass, of, tile, sums);
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
    const std::size_t sums = method_->sums(pass, tensors_.tensor(stretch.tensor));
    if (sums == 0) return;
    if (tensors_.crosses(stretch.tensor)) {
      if (parts.empty() || parts.back().first != stretch.tensor)
        parts.emplace_back(stretch.tensor, TensorSums(sums));
      return add_tile(pass, block, stretch, parts.back().second);
    }
    if (stretch.own.begin == base::Elements{}) own.assign(sums, {});
    add_tile(pass, block, stretch, own);
    if (stretch.own.end == plan_.tensors[stretch.tensor].elements)
      tensors_.learn(pass, stretch.tensor, values_of(own));
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
    if (plan_.tensors[number].counts() && tensors_.crosses(number)) shared.push_back(number);
  }
  auto mine = parts.begin();
  for (const std::size_t number : shared) {
    const std::size_t count = method_->sums(pass, tensors_.tensor(number));
    if (count == 0) continue;
    const bool is_mine = mine != parts.end() && mine->first == number;
    const TensorSums none(is_mine ? 0 : count);
    tensors_.learn(pass, number, add_up(comm, is_mine ? mine->second : none));
    if (is_mine) ++mine;
  }
}

bool MethodMerge::look_for_model_sums(const comm::Comm& comm, std::size_t pass,
                                      const Progress& progress, const AskWish& wish) {
  TensorSums sums;
  const auto visit = [&](const BlockData& block, const Stretch& stretch) {
    const std::size_t count = method_->sums(pass, tensors_.tensor(stretch.tensor));
    if (count == 0) return;
    sums.resize(std::max(sums.size(), count));
    add_tile(pass, block, stretch, std::span(sums).first(count));
  };
  if (!each_stretch(comm, pass, progress, wish, visit)) return false;
  const auto count =
      static_cast<std::size_t>(comm::all_reduce_max(comm, static_cast<std::uint64_t>(sums.size())));
  sums.resize(count);
  tensors_.learn_of_model(pass, add_up(comm, sums));
  return true;
}

bool MethodMerge::trim_over_model(const comm::Comm& comm, std::size_t pass,
                                  const Progress& progress, const AskWish& wish) {
  if (!trim_->select(comm, progress, wish)) return false;
  trims_.assign(trim_->trims().begin(), trim_->trims().end());
  trim_.reset();
  std::vector<double> thresholds;
  for (const TaskTrim& trim : trims_) thresholds.push_back(magnitude_of(trim.threshold_bits));
  tensors_.learn_of_model(pass, thresholds);
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
    copy_unmerged(plan_, block, out.subspan(block_begin * out_bytes));
    if (tally_) merged_block_.resize(block.range.count().value());
    for (const Stretch& stretch : tiles_.stretches(block)) {
      const method::Tensor& of = tensors_.tensor(stretch.tensor);
      const method::Tile& tile = tiles_.tile(block, stretch, tensors_.models());
      if (merged_.size() < tile.elements) merged_.resize(tile.elements);
      method_->merge(of, tile, merged_.data());
      const plan::Segment& part = block.segments[stretch.segment];
      const std::size_t first =
          part.chunk_offset.value() + (stretch.own.begin - part.elements.begin).value();
      const std::size_t count = tile.own_end - tile.own_begin;
      const auto merged = std::span<const float>(merged_).subspan(tile.own_begin, count);
      kernel::from_f32(out_type, merged,
                       out.subspan((block_begin + first) * out_bytes, count * out_bytes));
      if (tally_)
        std::ranges::copy(merged, merged_block_.begin() + static_cast<std::ptrdiff_t>(first));
    }
    if (tally_) tally_->look(block, merged_block_.data());
  }
}

bool MethodMerge::settle(const comm::Comm& comm) {
  if (tally_) statistics_ = tally_->finish(comm);
  return true;
}

// The facts' bits, after a number that makes it never empty: how many there are. Then thresholds,
// and what was counted of each tensor.
std::vector<std::uint64_t> MethodMerge::progress(const comm::Comm& comm) const {
  std::vector<std::uint64_t> bits;
  for (const double fact : tensors_.facts()) bits.push_back(std::bit_cast<std::uint64_t>(fact));
  // Those who know a tensor know the same, the others nothing.
  comm::all_reduce_max(comm, std::span<std::uint64_t>(bits));
  std::vector<std::uint64_t> numbers{bits.size()};
  numbers.insert(numbers.end(), bits.begin(), bits.end());
  for (const double fact : tensors_.model_facts())
    numbers.push_back(std::bit_cast<std::uint64_t>(fact));
  for (const TaskTrim& trim : trims_) numbers.push_back(trim.threshold_bits);
  if (tally_) {
    const std::vector<std::uint64_t> of_tensors = tally_->numbers(comm);
    numbers.insert(numbers.end(), of_tensors.begin(), of_tensors.end());
  }
  return numbers;
}

bool MethodMerge::restore(const std::vector<std::uint64_t>& progress, bool counts) {
  const std::size_t of_tensors = tally_ ? tally_->size() : 0;
  const std::size_t known =
      1 + tensors_.facts().size() + tensors_.model_facts().size() + of_tensors;
  const std::size_t trims = progress.size() < known ? 0 : progress.size() - known;
  if (progress.size() < known || progress[0] != tensors_.facts().size() ||
      (trims != 0 && trims != sources_.models))
    return false;
  if (tally_ && counts && !tally_->load(std::span(progress).last(of_tensors))) return false;
  std::size_t next = 1;
  for (double& fact : tensors_.facts()) fact = std::bit_cast<double>(progress[next++]);
  for (double& fact : tensors_.model_facts()) fact = std::bit_cast<double>(progress[next++]);
  trims_.resize(trims);
  for (std::size_t task = 0; task < trims; ++task) {
    const double density = job::constant(job_, "density", task).value_or(1);
    trims_[task] = {plan::trim_rank(plan_.merged, density),
                    static_cast<std::uint32_t>(progress[next++]), 0};
  }
  return true;
}

bool MethodMerge::look_for_ranks(const comm::Comm& comm, std::size_t pass, const Progress& progress,
                                 const AskWish& wish) {
  const MethodParts parts{plan_, reads_, sources_, store_, rows_, *method_, tensors_, tiles_};
  return TensorRanks(parts, pass).run(comm, progress, wish);
}

}  // namespace mpimerge::merge
