#include "app/merge_rounds.hpp"

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/base/timer.hpp"
#include "mpimerge/plan/unfinished.hpp"

namespace mpimerge::app {

MergeRounds::MergeRounds(const comm::Comm& comm, const plan::Plan& plan, merge::Merge& merge,
                         std::vector<OutputWriter>& writers, const OutputLayout& file,
                         const std::vector<output::Slab>& finished)
    : comm_(comm), plan_(plan), merge_(merge), writers_(writers), file_(file) {
  schedule(finished);
}

void MergeRounds::schedule(const std::vector<output::Slab>& finished) {
  std::vector<std::vector<base::ElementRange>> ranges(file_.layout.datasets.size());
  for (const output::Slab& slab : finished) ranges[slab.dataset].push_back(slab.range);
  parts_.clear();
  for (std::size_t group = 0; group < plan_.groups.size(); ++group) {
    if (plan_.groups[group].elements == base::Elements{}) continue;
    const plan::Unfinished left(plan_, group, std::move(ranges[file_.dataset_of[group]]));
    parts_.push_back({group, left.rounds(), left.chunks(static_cast<std::uint64_t>(comm_.rank()))});
  }
}

void MergeRounds::restart() { schedule({}); }

base::Bytes MergeRounds::to_write() const {
  base::Bytes bytes;
  for (const Part& part : parts_) {
    const std::uint64_t element = base::element_bytes(plan_.groups[part.group].dtype).value();
    for (const base::ElementRange& chunk : part.mine)
      bytes += base::Bytes{chunk.count().value() * element};
  }
  return bytes;
}

bool MergeRounds::run(Recovery& recovery, Watchdog& watchdog, const merge::Progress& progress) {
  std::uint64_t all = 0;
  for (const Part& part : parts_) all += part.rounds;
  std::uint64_t done = 0;
  for (const Part& part : parts_) {
    for (std::uint64_t round = 0; round < part.rounds; ++round) {
      watchdog.feed("merge", done + 1);
      const base::ElementRange chunk =
          round < part.mine.size() ? part.mine[round] : base::ElementRange{};
      const comm::Wish wish = merge_round(part.group, chunk, recovery.wish());
      write_round(part.group, chunk.begin);
      progress(static_cast<double>(++done) / static_cast<double>(all));
      if (wish != comm::Wish::go_on) recovery.save(merge_, writers_);
      if (wish == comm::Wish::stop) return false;
    }
  }
  return true;
}

comm::Wish MergeRounds::merge_round(std::size_t group, base::ElementRange chunk, comm::Wish wish) {
  const base::Timer timer;
  const auto merge = [&] {
    out_.resize(chunk.count().value() * base::element_bytes(plan_.groups[group].dtype).value());
    merge_.merge_chunk(group, chunk, out_);
  };
  const comm::Wish agreed = comm::collectively(comm_, "merge", merge, wish);
  merge_seconds_ += timer.seconds();
  return agreed;
}

void MergeRounds::write_round(std::size_t group, base::Elements begin) {
  const base::Timer timer;
  for (OutputWriter& writer : writers_) {
    writer.write(file_.dataset_of[group], begin, out_);
    written_ += base::Bytes{out_.size()};
  }
  write_seconds_ += timer.seconds();
}

}  // namespace mpimerge::app
