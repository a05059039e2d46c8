#include "merge/method_merge.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <utility>

#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/kernel/convert.hpp"
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
                      [this](const comm::Comm& comm, const Progress&, const RunPart&) {
                        trim_ = std::make_unique<TiesMerge>(plan_, reads_, job_, store_);
                        trim_->sample(comm);
                        return true;
                      }});
    }
    const base::Bytes expected{traffic.select.value() / passes.size()};
    list.push_back(
        {name_of(passes[pass].kind), expected,
         [this, pass](const comm::Comm& comm, const Progress& progress, const RunPart& part) {
           pass_ = pass;
           if (!look(comm, progress, part)) return false;
           forget_pass();
           return true;
         }});
  }
  return list;
}

// Collective. The pass in hand; false: stopped.
bool MethodMerge::look(const comm::Comm& comm, const Progress& progress, const RunPart& part) {
  switch (method_->passes()[pass_].kind) {
    case Pass::Kind::sums: return look_for_sums(comm, progress, part);
    case Pass::Kind::model_sums: return look_for_model_sums(comm, progress, part);
    case Pass::Kind::model_trim: return trim_over_model(comm, progress, part);
    case Pass::Kind::ranks: break;
  }
  const MethodParts parts{plan_, reads_, sources_, store_, rows_, *method_, tensors_, tiles_};
  return TensorRanks(parts, pass_, seen_before_, seen_).run(comm, progress, part);
}

void MethodMerge::forget_pass() {
  ++pass_;
  seen_before_ = {};
  seen_ = {};
  shared_.clear();
  sums_.clear();
  own_sums_.clear();
  model_sums_.clear();
  trim_.reset();
}

// Collective. Visits what this rank's shard has of the tensors that have sums in the pass; false:
// stopped.
template <class Visit>
bool MethodMerge::each_stretch(const Progress& progress, const RunPart& part, Visit visit) {
  const ShardParts parts(plan_, reads_, store_.rank(), seen_before_);
  const auto is_wanted = [&](const plan::Segment& segment) {
    return plan_.tensors[segment.tensor].role == plan::Role::merge &&
           method_->sums(pass_, tensors_.tensor(segment.tensor)) > 0;
  };
  std::size_t number = 0;
  for (const std::size_t end : parts.ends) {
    const auto look = [&] {
      for (; number < end; ++number) {
        progress(static_cast<double>(number + 1) / static_cast<double>(parts.blocks.size()));
        const plan::Block& next = parts.blocks[number];
        seen_.add(next.group, next.range);
        if (std::ranges::none_of(plan::segments(plan_, next.group, next.range), is_wanted))
          continue;
        if (number + kReadAhead < parts.blocks.size())
          store_.read_ahead(parts.blocks[number + kReadAhead]);
        const BlockData& block = store_.load(next);
        for (const Stretch& stretch : tiles_.stretches(block, seen_before_)) visit(block, stretch);
      }
    };
    if (!part(look)) return false;
  }
  return true;
}

void MethodMerge::add_tile(const BlockData& block, const Stretch& stretch,
                           std::span<ExactSum> into) {
  const method::Tensor& of = tensors_.tensor(stretch.tensor);
  const method::Tile& tile = tiles_.tile(block, stretch, tensors_.models());
  const std::uint64_t unit = plan::unit_elements(plan_.groups[block.group].elements.value());
  method::Sums sums(into, tile, unit, plan_.tensors[stretch.tensor].offset.value() + tile.first);
  method_->add(pass_, of, tile, sums);
}

bool MethodMerge::look_for_sums(const comm::Comm& comm, const Progress& progress,
                                const RunPart& part) {
  const auto values_of = [](const TensorSums& sums) {
    std::vector<double> values;
    for (const ExactSum& sum : sums) values.push_back(sum.value());
    return values;
  };
  const auto visit = [&](const BlockData& block, const Stretch& stretch) {
    const std::size_t sums = method_->sums(pass_, tensors_.tensor(stretch.tensor));
    if (sums == 0) return;
    const bool is_own = !tensors_.crosses(stretch.tensor) && !shared_.contains(stretch.tensor);
    TensorSums& of_tensor = (is_own ? own_sums_ : sums_)[stretch.tensor];
    of_tensor.resize(sums);
    add_tile(block, stretch, of_tensor);
    if (!is_own || stretch.own.end != plan_.tensors[stretch.tensor].elements) return;
    tensors_.learn(pass_, stretch.tensor, values_of(of_tensor));
    own_sums_.clear();
  };
  if (!each_stretch(progress, part, visit)) return false;
  put_together(comm);
  return true;
}

