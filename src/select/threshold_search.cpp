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
  void begin(std::uint64_t& memory_left);
  void forget(std::uint64_t& memory_left);
  void put_entries(const base::PutWords& words) const;
  [[nodiscard]] bool take_own(const base::TakeWord& word, std::uint64_t& memory_left);
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

// Ready for the elements of this round.
void ThresholdSearch::State::begin(std::uint64_t& memory_left) {
  if (begun) return;
  contents.open(bracket, memory_left);
  atoms_of = bracket;
  begun = true;
}

void ThresholdSearch::State::forget(std::uint64_t& memory_left) {
  contents.close(memory_left);
  atoms = {};
  atoms_of = {};
  holds = false;
}

// The elements within the bracket, atoms among them.
void ThresholdSearch::State::put_entries(const base::PutWords& words) const {
  contents.put(bracket, words);
  for (std::size_t atom = 0; atom < atoms_of.atom_count; ++atom) {
    const std::uint32_t magnitude = atoms_of.atoms[atom];
    if (magnitude < bracket.low || magnitude >= bracket.high) continue;
    for (std::uint64_t left = atoms[atom]; left > 0;) {
      const std::uint64_t times = std::min(left, BracketContents::kMostTimes - 1);
      const std::uint64_t word = BracketContents::pack({magnitude, times});
      words({&word, 1});
      left -= times;
    }
  }
}

bool ThresholdSearch::State::take_own(const base::TakeWord& word, std::uint64_t& memory_left) {
  begin(memory_left);
  const bool exact = word() != 0;
  std::uint64_t left = elements;  // how many more there can be
  const auto takes = [&](std::uint64_t count) {
    const bool fits = count <= left;
    if (fits) left -= count;
    return fits;
  };
  const std::uint64_t more = word();
  if (!takes(more)) return false;
  above += more;
  if (!exact) {
    std::vector<std::uint64_t> bins(BracketContents::kBins);
    const std::uint64_t last =
        (bracket.high - 1 - bracket.low) >> BracketContents::bin_shift(bracket);
    for (std::uint64_t bin = 0; bin < bins.size(); ++bin) {
      bins[bin] = word();
      if (!takes(bins[bin]) || (bin > last && bins[bin] > 0)) return false;
    }
    contents.add_bins(bins, memory_left);
    return true;
  }
  for (std::uint64_t entries = word(); entries > 0; --entries) {
    const BracketContents::Entry entry = BracketContents::unpack(word());
    if (entry.magnitude < bracket.low || entry.magnitude >= bracket.high || !takes(entry.times))
      return false;
    contents.add(entry.magnitude, entry.times, memory_left);
  }
  return true;
}

// After `take`: forgets what the next round cannot use.
void ThresholdSearch::State::end_round(std::uint64_t& memory_left) {
  above = 0;
  begun = false;
  if (holds && !found) return;
  forget(memory_left);
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
  state.begin(memory_left_);
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

void ThresholdSearch::look_again() {
  for (State& state : states_) {
    if (!state.found) state.forget(memory_left_);
  }
}

std::vector<std::uint64_t> ThresholdSearch::common() const {
  std::vector<std::uint64_t> numbers;
  for (const State& state : states_) {
    const Bracket& bracket = state.bracket;
    numbers.insert(numbers.end(), {state.position, bracket.low, bracket.high, bracket.atom_count});
    numbers.insert(numbers.end(), bracket.atoms.begin(), bracket.atoms.end());
    numbers.insert(numbers.end(), {state.certain ? 1u : 0u, state.found ? 1u : 0u});
  }
  return numbers;
}

bool ThresholdSearch::take_common(std::span<const std::uint64_t> numbers) {
  constexpr std::size_t kOfTask = 6 + Bracket::kMostAtoms;
  if (numbers.size() != states_.size() * kOfTask) return false;
  for (State& state : states_) {
    const auto of_task = numbers.first(kOfTask);
    numbers = numbers.subspan(kOfTask);
    const auto atoms = of_task.subspan(4, Bracket::kMostAtoms);
    const std::uint64_t certain = of_task[kOfTask - 2];
    const std::uint64_t found = of_task[kOfTask - 1];
    const bool nothing = state.position == 0;
    if (of_task[0] > state.elements || nothing != (of_task[0] == 0) || of_task[1] >= of_task[2] ||
        of_task[2] > Bracket::kEnd || of_task[3] > Bracket::kMostAtoms || certain > 1 ||
        found > 1 ||
        std::any_of(atoms.begin(), atoms.end(), [](auto atom) { return atom >= Bracket::kEnd; }) ||
        (nothing && found == 0) || (!nothing && found == 1 && of_task[2] - of_task[1] != 1))
      return false;
    state.position = of_task[0];
    state.bracket.low = static_cast<std::uint32_t>(of_task[1]);
    state.bracket.high = static_cast<std::uint32_t>(of_task[2]);
    state.bracket.atom_count = of_task[3];
    for (std::size_t atom = 0; atom < atoms.size(); ++atom)
      state.bracket.atoms[atom] = static_cast<std::uint32_t>(atoms[atom]);
    state.certain = certain == 1;
    state.found = found == 1;
  }
  return true;
}

void ThresholdSearch::put_own(const base::PutWords& words) const {
  for (const State& state : states_) {
    if (state.found) continue;
    const bool exact = state.contents.exact();
    const std::array<std::uint64_t, 2> head{exact ? 1u : 0u, state.above};
    words(head);
    if (exact) {
      std::uint64_t entries = 0;
      state.put_entries([&](std::span<const std::uint64_t> some) { entries += some.size(); });
      words({&entries, 1});
      state.put_entries(words);
    } else {
      std::vector<std::uint64_t> numbers(kNumbers);
      state.fill(numbers);
      words(std::span(numbers).subspan(1));
    }
  }
}

bool ThresholdSearch::take_own(const base::TakeWord& word) {
  for (State& state : states_) {
    if (!state.found && !state.take_own(word, memory_left_)) return false;
  }
  return true;
}

std::vector<std::uint32_t> ThresholdSearch::thresholds() const {
  std::vector<std::uint32_t> bits;
  for (const State& state : states_) bits.push_back(state.position == 0 ? 0 : state.bracket.low);
  return bits;
}

}  // namespace mpimerge::select
