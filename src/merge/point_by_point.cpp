#include "merge/point_by_point.hpp"

#include <algorithm>
#include <utility>

#include "mpimerge/base/dtype.hpp"

#include "merge/shard_parts.hpp"

namespace mpimerge::merge {

PointByPoint::PointByPoint(const plan::Plan& plan, const plan::ReadPlan& reads,
                           std::vector<std::unique_ptr<Merge>> merges, BlockStore& store)
    : plan_(plan), reads_(reads), merges_(std::move(merges)), store_(store) {}

std::vector<Step> PointByPoint::steps(const plan::Traffic& traffic) {
  std::vector<std::vector<Step>> by_step;
  for (const auto& merge : merges_) {
    std::vector<Step> own = merge->steps(traffic);
    by_step.resize(std::max(by_step.size(), own.size()));
    for (std::size_t number = 0; number < own.size(); ++number)
      by_step[number].push_back(std::move(own[number]));
  }
  std::vector<Step> steps;
  for (std::vector<Step>& each : by_step) {
    Step step{each.front().name, {}, {}};
    for (const Step& part : each) step.expected += part.expected;
    step.run = [parts = std::move(each)](const comm::Comm& comm, const Progress& progress,
                                         const RunPart& part) {
      for (std::size_t number = 0; number < parts.size(); ++number) {
        const auto all = static_cast<double>(parts.size());
        const auto done = static_cast<double>(number);
        const auto share = [&](double of_part) { progress((done + of_part) / all); };
        if (!parts[number].run(comm, share, part)) return false;
      }
      return true;
    };
    steps.push_back(std::move(step));
  }
  return steps;
}

void PointByPoint::merge_chunk(std::size_t group, base::ElementRange chunk,
                               std::span<std::byte> out) {
  const std::size_t element = base::element_bytes(plan_.groups[group].dtype).value();
  const std::size_t of_point = chunk.count().value() * element;
  const std::vector<plan::Block> blocks = plan::blocks(reads_, group, chunk);
  store_.hold(true);
  for (std::size_t number = 0; number < blocks.size(); ++number) {
    if (number + kReadAhead < blocks.size()) store_.read_ahead(blocks[number + kReadAhead]);
    const base::ElementRange range = blocks[number].range;
    const std::size_t begin = (range.begin - chunk.begin).value() * element;
    for (std::size_t point = 0; point < merges_.size(); ++point) {
      merges_[point]->merge_chunk(
          group, range, out.subspan(point * of_point + begin, range.count().value() * element));
    }
  }
  store_.hold(false);
}

bool PointByPoint::settle(const comm::Comm& comm) {
  bool settled = true;
  for (const auto& merge : merges_) {
    const bool own = merge->settle(comm);
    settled = settled && own;
  }
  return settled;
}

// Of each merge how many numbers, then these.
std::vector<std::uint64_t> PointByPoint::progress(const comm::Comm& comm) const {
  std::vector<std::uint64_t> numbers;
  for (const auto& merge : merges_) {
    const std::vector<std::uint64_t> own = merge->progress(comm);
    numbers.push_back(own.size());
    numbers.insert(numbers.end(), own.begin(), own.end());
  }
  return numbers;
}

bool PointByPoint::restore(const std::vector<std::uint64_t>& progress, bool counts) {
  std::span<const std::uint64_t> left(progress);
  for (const auto& merge : merges_) {
    if (left.empty() || left.front() > left.size() - 1) return false;
    const auto own = left.subspan(1, left.front());
    if (!merge->restore({own.begin(), own.end()}, counts)) return false;
    left = left.subspan(1 + own.size());
  }
  return left.empty();
}

// Some merges may be a step ahead of others: their looks begin anew.
plan::PassState PointByPoint::pass_state(const comm::Comm& /*comm*/) const { return {}; }

void PointByPoint::put_own(const base::PutWords& /*words*/) const {}

bool PointByPoint::take_up(const plan::PassState& state) { return state == plan::PassState{}; }

bool PointByPoint::take_own(const base::TakeWord& /*word*/) { return true; }

}  // namespace mpimerge::merge
