#include "mpimerge/select/threshold_search.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>

#include "mpimerge/comm/collectives.hpp"

#include "select/digits.hpp"

namespace mpimerge::select {
namespace {

constexpr std::size_t kLanes = 4;

constexpr std::uint32_t magnitude(float value) noexcept {
  return std::bit_cast<std::uint32_t>(value) & 0x7fffffffu;
}

}  // namespace

ThresholdSearch::ThresholdSearch(const std::vector<std::uint64_t>& positions, base::Bytes memory)
    : states_(positions.size()), memory_left_(memory.value() / sizeof(std::uint32_t)) {
  static_assert(kDigits.size() == kRounds);
  for (std::size_t task = 0; task < positions.size(); ++task)
    states_[task].position = positions[task];
  const bool nothing_asked =
      std::all_of(positions.begin(), positions.end(), [](std::uint64_t n) { return n == 0; });
  if (nothing_asked) round_ = kRounds;
  if (done()) return;
  counts_.assign(states_.size() * kDigits[0].bins(), 0);
  lanes_.assign(kLanes * kDigits[0].bins(), 0);
}

bool ThresholdSearch::wants(std::size_t task) const noexcept {
  const State& state = states_[task];
  return !done() && state.position > 0 && !(round_ == 2 && state.keeps_left);
}

bool ThresholdSearch::needs_values() const noexcept {
  for (std::size_t task = 0; task < states_.size(); ++task) {
    if (wants(task)) return true;
  }
  return false;
}

void ThresholdSearch::count(std::size_t task, std::span<const float> values) {
  if (!wants(task)) return;
  if (round_ == 0) return count_first_digit(task, values);
  State& state = states_[task];
  const std::uint32_t first_digit = round_ == 1 ? state.prefix : state.prefix >> kDigits[1].width;
  if (found_.size() < values.size() + kFoundPadding) found_.resize(values.size() + kFoundPadding);
  const std::size_t count = find_first_digit(values, first_digit, found_.data());
  const std::span<const std::uint32_t> found(found_.data(), count);
  count_left(task, found);
  if (round_ == 1) keep_left(state, found);
}

void ThresholdSearch::count_first_digit(std::size_t task, std::span<const float> values) {
  constexpr std::uint64_t kMostPerLane = 0xffffffffu;
  if (task != lanes_task_ || lanes_elements_ + values.size() > kMostPerLane) flush_lanes();
  lanes_task_ = task;
  lanes_elements_ += values.size();
  constexpr std::size_t kBins = kDigits[0].bins();
  std::uint32_t* const lanes = lanes_.data();
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      ++lanes[lane * kBins + (magnitude(values[i + lane]) >> kDigits[0].shift)];
    }
  }
  for (; i < values.size(); ++i) ++lanes[magnitude(values[i]) >> kDigits[0].shift];
}

void ThresholdSearch::flush_lanes() {
  if (lanes_elements_ == 0) return;
  constexpr std::size_t kBins = kDigits[0].bins();
  for (std::size_t bin = 0; bin < kBins; ++bin) {
    for (std::size_t lane = 0; lane < kLanes; ++lane)
      counts_[lanes_task_ * kBins + bin] += lanes_[lane * kBins + bin];
  }
  std::fill(lanes_.begin(), lanes_.end(), 0u);
  lanes_elements_ = 0;
}

// All of `magnitudes` have the task's first digit.
void ThresholdSearch::count_left(std::size_t task, std::span<const std::uint32_t> magnitudes) {
  const Digit digit = kDigits[static_cast<std::size_t>(round_)];
  const std::uint32_t prefix = states_[task].prefix;
  const std::uint32_t mask = static_cast<std::uint32_t>(digit.bins()) - 1;
  std::uint64_t* const bins = counts_.data() + task * digit.bins();
  for (const std::uint32_t key : magnitudes) {
    if ((key >> (digit.shift + digit.width)) == prefix) ++bins[(key >> digit.shift) & mask];
  }
}

void ThresholdSearch::keep_left(State& state, std::span<const std::uint32_t> magnitudes) {
  if (!state.keeps_left) return;
  if (magnitudes.size() <= memory_left_) {
    memory_left_ -= magnitudes.size();
    state.left.insert(state.left.end(), magnitudes.begin(), magnitudes.end());
    return;
  }
  memory_left_ += state.left.size();
  state.keeps_left = false;
  state.left = {};
}

void ThresholdSearch::advance(const comm::Comm& comm) {
  flush_lanes();
  comm::all_reduce_sum(comm, std::span<std::uint64_t>(counts_));
  const Digit digit = kDigits[static_cast<std::size_t>(round_)];
  for (std::size_t task = 0; task < states_.size(); ++task) {
    State& state = states_[task];
    if (state.position == 0) continue;
    const std::uint64_t* const bins = counts_.data() + task * digit.bins();
    std::size_t bin = 0;
    while (bin < digit.bins() && state.position > bins[bin]) state.position -= bins[bin++];
    // Equal on all ranks, so all leave together.
    if (bin == digit.bins())
      throw std::logic_error("the threshold's position lies beyond the elements counted");
    state.prefix = (state.prefix << digit.width) | static_cast<std::uint32_t>(bin);
  }
  ++round_;
  lanes_ = {};
  if (done()) return;
  counts_.assign(states_.size() * kDigits[static_cast<std::size_t>(round_)].bins(), 0);
  if (round_ < 2) return;
  for (std::size_t task = 0; task < states_.size(); ++task) {
    if (states_[task].position > 0 && states_[task].keeps_left)
      count_left(task, states_[task].left);
    states_[task].left = {};
  }
}

std::vector<std::uint32_t> ThresholdSearch::thresholds() const {
  std::vector<std::uint32_t> bits;
  for (const State& state : states_) bits.push_back(state.prefix);
  return bits;
}

}  // namespace mpimerge::select
