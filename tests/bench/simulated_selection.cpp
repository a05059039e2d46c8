// The real selection (src/select over src/comm) under SimGrid's SMPI: what it reduces, and whether
// the thresholds are right. Compiled with smpicxx and started by tests/bench/simulate --selection,
// which prints what the skeleton of simulated_merge.cpp reduces beside it.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <span>
#include <vector>

#include <mpi.h>

#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/comm.hpp"
#include "mpimerge/kernel/bracket.hpp"
#include "mpimerge/plan/read_plan.hpp"
#include "mpimerge/select/bracket_sample.hpp"
#include "mpimerge/select/threshold_search.hpp"

#include "select/allreduce_counter.hpp"

namespace {

using namespace mpimerge;

constexpr std::size_t kElementsPerRank = 2000;

std::vector<float> values_of(int rank, std::size_t task) {
  std::mt19937_64 random(static_cast<std::uint64_t>(rank) * 1009 + task);
  std::normal_distribution<float> normal(0.0F, 1e-3F);
  std::vector<float> values(kElementsPerRank);
  for (float& value : values) value = normal(random);
  return values;
}

std::uint32_t threshold_by_sorting(int ranks, std::size_t task, std::uint64_t position) {
  std::vector<std::uint32_t> magnitudes;
  for (int rank = 0; rank < ranks; ++rank) {
    for (const float value : values_of(rank, task))
      magnitudes.push_back(std::bit_cast<std::uint32_t>(value) & 0x7fffffffU);
  }
  const auto wanted = magnitudes.begin() + static_cast<std::ptrdiff_t>(position - 1);
  std::nth_element(magnitudes.begin(), wanted, magnitudes.end());
  return *wanted;
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  const std::size_t tasks = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 4;
  int wrong = 0;
  {
    const comm::Comm world = comm::Comm::duplicate(MPI_COMM_WORLD);
    const std::uint64_t elements = kElementsPerRank * static_cast<std::uint64_t>(world.ranks());
    std::vector<std::uint64_t> positions;
    for (std::size_t task = 0; task < tasks; ++task)
      positions.push_back(elements * (task + 1) / (tasks + 1));
    std::vector<std::vector<float>> values;
    for (std::size_t task = 0; task < tasks; ++task)
      values.push_back(values_of(world.rank(), task));

    test::reset_allreduces();
    const double begin = MPI_Wtime();
    const std::vector<float> base(kElementsPerRank);
    std::vector<std::uint32_t> list(kElementsPerRank + kernel::kListPadding);
    const auto count = [&](std::size_t task, const kernel::Bracket& bracket) {
      return kernel::count_bracket(base::Dtype::f32, std::as_bytes(std::span(values[task])),
                                   std::as_bytes(std::span(base)), bracket, list.data());
    };
    select::ThresholdSearch search(elements, positions);
    for (std::size_t first = 0; first < tasks; first += plan::kTasksPerSample) {
      const std::size_t batch = std::min(plan::kTasksPerSample, tasks - first);
      select::BracketSample sample(batch);
      comm::collectively(world, "sample", [&] {
        for (std::size_t task = 0; task < batch; ++task) {
          const std::size_t listed = count(first + task, kernel::Bracket{}).listed;
          sample.add(task, std::span(list).first(std::min<std::size_t>(listed, 200)));
        }
      });
      const auto guesses =
          sample.brackets(world, elements, std::span(positions).subspan(first, batch), 16);
      for (std::size_t task = 0; task < batch; ++task)
        search.narrow(first + task, guesses[task].bracket);
    }
    while (!search.done()) {
      comm::collectively(world, "select", [&] {
        if (!search.needs_values()) return;
        for (std::size_t task = 0; task < tasks; ++task) {
          const kernel::BracketCount found = count(task, search.bracket(task));
          search.add(task, found, std::span(list).first(found.listed));
        }
      });
      search.advance(world);
    }
    const double seconds = MPI_Wtime() - begin;
    const test::Allreduces sent = test::allreduces();

    if (world.is_root()) {
      const std::vector<std::uint32_t> thresholds = search.thresholds();
      for (std::size_t task = 0; task < tasks; ++task) {
        if (thresholds[task] != threshold_by_sorting(world.ranks(), task, positions[task])) ++wrong;
      }
      std::printf(
          "{\"allreduces\": %llu, \"allreduce_bytes\": %llu, \"seconds\": %.9g, "
          "\"wrong_thresholds\": %d}\n",
          static_cast<unsigned long long>(sent.calls), static_cast<unsigned long long>(sent.bytes),
          seconds, wrong);
    }
  }
  MPI_Finalize();
  return wrong == 0 ? 0 : 1;
}
