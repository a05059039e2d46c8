#include "mpimerge/select/threshold_search.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

#include "mpimerge/comm/collectives.hpp"

#include "select/bracket_contents.hpp"

namespace mpimerge::select {
namespace {

using kernel::Bracket;
using kernel::BracketCount;

constexpr std::size_t kNumbers = BracketContents::kBins + 1;
static_assert(kNumbers * sizeof(std::uint64_t) == ThresholdSearch::kBytesPerTask);

}  // namespace

struct ThresholdSearch::State {
  std::uint64_t elements = 0;
  std::uint64_t position = 0;  ///< 1-based: of all elements until `certain`, then of the bracket's
  Bracket bracket{};
  bool certain = false;  ///< the threshold lies in the bracket, known by counting
  bool found = false;    ///< the bracket has one magnitude left
  bool begun = false;    ///< `contents` is open for the elements of this round
  bool holds = false;    ///< this rank knows all its elements in the bracket: no need to look again
  std::uint64_t above = 0;
  std::array<std::uint64_t, Bracket::kMostAtoms> atoms{};
  Bracket atoms_of{};  ///< whose atoms these are
  BracketContents contents{};

  void fill(std::span<std::uint64_t> numbers) const;
  void take(std::span<const std::uint64_t> numbers);
  void end_round(std::uint64_t& memory_left);
};

// This rank's counts: `above`, then the bins.
void ThresholdSearch::State::fill(std::span<std::uint64_t> numbers) const {
  numbers[0] = above;
  const std::span<std::uint64_t> counts = numbers.subspan(1);
  contents.count(bracket, counts);
  const unsigned shift = BracketContents::bin_shift(bracket);
  for (std::size_t atom = 0; atom < atoms_of.atom_count; ++atom) {
    const std::uint32_t magnitude = atoms_of.atoms[atom];
    if (magnitude >= bracket.low && magnitude < bracket.high)
      counts[(magnitude - bracket.low) >> shift] += atoms[atom];
  }
}

// Counts of all ranks: narrows the bracket to the bin that has the position.
void ThresholdSearch::State::take(std::span<const std::uint64_t> numbers) {
  const std::span<const std::uint64_t> counts = numbers.subspan(1);
  if (!certain) {
    std::uint64_t inside = 0;
    for (const std::uint64_t count : counts) inside += count;
    const std::uint64_t below = elements - numbers[0] - inside;
    // Equal on all ranks, so all leave together.
    if (numbers[0] + inside > elements || (bracket.low == 0 && below > 0))
      throw std::logic_error("other elements were counted than there are");
    certain = true;
    if (position <= below) {
      bracket = {0, bracket.low, {}, 0};
      holds = false;
      return;
    }
    if (position > below + inside) {
      position -= below + inside;
      bracket = {bracket.high, Bracket::kEnd, {}, 0};
      holds = false;
      return;
    }
    position -= below;
  }
  const unsigned shift = BracketContents::bin_shift(bracket);
  std::size_t bin = 0;
  while (bin < counts.size() && position > counts[bin]) position -= counts[bin++];
  if (bin == counts.size())
    throw std::logic_error("the threshold's position lies beyond the elements counted");
  bracket.low += static_cast<std::uint32_t>(bin << shift);
  bracket.high = std::min(bracket.high, bracket.low + (1u << shift));
  bracket.atom_count = 0;
  found = bracket.high - bracket.low == 1;
}

// After `take`: forgets what the next round cannot use.
void ThresholdSearch::State::end_round(std::uint64_t& memory_left) {
  above = 0;
  begun = false;
  if (holds && !found) return;
  contents.close(memory_left);
  atoms = {};
  atoms_of = {};
}

ThresholdSearch::ThresholdSearch(std::uint64_t elements,
                                 const std::vector<std::uint64_t>& positions, base::Bytes memory)
    : ThresholdSearch(std::vector<std::uint64_t>(positions.size(), elements), positions, memory) {}

ThresholdSearch::ThresholdSearch(const std::vector<std::uint64_t>& elements,
                                 const std::vector<std::uint64_t>& positions, base::Bytes memory)
    : memory_left_(memory.value()), states_(positions.size()) {
  for (std::size_t task = 0; task < positions.size(); ++task) {
    if (positions[task] > elements[task])
      throw std::logic_error("the threshold's position lies beyond the elements");
    states_[task].elements = elements[task];
    states_[task].position = positions[task];
    states_[task].found = positions[task] == 0;
  }
}

ThresholdSearch::ThresholdSearch(ThresholdSearch&&) noexcept = default;
ThresholdSearch& ThresholdSearch::operator=(ThresholdSearch&&) noexcept = default;
ThresholdSearch::~ThresholdSearch() = default;

void ThresholdSearch::narrow(std::size_t task, const Bracket& bracket) {
  if (!states_[task].found) states_[task].bracket = bracket;
}

bool ThresholdSearch::done() const noexcept {
  return std::all_of(states_.begin(), states_.end(),
                     [](const State& state) { return state.found; });
}

bool ThresholdSearch::wants(std::size_t task) const noexcept {
  const State& state = states_[task];
  return !state.found && !(state.holds && state.certain);
}

bool ThresholdSearch::needs_values() const noexcept {
  for (std::size_t task = 0; task < states_.size(); ++task) {
    if (wants(task)) return true;
  }
  return false;
}

const Bracket& ThresholdSearch::bracket(std::size_t task) const noexcept {
  return states_[task].bracket;
}

void ThresholdSearch::add(std::size_t task, const BracketCount& count,
                          std::span<const std::uint32_t> list) {
  if (!wants(task)) return;
  State& state = states_[task];
  if (!state.begun) {
    state.contents.open(state.bracket, memory_left_);
    state.atoms_of = state.bracket;
    state.begun = true;
  }
  state.above += count.above;
  for (std::size_t atom = 0; atom < state.atoms_of.atom_count; ++atom)
    state.atoms[atom] += count.atoms[atom];
  state.contents.add(list, memory_left_);
}

void ThresholdSearch::advance(const comm::Comm& comm) {
  std::vector<State*> open;
  for (State& state : states_) {
    if (!state.found) open.push_back(&state);
  }
  for (std::size_t begin = 0; begin < open.size(); begin += kTasksPerRound) {
    const std::size_t size = std::min(kTasksPerRound, open.size() - begin);
    counts_.assign(size * kNumbers, 0);
    const std::span<std::uint64_t> counts(counts_);
    for (std::size_t number = 0; number < size; ++number)
      open[begin + number]->fill(counts.subspan(number * kNumbers, kNumbers));
    comm::all_reduce_sum(comm, counts);
    for (std::size_t number = 0; number < size; ++number) {
      State& state = *open[begin + number];
      state.holds = state.contents.exact();
      state.take(counts.subspan(number * kNumbers, kNumbers));
      state.end_round(memory_left_);
    }
  }
  counts_ = {};
}

std::vector<std::uint32_t> ThresholdSearch::thresholds() const {
  std::vector<std::uint32_t> bits;
  for (const State& state : states_) bits.push_back(state.position == 0 ? 0 : state.bracket.low);
  return bits;
}

}  // namespace mpimerge::select
