#include "mpimerge/plan/coverage.hpp"

#include <algorithm>
#include <iterator>

namespace mpimerge::plan {

void Coverage::add(std::uint64_t group, base::ElementRange range) {
  if (range.empty()) return;
  auto next = ends_.upper_bound({group, range.begin});
  if (next != ends_.begin()) {
    const auto before = std::prev(next);
    if (before->first.first == group && before->second >= range.begin) {
      range.begin = before->first.second;
      range.end = std::max(range.end, before->second);
      ends_.erase(before);
    }
  }
  while (next != ends_.end() && next->first.first == group && next->first.second <= range.end) {
    range.end = std::max(range.end, next->second);
    next = ends_.erase(next);
  }
  ends_.emplace_hint(next, std::pair(group, range.begin), range.end);
}

void Coverage::add(const Coverage& other) {
  for (const auto& [place, end] : other.ends_) add(place.first, {place.second, end});
}

std::vector<base::ElementRange> Coverage::gaps(std::uint64_t group,
                                               base::ElementRange range) const {
  std::vector<base::ElementRange> gaps;
  auto next = ends_.upper_bound({group, range.begin});
  if (next != ends_.begin()) {
    const auto before = std::prev(next);
    if (before->first.first == group) range.begin = std::max(range.begin, before->second);
  }
  while (range.begin < range.end) {
    const bool ends = next == ends_.end() || next->first.first != group;
    const base::Elements end = ends ? range.end : std::min(range.end, next->first.second);
    if (range.begin < end) gaps.push_back({range.begin, end});
    if (ends) break;
    range.begin = next++->second;
  }
  return gaps;
}

base::Elements Coverage::elements() const {
  base::Elements sum;
  for (const auto& [place, end] : ends_) sum += end - place.second;
  return sum;
}

std::vector<std::uint64_t> Coverage::numbers() const {
  std::vector<std::uint64_t> numbers;
  for (const auto& [place, end] : ends_)
    numbers.insert(numbers.end(), {place.first, place.second.value(), end.value()});
  return numbers;
}

std::optional<Coverage> Coverage::from_numbers(std::span<const std::uint64_t> numbers) {
  if (numbers.size() % 3 != 0) return std::nullopt;
  Coverage coverage;
  for (; !numbers.empty(); numbers = numbers.subspan(3)) {
    if (numbers[1] >= numbers[2]) return std::nullopt;
    coverage.add(numbers[0], {base::Elements{numbers[1]}, base::Elements{numbers[2]}});
  }
  return coverage;
}

bool Coverage::fits(const Plan& plan) const {
  return std::all_of(ends_.begin(), ends_.end(), [&](const auto& stretch) {
    const auto& [place, end] = stretch;
    return place.first < plan.groups.size() && end <= plan.groups[place.first].elements;
  });
}

}  // namespace mpimerge::plan
