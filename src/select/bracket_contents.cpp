#include "select/bracket_contents.hpp"

#include <algorithm>
#include <array>

namespace mpimerge::select {
namespace {

using kernel::Bracket;

// Narrow: at most so many magnitudes. Each stretch of them that occurs takes a page, of a few lines
// of the cache: the values of bfloat16 models stand far apart.
constexpr std::uint32_t kNarrow = std::uint32_t{1} << 24;
constexpr unsigned kStretchBits = 6;
constexpr std::size_t kStretch = std::size_t{1} << kStretchBits;
constexpr std::uint64_t kPageBytes = kStretch * sizeof(std::uint32_t);
constexpr std::uint32_t kNoPage = 0xffffffffu;
// Pages are made this many at a time: growth that copies would need more memory than is counted.
constexpr std::uint32_t kPagesPerPiece = 64;
constexpr std::size_t kListElements = std::size_t{1} << 14;
constexpr std::uint64_t kListBytes = kListElements * sizeof(std::uint32_t);
constexpr std::size_t kWordsAtOnce = 4096;

}  // namespace

unsigned BracketContents::bin_shift(const Bracket& bracket) noexcept {
  unsigned shift = 0;
  while (((bracket.high - 1 - bracket.low) >> shift) >= kBins) ++shift;
  return shift;
}

void BracketContents::open(const Bracket& bracket, std::uint64_t& memory_left) {
  close(memory_left);
  bracket_ = bracket;
  const std::uint64_t stretches =
      (std::uint64_t{bracket.high - bracket.low} + kStretch - 1) >> kStretchBits;
  const std::uint64_t bytes = stretches * sizeof(std::uint32_t);
  if (bracket.high - bracket.low > kNarrow || bytes > memory_left) return;
  memory_left -= bytes;
  stretches_.assign(stretches, kNoPage);
}

void BracketContents::add(std::span<const std::uint32_t> magnitudes, std::uint64_t& memory_left) {
  if (!bins_.empty()) return count_in_bins(magnitudes);
  if (!stretches_.empty()) return tally(magnitudes, memory_left);
  list(magnitudes, memory_left);
}

void BracketContents::add(std::uint32_t magnitude, std::uint64_t times,
                          std::uint64_t& memory_left) {
  constexpr std::size_t kCopies = 1024;
  std::array<std::uint32_t, kCopies> copies{};
  std::fill_n(copies.begin(), std::min<std::uint64_t>(times, kCopies), magnitude);
  while (times > 0) {
    if (!bins_.empty()) {
      bins_[(magnitude - bracket_.low) >> bin_shift(bracket_)] += times;
      return;
    }
    // As a rule there are few.
    const auto some = std::span(copies).first(std::min<std::uint64_t>(times, kCopies));
    add(some, memory_left);
    times -= some.size();
    if (stretches_.empty() || !bins_.empty()) continue;
    std::uint32_t& counter_of = counter(stretches_[(magnitude - bracket_.low) >> kStretchBits],
                                        (magnitude - bracket_.low) % kStretch);
    const std::uint64_t sum = counter_of + times;
    counter_of = static_cast<std::uint32_t>(sum);
    carries_.insert(carries_.end(), sum >> 32, magnitude);
    return;
  }
}

void BracketContents::add_bins(std::span<const std::uint64_t> bins, std::uint64_t& memory_left) {
  if (bins_.empty()) fall_back_to_bins(memory_left);
  for (std::size_t bin = 0; bin < bins_.size(); ++bin) bins_[bin] += bins[bin];
}

void BracketContents::close(std::uint64_t& memory_left) {
  memory_left += stretches_.size() * sizeof(std::uint32_t);
  memory_left += pages_ * kPageBytes;
  memory_left += lists_.size() * kListBytes;
  stretches_ = {};
  pages_ = 0;
  counters_ = {};
  carries_ = {};
  lists_ = {};
  bins_ = {};
}

void BracketContents::count(const Bracket& bracket, std::span<std::uint64_t> counts) const {
  for (std::size_t bin = 0; bin < bins_.size(); ++bin) counts[bin] += bins_[bin];
  const unsigned shift = bin_shift(bracket);
  each([&](std::uint32_t magnitude, std::uint64_t times) {
    if (magnitude >= bracket.low && magnitude < bracket.high)
      counts[(magnitude - bracket.low) >> shift] += times;
  });
}

void BracketContents::put(const Bracket& bracket, const base::PutWords& words) const {
  std::vector<std::uint64_t> some;
  const auto flush = [&] {
    words(some);
    some.clear();
  };
  each([&](std::uint32_t magnitude, std::uint64_t times) {
    if (magnitude < bracket.low || magnitude >= bracket.high) return;
    some.push_back(pack({magnitude, times}));
    if (some.size() == kWordsAtOnce) flush();
  });
  if (!some.empty()) flush();
}

BracketContents::Entry BracketContents::unpack(std::uint64_t word) noexcept {
  return {static_cast<std::uint32_t>(word % Bracket::kEnd), word / Bracket::kEnd};
}

std::uint64_t BracketContents::pack(const Entry& entry) noexcept {
  return entry.times * Bracket::kEnd + entry.magnitude;
}

std::uint32_t& BracketContents::counter(std::uint32_t page, std::uint32_t index) {
  return counters_[page / kPagesPerPiece][page % kPagesPerPiece * kStretch + index];
}

void BracketContents::tally(std::span<const std::uint32_t> magnitudes, std::uint64_t& memory_left) {
  for (std::size_t done = 0; done < magnitudes.size(); ++done) {
    const std::uint32_t index = magnitudes[done] - bracket_.low;
    std::uint32_t& page = stretches_[index >> kStretchBits];
    if (page == kNoPage) {
      if (memory_left < kPageBytes) {
        fall_back_to_bins(memory_left);
        return count_in_bins(magnitudes.subspan(done));
      }
      memory_left -= kPageBytes;
      page = pages_++;
      if (page % kPagesPerPiece == 0) counters_.emplace_back(kPagesPerPiece << kStretchBits);
    }
    if (++counter(page, index % kStretch) == 0) carries_.push_back(magnitudes[done]);
  }
}

void BracketContents::list(std::span<const std::uint32_t> magnitudes, std::uint64_t& memory_left) {
  while (!magnitudes.empty()) {
    if (lists_.empty() || lists_.back().size() == kListElements) {
      if (memory_left < kListBytes) {
        fall_back_to_bins(memory_left);
        return count_in_bins(magnitudes);
      }
      memory_left -= kListBytes;
      lists_.emplace_back().reserve(kListElements);
    }
    std::vector<std::uint32_t>& page = lists_.back();
    const auto part = magnitudes.first(std::min(magnitudes.size(), kListElements - page.size()));
    page.insert(page.end(), part.begin(), part.end());
    magnitudes = magnitudes.subspan(part.size());
  }
}

void BracketContents::fall_back_to_bins(std::uint64_t& memory_left) {
  std::vector<std::uint64_t> bins(kBins);
  count(bracket_, bins);
  close(memory_left);
  bins_ = std::move(bins);
}

void BracketContents::count_in_bins(std::span<const std::uint32_t> magnitudes) {
  const unsigned shift = bin_shift(bracket_);
  for (const std::uint32_t magnitude : magnitudes) ++bins_[(magnitude - bracket_.low) >> shift];
}

template <class Visit>
void BracketContents::each(Visit visit) const {
  for (const std::vector<std::uint32_t>& page : lists_) {
    for (const std::uint32_t magnitude : page) visit(magnitude, std::uint64_t{1});
  }
  for (std::size_t stretch = 0; stretch < stretches_.size(); ++stretch) {
    if (stretches_[stretch] == kNoPage) continue;
    for (std::size_t index = 0; index < kStretch; ++index) {
      const auto magnitude =
          bracket_.low + static_cast<std::uint32_t>((stretch << kStretchBits) + index);
      const std::uint32_t count =
          counters_[stretches_[stretch] / kPagesPerPiece]
                   [stretches_[stretch] % kPagesPerPiece * kStretch + index];
      if (count > 0) visit(magnitude, std::uint64_t{count});
    }
  }
  for (const std::uint32_t magnitude : carries_) visit(magnitude, std::uint64_t{1} << 32);
}

}  // namespace mpimerge::select
