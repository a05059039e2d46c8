#include "mpimerge/select/bracket_sample.hpp"

#include <algorithm>
#include <cmath>
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
};
constexpr std::size_t kNumbers = 3;
static_assert(kBins * kNumbers * sizeof(std::uint64_t) == BracketSample::kBytesPerTask);

// The magnitude that all elements of a bin have, if they have one: the mean of the squares is then
// the square of the mean. Unsigned numbers that wrap keep the equation; should they satisfy it by
// chance, an atom is named that nobody meets.
std::optional<std::uint32_t> single_value(std::size_t bin, const Bin& of) {
  if (of.count == 0 || of.count * of.squares != of.sum * of.sum) return std::nullopt;
  return static_cast<std::uint32_t>((std::uint64_t{bin} << kShift) + of.sum / of.count);
}

// Share of the elements to either side of the guess that the bracket has to hold: the error of a
// quantile if neighbours were all the same, which they are not, and of a random sample.
double half_width(double blocks, double sampled) {
  return 0.4 / std::sqrt(blocks) + 2 / std::sqrt(sampled);
}

void add_atoms(Bracket& bracket, std::span<const Bin> bins, std::uint64_t sampled) {
  // Rarer ones cost less in the list than in the counting.
  constexpr std::uint64_t kRarest = 256;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> atoms;
  for (std::size_t bin = bracket.low >> kShift; bin <= (bracket.high - 1) >> kShift; ++bin) {
    if (bins[bin].count * kRarest < sampled) continue;
    if (const auto value = single_value(bin, bins[bin]))
      atoms.emplace_back(bins[bin].count, *value);
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

BracketGuess guess_of(std::span<const Bin> bins, double share, double blocks) {
  BracketGuess guess;
  Bracket& bracket = guess.bracket;
  std::uint64_t sampled = 0;
  for (const Bin& bin : bins) sampled += bin.count;
  if (sampled == 0) return guess;
  const auto all = static_cast<double>(sampled);
  const double half = half_width(blocks, all);
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
  add_atoms(bracket, bins, sampled);
  return guess;
}

}  // namespace

BracketSample::BracketSample(std::size_t tasks)
    : tasks_(tasks), bins_(tasks * kBins * kNumbers + 1) {}

void BracketSample::add(std::size_t task, std::span<const std::uint32_t> magnitudes) {
  std::uint64_t* const bins = bins_.data() + task * kBins * kNumbers;
  for (const std::uint32_t magnitude : magnitudes) {
    const std::uint64_t rest = magnitude & ((1u << kShift) - 1);
    std::uint64_t* const bin = bins + std::size_t{magnitude >> kShift} * kNumbers;
    bin[0] += 1;
    bin[1] += rest;
    bin[2] += rest * rest;
  }
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
  bins_.back() = blocks;
  comm::all_reduce_sum(comm, std::span<std::uint64_t>(bins_));
  std::vector<BracketGuess> guesses;
  std::vector<Bin> bins(kBins);
  for (const Sought& each : sought) {
    const std::uint64_t* numbers = bins_.data() + each.task * kBins * kNumbers;
    for (Bin& bin : bins) {
      bin = {numbers[0], numbers[1], numbers[2]};
      numbers += kNumbers;
    }
    const double share = static_cast<double>(each.position) / static_cast<double>(elements);
    guesses.push_back(guess_of(bins, share, static_cast<double>(bins_.back())));
  }
  return guesses;
}

}  // namespace mpimerge::select