// Collective. The sums of tensors that several ranks have a part of, or had in the run before.
void MethodMerge::put_together(const comm::Comm& comm) {
  for (std::size_t number = 0; number < plan_.tensors.size(); ++number) {
    if (plan_.tensors[number].role != plan::Role::merge) continue;
    const bool crosses = tensors_.crosses(number);
    const auto begun = shared_.find(number);
    // What the run before has seen all of, and has no sums of in hand, is known.
    if (begun == shared_.end() &&
        (!crosses || seen_before_.covers(tensors_.group(number), tensors_.place(number))))
      continue;
    const std::size_t count =
        begun != shared_.end() ? begun->second : method_->sums(pass_, tensors_.tensor(number));
    if (count == 0) continue;
    TensorSums& mine = sums_[number];
    mine.resize(count);
    const std::vector<double> values = add_up(comm, mine);
    if (crosses || is_mine(number)) tensors_.learn(pass_, number, values);
  }
}

bool MethodMerge::look_for_model_sums(const comm::Comm& comm, const Progress& progress,
                                      const RunPart& part) {
  const auto visit = [&](const BlockData& block, const Stretch& stretch) {
    const std::size_t count = method_->sums(pass_, tensors_.tensor(stretch.tensor));
    if (count == 0) return;
    model_sums_.resize(std::max(model_sums_.size(), count));
    add_tile(block, stretch, std::span(model_sums_).first(count));
  };
  if (!each_stretch(progress, part, visit)) return false;
  const auto count = static_cast<std::size_t>(
      comm::all_reduce_max(comm, static_cast<std::uint64_t>(model_sums_.size())));
  model_sums_.resize(count);
  tensors_.learn_of_model(pass_, add_up(comm, model_sums_));
  return true;
}

bool MethodMerge::trim_over_model(const comm::Comm& comm, const Progress& progress,
                                  const RunPart& part) {
  if (!trim_->select(comm, progress, part)) return false;
  trims_.assign(trim_->trims().begin(), trim_->trims().end());
  std::vector<double> thresholds;
  for (const TaskTrim& trim : trims_) thresholds.push_back(magnitude_of(trim.threshold_bits));
  tensors_.learn_of_model(pass_, thresholds);
  return true;
}

// Whether a tensor begins in this rank's shard.
bool MethodMerge::is_mine(std::size_t number) const {
  const base::ElementRange shard = plan_.shards(tensors_.group(number)).shard(store_.rank());
  const base::Elements first = plan_.tensors[number].offset;
  return shard.begin <= first && first < shard.end;
}

// Where a pass stands among the steps: each trim over the model has one more, for its sample.
std::uint64_t MethodMerge::step_of(std::size_t pass) const {
  const std::vector<Pass> passes = method_->passes();
  const auto end = passes.begin() + static_cast<std::ptrdiff_t>(pass) + 1;
  return pass + static_cast<std::uint64_t>(std::count_if(passes.begin(), end, [](const Pass& each) {
           return each.kind == Pass::Kind::model_trim;
         }));
}

// The numbers of `progress`, after how many they are; the tensors whose sums are begun, and how many
// sums each has, after how many tensors they are; those of a trim over the model.
plan::PassState MethodMerge::pass_state(const comm::Comm& comm) const {
  plan::PassState state;
  state.step = step_of(pass_);
  const std::vector<std::uint64_t> known = progress(comm);
  state.numbers = {known.size()};
  state.numbers.insert(state.numbers.end(), known.begin(), known.end());
  std::vector<std::uint64_t> sums(plan_.tensors.size());
  for (const auto& [number, count] : shared_) sums[number] = count;
  for (const auto* list : {&sums_, &own_sums_}) {
    for (const auto& [number, of_tensor] : *list) sums[number] = of_tensor.size();
  }
  comm::all_reduce_max(comm, std::span<std::uint64_t>(sums));
  const auto begun = static_cast<std::uint64_t>(
      std::ranges::count_if(sums, [](std::uint64_t count) { return count > 0; }));
  state.numbers.push_back(begun);
  for (std::size_t number = 0; number < sums.size(); ++number) {
    if (sums[number] > 0) state.numbers.insert(state.numbers.end(), {number, sums[number]});
  }
  state.looked_at = seen_before_;
  state.looked_at.add(seen_);
  if (trim_ != nullptr) {
    const plan::PassState of_trim = trim_->pass_state(comm);
    state.numbers.insert(state.numbers.end(), of_trim.numbers.begin(), of_trim.numbers.end());
    state.looked_at = of_trim.looked_at;
  }
  return state;
}

