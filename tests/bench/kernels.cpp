// The kernels in bytes of their inputs per second, beside a copy and a read of memory in the same
// run. Arguments of a benchmark: MiB of one model. Run with --benchmark_filter, --benchmark_format.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "mpimerge/kernel/bracket.hpp"
#include "mpimerge/kernel/convert.hpp"
#include "mpimerge/kernel/ties.hpp"

namespace {

using namespace mpimerge;

constexpr std::size_t kTile = 8192;  // as src/merge/ties.cpp has it
constexpr std::size_t kTasks = 4;

using Halves = std::vector<std::uint16_t>;

std::span<const std::byte> bytes_of(const Halves& values) {
  return std::as_bytes(std::span(values));
}

std::size_t elements_of(const benchmark::State& state) {
  return static_cast<std::size_t>(state.range(0)) * (std::size_t{1} << 20) / sizeof(std::uint16_t);
}

void report(benchmark::State& state, std::size_t bytes) {
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes) * state.iterations());
}

enum class Deltas { normal, all_equal, two_values, heavy_tailed };

// What fine-tuning adds to a weight of about 0.02.
float delta(Deltas kind, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0F, 3e-4F);
  switch (kind) {
    case Deltas::normal: return normal(random);
    case Deltas::all_equal: return 0x1p-10F;
    case Deltas::two_values: return random() % 4 == 0 ? 0x1p-9F : -0x1p-10F;
    case Deltas::heavy_tailed: return normal(random) / (0.05F + std::abs(normal(random)) * 3e3F);
  }
  return 0;
}

// A base and tasks in bfloat16: a block of random numbers, over and over.
struct Models {
  Halves base;
  std::vector<Halves> tasks;

  Models(std::size_t elements, Deltas kind, std::size_t task_count = kTasks)
      : base(elements), tasks(task_count, Halves(elements)) {
    std::mt19937 random(1);
    // Equal differences need a base that can hold their sums.
    const bool coarse = kind == Deltas::all_equal || kind == Deltas::two_values;
    std::normal_distribution<float> normal(0.0F, 0.02F);
    const std::size_t block = std::min<std::size_t>(elements, std::size_t{1} << 18);
    for (std::size_t i = 0; i < block; ++i) {
      const float value = coarse ? 0.125F * (1 + static_cast<float>(random() % 2)) : normal(random);
      base[i] = kernel::f32_to_bf16(value);
      for (Halves& task : tasks)
        task[i] = kernel::f32_to_bf16(kernel::bf16_to_f32(base[i]) + delta(kind, random));
    }
    for (std::size_t i = block; i < elements; ++i) {
      base[i] = base[i - block];
      for (Halves& task : tasks) task[i] = task[i - block];
    }
  }

  [[nodiscard]] std::size_t bytes() const {
    return (tasks.size() + 1) * base.size() * sizeof(std::uint16_t);
  }
};

void memory_copy(benchmark::State& state) {
  const Halves from(elements_of(state), 1);
  Halves to(elements_of(state));
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), bytes_of(from).size());
    benchmark::ClobberMemory();
  }
  report(state, bytes_of(from).size());
}

void memory_read(benchmark::State& state) {
  const std::vector<std::uint64_t> from(elements_of(state) / 4, 1);
  for (auto _ : state) {
    benchmark::DoNotOptimize(std::accumulate(from.begin(), from.end(), std::uint64_t{0}));
  }
  report(state, from.size() * sizeof(std::uint64_t));
}

// As a merge converts: between memory and a tile of floats that stays in the cache.
void convert(benchmark::State& state, base::Dtype dtype, bool widens) {
  const std::size_t size = base::element_bytes(dtype).value();
  std::vector<std::byte> elements(elements_of(state) * sizeof(std::uint16_t), std::byte{0x3c});
  std::vector<float> tile(kTile, 1.0F);
  for (auto _ : state) {
    for (std::size_t begin = 0; begin + kTile * size <= elements.size(); begin += kTile * size) {
      const auto part = std::span(elements).subspan(begin, kTile * size);
      if (widens)
        kernel::to_f32(dtype, part, tile);
      else
        kernel::from_f32(dtype, tile, part);
      benchmark::ClobberMemory();
    }
  }
  report(state, elements.size());
}

void bf16_to_f32(benchmark::State& state) { convert(state, base::Dtype::bf16, true); }
void f32_to_bf16(benchmark::State& state) { convert(state, base::Dtype::bf16, false); }
void f16_to_f32(benchmark::State& state) { convert(state, base::Dtype::f16, true); }
void f32_to_f16(benchmark::State& state) { convert(state, base::Dtype::f16, false); }

