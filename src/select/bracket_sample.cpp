#include "mpimerge/select/bracket_sample.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>
#include <utility>

#include "mpimerge/comm/collectives.hpp"

namespace mpimerge::select {
namespace {

using kernel::Bracket;

constexpr unsigned kShift = 18;
constexpr std::size_t kBins = std::size_t{Bracket::kEnd >> kShift};

struct Bin {
  std::uint64_t count;
  std::uint64_t sum;
  std::uint64_t squares;
  // Of the elements up to the bin's end, how many more one block has than the one before: squares.
  std::uint64_t unlike;
};
constexpr std::size_t kNumbers = 4;
static_assert(kBins * kNumbers * sizeof(std::uint64_t) == BracketSample::kBytesPerTask);

// The magnitude that all elements of a bin have, if they have one: the mean of the squares is then
// the square of the mean. Unsigned numbers that wrap keep the equation; should they satisfy it by
// chance, an atom is named that nobody meets.
std::optional<std::uint32_t> single_value(std::size_t bin, const Bin& of) {
  if (of.count == 0 || of.count * of.squares != of.sum * of.sum) return std::nullopt;
  return static_cast<std::uint32_t>((std::uint64_t{bin} << kShift) + of.sum / of.count);
}

// What all ranks took.
struct Taken {
  double blocks;
  double pairs;  // of neighbouring blocks that were compared
};

// Share of the elements to either side of the guess that the bracket has to hold.
// @param unlike  of the bin that has the guess
double half_width(const Taken& taken, double sampled, double unlike) {
  // The error of a quantile if neighbours were all the same, which they are not, and of a random
  // sample.
  const double at_worst = 0.4 / std::sqrt(taken.blocks) + 2 / std::sqrt(sampled);
  constexpr double kFewestPairs = 32;
  if (taken.pairs < kFewestPairs) return at_worst;
  constexpr double kStandardDeviations = 5;
  const double variance = taken.blocks * unlike / (2 * taken.pairs);
  return std::min(at_worst,
                  kStandardDeviations * std::sqrt(variance) / sampled + 0.5 / std::sqrt(sampled));
}

// The most frequent of the magnitudes in a bracket, if they are frequent.
void add_atoms(Bracket& bracket, std::span<const std::uint32_t> few) {
  // Rarer ones cost less in the list than in the counting.
  constexpr std::size_t kRarest = 256;
  std::vector<std::uint32_t> inside;
  std::copy_if(few.begin(), few.end(), std::back_inserter(inside), [&](std::uint32_t magnitude) {
    return magnitude >= bracket.low && magnitude < bracket.high;
  });
  std::sort(inside.begin(), inside.end());
  std::vector<std::pair<std::size_t, std::uint32_t>> atoms;
  for (auto run = inside.begin(); run != inside.end();) {
    const auto next = std::upper_bound(run, inside.end(), *run);
    const auto times = static_cast<std::size_t>(next - run);
    if (times * kRarest >= few.size()) atoms.emplace_back(times, *run);
    run = next;
  }
  std::sort(atoms.rbegin(), atoms.rend());
  bracket.atom_count = std::min(atoms.size(), bracket.atoms.size());
  for (std::size_t atom = 0; atom < bracket.atom_count; ++atom)
    bracket.atoms[atom] = atoms[atom].second;
}

// The magnitude that so many elements of a bin are below, if they are spread evenly.
std::uint32_t inside(std::size_t number, const Bin& bin, double elements) {
  if (const auto value = single_value(number, bin)) return *value;
  const double share = elements / static_cast<double>(bin.count);
  return static_cast<std::uint32_t>((std::uint64_t{number} << kShift) +
                                    static_cast<std::uint64_t>(share * ((1u << kShift) - 1)));
}

// The bin that has the n-th of all elements.
std::size_t bin_of(std::span<const Bin> bins, double n) {
  std::uint64_t before = 0;
  for (std::size_t bin = 0; bin < kBins; ++bin) {
    before += bins[bin].count;
    if (n <= static_cast<double>(before)) return bin;
  }
  return kBins - 1;
}

BracketGuess guess_of(std::span<const Bin> bins, double share, const Taken& taken) {
  BracketGuess guess;
  Bracket& bracket = guess.bracket;
  std::uint64_t sampled = 0;
  for (const Bin& bin : bins) sampled += bin.count;
  if (sampled == 0) return guess;
  const auto all = static_cast<double>(sampled);
  const std::size_t middle = bin_of(bins, share * all);
  const std::uint64_t unlike =
      std::max(bins[middle].unlike, middle > 0 ? bins[middle - 1].unlike : 0);
  const double half = half_width(taken, all, static_cast<double>(unlike));
  const double lowest = (share - half) * all;
  const double highest = (share + half) * all;
  // Whole bins: within one, values can stand in a few heaps, and an edge between them would miss.
  std::uint64_t before = 0;
  for (std::size_t bin = 0; bin < kBins; ++bin) {
    const auto first = static_cast<double>(before);
    before += bins[bin].count;
    const auto last = static_cast<double>(before);
    const double sought = share * all;
    if (first < sought && sought <= last) guess.threshold = inside(bin, bins[bin], sought - first);
    if (first <= lowest && lowest < last) bracket.low = static_cast<std::uint32_t>(bin << kShift);
    if (highest < all && first < highest && highest <= last)
      bracket.high = static_cast<std::uint32_t>((bin + 1) << kShift);
  }
  return guess;
}

}  // namespace

BracketSample::BracketSample(std::size_t tasks)
    : tasks_(tasks),
      bins_(tasks * kBins * kNumbers + 2),
      current_(tasks),
      previous_(tasks),
      few_(tasks) {
  for (Block& block : current_) block.counts.resize(kBins);
  for (Block& block : previous_) block.counts.resize(kBins);
}

void BracketSample::add(std::size_t task, std::span<const std::uint32_t> magnitudes) {
  std::uint64_t* const bins = bins_.data() + task * kBins * kNumbers;
  Block& block = current_[task];
  if (block.elements == 0) block.first = kBins;
  block.elements += magnitudes.size();
  for (const std::uint32_t magnitude : magnitudes) {
    const std::uint64_t rest = magnitude & ((1u << kShift) - 1);
    const std::size_t number = magnitude >> kShift;
    std::uint64_t* const bin = bins + number * kNumbers;
    bin[0] += 1;
    bin[1] += rest;
    bin[2] += rest * rest;
    ++block.counts[number];
    block.first = std::min(block.first, number);
    block.last = std::max(block.last, number + 1);
  }
  few_[task].add(magnitudes);
}

// Every stride-th magnitude; when they are many, every second of them.
void BracketSample::Few::add(std::span<const std::uint32_t> magnitudes) {
  constexpr std::size_t kMost = std::size_t{1} << 14;
  for (const std::uint32_t magnitude : magnitudes) {
    if (passed++ % stride != 0) continue;
    taken.push_back(magnitude);
    if (taken.size() < kMost) continue;
    for (std::size_t half = 0; half < kMost / 2; ++half) taken[half] = taken[2 * half];
    taken.resize(kMost / 2);
    stride *= 2;
  }
}

void BracketSample::end_block() {
  // The tasks have the same blocks.
  bool compared = false;
  for (std::size_t task = 0; task < tasks_; ++task) {
    Block& block = current_[task];
    Block& before = previous_[task];
    // Of unlike lengths, blocks would differ for that alone.
    if (block.elements > 0 && block.elements == before.elements) {
      compared = true;
      std::uint64_t* const bins = bins_.data() + task * kBins * kNumbers;
      std::int64_t difference = 0;
      for (std::size_t bin = std::min(block.first, before.first);
           bin < std::max(block.last, before.last); ++bin) {
        difference += std::int64_t{block.counts[bin]} - std::int64_t{before.counts[bin]};
        bins[bin * kNumbers + 3] += static_cast<std::uint64_t>(difference * difference);
      }
    }
    std::fill(before.counts.begin() + static_cast<std::ptrdiff_t>(before.first),
              before.counts.begin() + static_cast<std::ptrdiff_t>(before.last), 0);
    before.first = before.last = 0;
    before.elements = 0;
    std::swap(block, before);
  }
  if (compared) ++bins_.back();
}

std::vector<BracketGuess> BracketSample::brackets(const comm::Comm& comm, std::uint64_t elements,
                                                  std::span<const std::uint64_t> positions,
                                                  std::uint64_t blocks) {
  std::vector<Sought> sought;
  for (std::size_t task = 0; task < tasks_; ++task) sought.push_back({task, positions[task]});
  return brackets(comm, elements, sought, blocks);
}

std::vector<BracketGuess> BracketSample::brackets(const comm::Comm& comm, std::uint64_t elements,
                                                  std::span<const Sought> sought,
                                                  std::uint64_t blocks) {
  bins_[bins_.size() - 2] = blocks;
  comm::all_reduce_sum(comm, std::span<std::uint64_t>(bins_));
  const Taken taken{static_cast<double>(bins_[bins_.size() - 2]),
                    static_cast<double>(bins_.back())};
  std::vector<BracketGuess> guesses;
  std::vector<Bin> bins(kBins);
  for (const Sought& each : sought) {
    const std::uint64_t* numbers = bins_.data() + each.task * kBins * kNumbers;
    for (Bin& bin : bins) {
      bin = {numbers[0], numbers[1], numbers[2], numbers[3]};
      numbers += kNumbers;
    }
    const double share = static_cast<double>(each.position) / static_cast<double>(elements);
    guesses.push_back(guess_of(bins, share, taken));
    add_atoms(guesses.back().bracket, few_[each.task].taken);
  }
  return guesses;
}

}  // namespace mpimerge::select