// The sums of tensors, after how many tensors there are; the model's sums, after how many.
void MethodMerge::put_own(const base::PutWords& words) const {
  if (trim_ != nullptr) return trim_->put_own(words);
  const auto put = [&](std::uint64_t word) { words({&word, 1}); };
  const auto put_sums = [&](const TensorSums& sums) {
    put(sums.size());
    for (const ExactSum& sum : sums) {
      std::array<std::int64_t, ExactSum::kNumbers> numbers{};
      sum.store(numbers);
      for (const std::int64_t number : numbers) put(static_cast<std::uint64_t>(number));
    }
  };
  put(sums_.size() + own_sums_.size());
  for (const auto* list : {&sums_, &own_sums_}) {
    for (const auto& [number, of_tensor] : *list) {
      put(number);
      put_sums(of_tensor);
    }
  }
  put_sums(model_sums_);
}

bool MethodMerge::take_up(const plan::PassState& state) {
  const std::vector<Pass> passes = method_->passes();
  std::span<const std::uint64_t> numbers(state.numbers);
  // Takes so many lists of `size` numbers from the front, after their number; nothing: there are not.
  const auto take = [&](std::size_t size) -> std::optional<std::span<const std::uint64_t>> {
    if (numbers.empty() || numbers[0] > (numbers.size() - 1) / size) return std::nullopt;
    const auto list = numbers.subspan(1, numbers[0] * size);
    numbers = numbers.subspan(1 + list.size());
    return list;
  };
  const auto known = take(1);
  const auto begun = take(2);
  std::size_t pass = 0;
  while (pass < passes.size() && step_of(pass) != state.step) ++pass;
  if (pass == passes.size() || !state.looked_at.fits(plan_) || !known || !begun ||
      !restore({known->begin(), known->end()}, false))
    return false;
  for (std::size_t each = 0; each < begun->size(); each += 2) {
    const std::uint64_t number = (*begun)[each];
    if (passes[pass].kind != Pass::Kind::sums || number >= plan_.tensors.size() ||
        plan_.tensors[number].role != plan::Role::merge ||
        (*begun)[each + 1] != method_->sums(pass, tensors_.tensor(number)))
      return false;
    shared_[number] = (*begun)[each + 1];
  }
  // A rank knows what is its own, and what all know: else the others' older facts would stand beside
  // the owner's newer ones.
  for (std::size_t number = 0; number < plan_.tensors.size(); ++number) {
    if (plan_.tensors[number].role == plan::Role::merge && !tensors_.crosses(number) &&
        !is_mine(number))
      tensors_.forget(number);
  }
  pass_ = pass;
  seen_before_ = state.looked_at;
  if (passes[pass_].kind != Pass::Kind::model_trim) return numbers.empty();
  trim_ = std::make_unique<TiesMerge>(plan_, reads_, job_, store_);
  return trim_->take_up(
      {TiesMerge::kSelectStep, {numbers.begin(), numbers.end()}, state.looked_at});
}

bool MethodMerge::take_own(const base::TakeWord& word) {
  if (trim_ != nullptr) return trim_->take_own(word);
  const auto take_sums = [&](TensorSums& sums) {
    const std::uint64_t count = word();
    for (std::uint64_t sum = 0; sum < count; ++sum) {
      std::array<std::int64_t, ExactSum::kNumbers> numbers{};
      for (std::int64_t& number : numbers) number = static_cast<std::int64_t>(word());
      if (!ExactSum::is_stored(numbers)) return false;
      ExactSum more;
      more.load(numbers);
      if (sum == sums.size()) sums.emplace_back();
      sums[sum].add(more);
    }
    return true;
  };
  for (std::uint64_t tensors = word(); tensors > 0; --tensors) {
    const auto begun = shared_.find(word());
    if (begun == shared_.end() || !take_sums(sums_[begun->first]) ||
        sums_[begun->first].size() != begun->second)
      return false;
  }
  return take_sums(model_sums_);
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

}  // namespace mpimerge::merge