void e4m3_to_f32(benchmark::State& state) { convert(state, base::Dtype::f8_e4m3, true); }
void f32_to_e4m3(benchmark::State& state) { convert(state, base::Dtype::f8_e4m3, false); }

// A bracket as the sample gives it: some percents of the elements to either side of the threshold,
// whole bins of 13 bits.
kernel::Bracket bracket_of(const Models& models, double share) {
  std::vector<std::uint32_t> magnitudes;
  for (std::size_t i = 0; i < std::min<std::size_t>(models.base.size(), 1u << 18); ++i) {
    const float tau = kernel::bf16_to_f32(models.tasks[0][i]) - kernel::bf16_to_f32(models.base[i]);
    magnitudes.push_back(std::bit_cast<std::uint32_t>(tau) & 0x7fffffffu);
  }
  std::sort(magnitudes.begin(), magnitudes.end());
  const auto at = [&](double part) {
    return magnitudes[static_cast<std::size_t>(part * static_cast<double>(magnitudes.size() - 1))];
  };
  kernel::Bracket bracket;
  bracket.low = at(share - 0.02) >> 18 << 18;
  bracket.high = ((at(share + 0.02) >> 18) + 1) << 18;
  if (at(share - 0.02) == at(share + 0.02)) bracket.atoms[bracket.atom_count++] = at(share);
  return bracket;
}

// The pass that selects: all tasks, by a bracket each.
void select_pass(benchmark::State& state, Deltas kind) {
  const Models models(elements_of(state), kind);
  const kernel::Bracket bracket = bracket_of(models, 0.8);
  std::vector<std::uint32_t> list(kTile + kernel::kListPadding);
  std::uint64_t listed = 0;
  for (auto _ : state) {
    listed = 0;
    for (std::size_t begin = 0; begin + kTile <= models.base.size(); begin += kTile) {
      const auto base = bytes_of(models.base).subspan(2 * begin, 2 * kTile);
      for (const Halves& task : models.tasks) {
        const auto values = bytes_of(task).subspan(2 * begin, 2 * kTile);
        const auto count =
            kernel::count_bracket(base::Dtype::bf16, values, base, bracket, list.data());
        listed += count.listed;
      }
    }
  }
  report(state, models.bytes());
  state.counters["listed"] =
      static_cast<double>(listed) / static_cast<double>(models.base.size() * models.tasks.size());
}

// The pass that merges, up to the output's bytes.
void merge_pass(benchmark::State& state, float weight) {
  const Models models(elements_of(state), Deltas::normal);
  const kernel::TiesRule rule;
  kernel::TiesScratch scratch(kTile);
  std::vector<float> values(kTile);
  Halves out(kTile);
  for (auto _ : state) {
    for (std::size_t begin = 0; begin + kTile <= models.base.size(); begin += kTile) {
      std::vector<kernel::TiesTask> tasks;
      for (const Halves& task : models.tasks)
        tasks.push_back({bytes_of(task).data() + 2 * begin, 0x39c00000u, weight, 0});
      kernel::merge_tile(rule, base::Dtype::bf16,
                         bytes_of(models.base).subspan(2 * begin, 2 * kTile), tasks, scratch,
                         values);
      kernel::from_f32(base::Dtype::bf16, values, std::as_writable_bytes(std::span(out)));
    }
  }
  report(state, models.bytes());
}

constexpr std::int64_t kMiB = 256;  // far beyond the caches

BENCHMARK(memory_copy)->Arg(kMiB);
BENCHMARK(memory_read)->Arg(kMiB);
BENCHMARK(bf16_to_f32)->Arg(kMiB);
BENCHMARK(f32_to_bf16)->Arg(kMiB);
BENCHMARK(f16_to_f32)->Arg(kMiB);
BENCHMARK(f32_to_f16)->Arg(kMiB);
BENCHMARK(e4m3_to_f32)->Arg(kMiB);
BENCHMARK(f32_to_e4m3)->Arg(kMiB);
BENCHMARK_CAPTURE(select_pass, normal, Deltas::normal)->Arg(1)->Arg(kMiB);
BENCHMARK_CAPTURE(select_pass, all_equal, Deltas::all_equal)->Arg(kMiB);
BENCHMARK_CAPTURE(select_pass, two_values, Deltas::two_values)->Arg(kMiB);
BENCHMARK_CAPTURE(select_pass, heavy_tailed, Deltas::heavy_tailed)->Arg(kMiB);
BENCHMARK_CAPTURE(merge_pass, weights_of_one, 1.0F)->Arg(1)->Arg(kMiB);
BENCHMARK_CAPTURE(merge_pass, other_weights, 0.5F)->Arg(kMiB);

}  // namespace

BENCHMARK_MAIN();
