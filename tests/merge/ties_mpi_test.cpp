#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/merge/ties.hpp"
#include "mpimerge/plan/build.hpp"
#include "mpimerge/plan/read_plan.hpp"

#include "merge/expected.hpp"
#include "merge/models.hpp"
#include "support/hash.hpp"
#include "support/temp_dir.hpp"
#include "support/world.hpp"

namespace mpimerge::merge {
namespace {

using base::Bytes;
using base::Dtype;
using checkpoint::Catalog;
using test::expect_ties;
using test::Expected;
using test::Model;
using test::ModelTensor;
using test::Storage;
using test::TempDir;
using test::world;
using testing::HasSubstr;

constexpr Bytes kNothing{0};
constexpr Bytes kPlenty{std::uint64_t{1} << 40};
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Every rank writes the models for itself, so that no test depends on who writes first.
struct Sources {
  std::unique_ptr<TempDir> directory = std::make_unique<TempDir>();
  std::vector<Model> models;
  std::vector<Catalog> catalogs;

  void add(const std::string& name, Model model, const Storage& storage = {}) {
    catalogs.push_back(test::write_model(directory->path(), name, model, storage));
    models.push_back(std::move(model));
  }

  plan::Plan plan(const comm::Comm& comm, plan::Request request = {}) const {
    request.ranks = static_cast<std::uint64_t>(comm.ranks());
    return plan::build_plan(request, catalogs[0], {catalogs.begin() + 1, catalogs.end()});
  }
};

plan::Request chunks_of(std::uint64_t bytes) {
  plan::Request request;
  request.chunk = Bytes{bytes};
  return request;
}

job::Job job_of(const std::vector<double>& densities) {
  job::Job job;
  for (const double density : densities) {
    job::Task task;
    task.parameters["density"] = method::Setting(density);
    job.tasks.push_back(task);
  }
  return job;
}

const Progress kUnseen = [](double) {};

// Runs all parts of a pass.
RunPart all_parts(const comm::Comm& comm) {
  return [&comm](const std::function<void()>& part) {
    comm::collectively(comm, "select", part);
    return true;
  };
}

struct Merged {
  std::uint64_t wrong_bytes = 0;
  std::vector<TaskTrim> tasks;
  kernel::TiesCounts counts;
  Bytes bytes_read;
  int runs = 0;  // over all chunks
};

// How the work goes about it, besides the job.
struct Way {
  Bytes memory = kPlenty;     // for resident blocks, and for what lies in brackets
  std::uint64_t block = 700;  // elements, at most
  bool guesses = true;        // samples before it selects
  std::optional<Bytes> magnitudes = std::nullopt;  // for what lies in brackets, if not `memory`
};

plan::ReadPlan reads_of(const plan::Plan& plan, const Way& way) {
  plan::ReadPlan reads = plan::plan_reads(plan, way.memory);
  for (base::Elements& elements : reads.blocks)
    elements = base::Elements{std::min(elements.value(), way.block)};
  reads.resident = way.memory;
  reads.magnitudes = way.magnitudes.value_or(way.memory);
  return reads;
}

// A merge as the program makes it. Every rank compares its own chunks with what is expected.
Merged merge_all(const comm::Comm& comm, const plan::Plan& plan, const job::Job& job,
                 const Expected& expected, const Way& way) {
  Merged merged;
  const plan::ReadPlan reads = reads_of(plan, way);
  const auto rank = static_cast<std::uint64_t>(comm.rank());
  BlockStore store(plan, reads, rank, pass_options(plan, job).selects);
  TiesMerge ties(plan, reads, job, store);
  if (way.guesses) {
    ties.sample(comm);
    ties.guess_sign(comm);
  }
  EXPECT_TRUE(ties.select(comm, kUnseen, all_parts(comm)));
  std::vector<std::byte> out;
  bool settled = false;
  while (!settled) {
    merged.wrong_bytes = 0;
    for (std::size_t group = 0; group < plan.groups.size(); ++group) {
      const std::size_t size = base::element_bytes(plan.groups[group].dtype).value();
      for (std::uint64_t round = 0; round < plan.rounds(group); ++round) {
        comm::collectively(comm, "merge", [&] {
          const base::ElementRange chunk = plan.chunk(group, rank, round);
          out.assign(chunk.count().value() * size, std::byte{0xee});
          ties.merge_chunk(group, chunk, out);
          const std::size_t begin = chunk.begin.value() * size;
          for (std::size_t i = 0; i < out.size(); ++i)
            merged.wrong_bytes += out[i] == expected.groups[group][begin + i] ? 0U : 1U;
        });
      }
    }
    settled = ties.settle(comm);
    ++merged.runs;
  }
  merged.tasks.assign(ties.trims().begin(), ties.trims().end());
  merged.counts = *ties.counts();
  merged.bytes_read = store.bytes_read();
  return merged;
}

void expect_as_expected(const comm::Comm& comm, const plan::Plan& plan, const job::Job& job,
                        const Expected& expected, const Way& way = {}) {
  const Merged merged = merge_all(comm, plan, job, expected, way);
  EXPECT_EQ(merged.wrong_bytes, 0U);
  EXPECT_EQ(merged.tasks.size(), expected.tasks.size());
  for (std::size_t task = 0; task < merged.tasks.size(); ++task) {
    EXPECT_EQ(merged.tasks[task].trim_rank, expected.tasks[task].trim_rank) << "task " << task;
    EXPECT_EQ(merged.tasks[task].threshold_bits, expected.tasks[task].threshold_bits)
        << "task " << task;
    EXPECT_EQ(merged.tasks[task].kept, expected.tasks[task].kept) << "task " << task;
  }
  EXPECT_EQ(merged.counts.positive, expected.ties.positive);
  EXPECT_EQ(merged.counts.negative, expected.ties.negative);
  EXPECT_EQ(merged.counts.cancelled, expected.ties.cancelled);
  EXPECT_EQ(merged.counts.untouched, expected.ties.untouched);
  EXPECT_EQ(merged.counts.conflicts_before_trim, expected.ties.conflicts_before_trim);
  EXPECT_EQ(merged.counts.conflicts_after_trim, expected.ties.conflicts_after_trim);
}

// Random models against the serial reference.

// Base values at random; deltas on a grid as coarse as 2^-6, so that many are equal and many sums
// cancel.
Model random_model(std::uint64_t task, const std::vector<Dtype>& floating) {
  struct Row {
    const char* name;
    std::vector<std::uint64_t> shape;
    Dtype copied;  // f32: one of the floating types in turn
  };
  const Row rows[] = {
      {"embed", {47, 61}, Dtype::f32}, {"ids", {533}, Dtype::i64},   {"norm", {64}, Dtype::f32},
      {"none", {0, 5}, Dtype::f32},    {"scale", {}, Dtype::f32},    {"mlp", {31, 53}, Dtype::f32},
      {"mask", {77}, Dtype::boolean},  {"gate", {1201}, Dtype::f32}, {"up", {300}, Dtype::f32},
      {"head", {5003}, Dtype::f32},    {"tail", {5}, Dtype::u8}};
  Model model;
  for (std::size_t number = 0; number < std::size(rows); ++number) {
    const Row& row = rows[number];
    ModelTensor tensor{row.name, row.copied, row.shape, {}};
    const std::uint64_t elements = test::elements_of(row.shape);
    if (row.copied != Dtype::f32) {
      tensor.bytes.resize(elements * base::element_bytes(row.copied).value());
      for (std::size_t i = 0; i < tensor.bytes.size(); ++i)
        tensor.bytes[i] = static_cast<std::byte>(test::hash(task, i) & 1U);
      model.push_back(std::move(tensor));
      continue;
    }
    tensor.dtype = floating[number % floating.size()];
    std::vector<double> values;
    for (std::uint64_t i = 0; i < elements; ++i) {
      const double base = std::round(256 * (test::uniform(number, i) - 0.5)) / 64;
      const double delta = std::round(16 * (test::uniform(100 * task + number, i) - 0.5)) / 64;
      values.push_back(task == 0 ? base : base + delta);
    }
    tensor.bytes = test::encode(tensor.dtype, values);
    model.push_back(std::move(tensor));
  }
  return model;
}

// Five models; types, order and files are different in each.
Sources random_sources() {
  Sources sources;
  sources.add("base", random_model(0, {Dtype::bf16, Dtype::f32, Dtype::f16, Dtype::f64}));
  sources.add("one", random_model(1, {Dtype::f32}), Storage{3, true, 101, 0});
  sources.add("two", random_model(2, {Dtype::bf16, Dtype::f32}), Storage{2, false, 7, 5});
  sources.add("three", random_model(3, {Dtype::f16, Dtype::bf16, Dtype::f64}), Storage{11, true});
  sources.add("four", random_model(4, {Dtype::f64}), Storage{1, true, 1, 0});
  return sources;
}

TEST(TiesMerge, EqualsTheReferenceForEveryAggregateAndTie) {
  const Sources sources = random_sources();
  const plan::Plan plan = sources.plan(world(), chunks_of(4096));
  job::Job job = job_of({0.2, 0.5, 0.01, 1.0});
  job.tasks[1].parameters["weight"] = method::Setting(0.3);
  job.tasks[2].parameters["weight"] = method::Setting(-1.5);
  job.parameters["lambda"] = method::Setting(0.7);
  for (const auto aggregate : {method::Aggregate::disjoint_mean, method::Aggregate::disjoint_sum,
                               method::Aggregate::disjoint_max}) {
    for (const auto tie : {method::SignTie::majority, method::SignTie::positive}) {
      job.rules.aggregate = aggregate;
      job.rules.sign_tie = tie;
      expect_as_expected(world(), plan, job, expect_ties(plan, job, sources.models));
    }
  }
}

TEST(TiesMerge, EqualsTheReferenceWhereTypesAreAlikeAndWhereOnlyOneDiffers) {
  for (const Dtype common : {Dtype::bf16, Dtype::f16, Dtype::f32}) {
    for (const Dtype other : {Dtype::bf16, Dtype::f16, Dtype::f32}) {
      Sources sources;
      sources.add("base", random_model(0, {common}));
      sources.add("one", random_model(1, {common}));
      sources.add("two", random_model(2, {other}));
      const plan::Plan plan = sources.plan(world(), chunks_of(4096));
      const job::Job job = job_of({0.2, 0.5});
      expect_as_expected(world(), plan, job, expect_ties(plan, job, sources.models));
    }
  }
}

TEST(TiesMerge, GivesTheSameBitsForEveryChunkSizeAndMemoryBudget) {
  const Sources sources = random_sources();
  const job::Job job = job_of({0.2, 0.2, 0.2, 0.2});
  const Expected expected = expect_ties(sources.plan(world()), job, sources.models);
  EXPECT_GT(expected.ties.cancelled, 0U) << "the models should have ties";
  for (const std::uint64_t chunk : {1U, 30'000U, 8'000'000U}) {
    const plan::Plan plan = sources.plan(world(), chunks_of(chunk));
    for (const Bytes memory : {kNothing, Bytes{50'000}, kPlenty}) {
      for (const std::uint64_t block : {100U, 5'000U, 1'000'000U})
        expect_as_expected(world(), plan, job, expected, {memory, block});
    }
  }
}

TEST(TiesMerge, RoundsToTheOutputsType) {
  const Sources sources = random_sources();
  const job::Job job = job_of({0.3, 0.3, 0.3, 0.3});
  for (const Dtype out : {Dtype::f64, Dtype::f32, Dtype::f16, Dtype::bf16}) {
    plan::Request request = chunks_of(4096);
    request.out_dtype = out;
    const plan::Plan plan = sources.plan(world(), request);
    expect_as_expected(world(), plan, job, expect_ties(plan, job, sources.models));
  }
}

TEST(TiesMerge, ReadsWhatThePlanPredicts) {
  const Sources sources = random_sources();
  const plan::Plan plan = sources.plan(world(), chunks_of(4096));
  const auto rank = static_cast<std::uint64_t>(world().rank());
  for (const auto tie : {method::SignTie::majority, method::SignTie::positive}) {
    for (job::Job job : {job_of({0.2, 0.2, 0.2, 0.2}), job_of({1.0, 1.0, 0.2, 1.0}),
                         job_of({1.0, 1.0, 1.0, 1.0})}) {
      for (const auto nan : {job::NanPolicy::error, job::NanPolicy::allow}) {
        job.rules.sign_tie = tie;
        job.nan = nan;
        const Expected expected = expect_ties(plan, job, sources.models);
        for (const Bytes memory : {Bytes{200'000}, Bytes{400'000}, kPlenty}) {
          Way way{memory};
          const plan::Traffic traffic =
              plan::predict_traffic(plan, reads_of(plan, way), rank, pass_options(plan, job));
          EXPECT_EQ(merge_all(world(), plan, job, expected, way).bytes_read,
                    traffic.sample + traffic.select + traffic.merge);
        }
      }
    }
  }
}

TEST(TiesMerge, ReadsTheInputsTwiceWhenStreaming) {
  const Sources sources = random_sources();
  const plan::Plan plan = sources.plan(world(), chunks_of(4096));
  const job::Job job = job_of({0.2, 0.2, 0.2, 0.2});
  const auto rank = static_cast<std::uint64_t>(world().rank());
  const Way way{kNothing, 700, true, kPlenty};
  const plan::Traffic traffic =
      plan::predict_traffic(plan, reads_of(plan, way), rank, pass_options(plan, job));

  const Merged merged = merge_all(world(), plan, job, expect_ties(plan, job, sources.models), way);

  // What is copied is read once.
  EXPECT_EQ(traffic.merge, plan::shard_bytes(plan, rank).read);
  EXPECT_LE(traffic.select, traffic.merge);
  EXPECT_EQ(merged.bytes_read, traffic.sample + traffic.select + traffic.merge);
}

TEST(TiesMerge, IsRightWithoutAnyGuess) {
  const Sources sources = random_sources();
  const plan::Plan plan = sources.plan(world(), chunks_of(4096));
  const job::Job job = job_of({0.2, 0.5, 0.01, 1.0});
  const Expected expected = expect_ties(plan, job, sources.models);
  expect_as_expected(world(), plan, job, expected, {kPlenty, 700, false});
  expect_as_expected(world(), plan, job, expected, {kNothing, 700, false});
}

TEST(TiesMerge, WorksOnASplitCommunicator) {
  const comm::Comm part = world().split(world().rank() % 2);
  const Sources sources = random_sources();
  const job::Job job = job_of({0.1, 0.1, 0.1, 0.1});
  const plan::Plan plan = sources.plan(part, chunks_of(4096));

  expect_as_expected(part, plan, job, expect_ties(plan, job, sources.models));
}

// Small models by hand.

Model vector_model(const std::vector<double>& values, Dtype dtype = Dtype::f32) {
  return {{"w", dtype, {values.size()}, test::encode(dtype, values)}};
}

Sources vectors(const std::vector<std::vector<double>>& models) {
  Sources sources;
  for (std::size_t number = 0; number < models.size(); ++number)
    sources.add("model " + std::to_string(number), vector_model(models[number]));
  return sources;
}

TEST(TiesMerge, MergesFewerElementsThanRanks) {
  for (std::size_t elements = 1; elements <= 3; ++elements) {
    const Sources sources =
        vectors({std::vector<double>(elements, 1.0), std::vector<double>(elements, 3.0),
                 std::vector<double>(elements, 2.5)});
    const plan::Plan plan = sources.plan(world());
    for (const double density : {1e-9, 0.5, 1.0}) {
      const job::Job job = job_of({density, density});
      expect_as_expected(world(), plan, job, expect_ties(plan, job, sources.models), {kNothing});
    }
  }
}

TEST(TiesMerge, LooksOnceMoreWhereWhatLiesInTheBracketsFindsNoMemory) {
  // No two magnitudes are the same.
  std::vector<double> task;
  for (std::uint64_t i = 0; i < 5000; ++i) task.push_back(test::uniform(1, i));
  const Sources sources = vectors({std::vector<double>(task.size(), 0.0), task});
  const plan::Plan plan = sources.plan(world(), chunks_of(4096));
  const job::Job job = job_of({0.2});
  const Expected expected = expect_ties(plan, job, sources.models);
  const auto read_by_all = [&](Bytes magnitudes) {
    const Merged merged =
        merge_all(world(), plan, job, expected, {kNothing, 700, true, magnitudes});
    EXPECT_EQ(merged.wrong_bytes, 0U);
    return comm::all_reduce_sum(world(), merged.bytes_read.value());
  };

  EXPECT_GT(read_by_all(kNothing), read_by_all(kPlenty));
}

// For merges whose bytes are not looked at.
Expected nothing_expected(const plan::Plan& plan) {
  Expected nothing;
  for (const plan::Group& group : plan.groups) {
    nothing.groups.emplace_back(group.elements.value() * base::element_bytes(group.dtype).value());
  }
  return nothing;
}

// Positions 0..1999 are elected positive, `negatives` after them negative, and the last 64 cancel;
// so the first ranks see positives only and the last ranks negatives.
Sources with_cancelling_end(std::size_t negatives) {
  std::vector<std::vector<double>> models(3);
  const auto append = [&](std::size_t count, double one, double two) {
    models[0].insert(models[0].end(), count, 10.0);
    models[1].insert(models[1].end(), count, 10.0 + one);
    models[2].insert(models[2].end(), count, 10.0 + two);
  };
  append(2000, 1, 2);
  append(negatives, -2, 1);
  append(64, 3, -3);
  return vectors(models);
}

struct MajorityRow {
  std::size_t negatives;
  method::SignTie tie;
  method::Aggregate aggregate;
  double at_the_end;  // merged value where the sum cancels
};

TEST(TiesMerge, CancellingSumsTakeTheMajorityOfTheWholeModel) {
  using method::Aggregate;
  using method::SignTie;
  const MajorityRow table[] = {
      {1999, SignTie::majority, Aggregate::disjoint_mean, 13},
      {2001, SignTie::majority, Aggregate::disjoint_mean, 7},
      {2000, SignTie::majority, Aggregate::disjoint_mean, 7},  // balanced: acts as negative
      {2000, SignTie::majority, Aggregate::disjoint_sum, 7},   // the same
      {2000, SignTie::majority, Aggregate::disjoint_max, 10},  // the sign 0 times the largest
      {1999, SignTie::majority, Aggregate::disjoint_max, 13},
      {2001, SignTie::majority, Aggregate::disjoint_max, 7},
      {2001, SignTie::positive, Aggregate::disjoint_mean, 13},
      {2000, SignTie::positive, Aggregate::disjoint_max, 13}};
  for (const MajorityRow& row : table) {
    const Sources sources = with_cancelling_end(row.negatives);
    const plan::Plan plan = sources.plan(world(), chunks_of(4096));
    job::Job job = job_of({1.0, 1.0});
    job.rules.sign_tie = row.tie;
    job.rules.aggregate = row.aggregate;
    const Expected expected = expect_ties(plan, job, sources.models);
    EXPECT_EQ(expected.ties.merged.back(), row.at_the_end) << row.negatives << " negatives";
    EXPECT_EQ(expected.ties.cancelled, 64U);

    expect_as_expected(world(), plan, job, expected, {kNothing});
    expect_as_expected(world(), plan, job, expected, {kPlenty});

    // Without a guess a positive sign is taken first; a wrong one costs a second run.
    const Merged merged = merge_all(world(), plan, job, expected, {kPlenty, 700, false});
    EXPECT_EQ(merged.wrong_bytes, 0U);
    EXPECT_EQ(merged.counts.cancelled, 64U);
    EXPECT_EQ(merged.tasks[0].kept, expected.tasks[0].kept);
    EXPECT_EQ(merged.runs, row.at_the_end == 13 ? 1 : 2);
    EXPECT_EQ(merge_all(world(), plan, job, expected, {kPlenty}).runs, 1);
  }
}

TEST(TiesMerge, AWrongSignCostsNothingWhereNothingCancels) {
  const Sources sources = vectors({std::vector<double>(50, 10.0), std::vector<double>(50, 7.0)});
  const plan::Plan plan = sources.plan(world());
  job::Job job = job_of({1.0});
  job.rules.sign_tie = method::SignTie::majority;

  const Expected expected = expect_ties(plan, job, sources.models);
  EXPECT_EQ(merge_all(world(), plan, job, expected, {kPlenty, 700, false}).runs, 1);
}

TEST(TiesMerge, AClearMajorityOfTheSampleIsTheSignThatIsTried) {
  // Many stretches that the sample has to see one sign in: nothing is counted while selecting.
  const Sources sources = with_cancelling_end(100'000);
  const plan::Plan plan = sources.plan(world());
  job::Job job = job_of({1.0, 1.0});
  job.rules.sign_tie = method::SignTie::majority;

  const Expected expected = expect_ties(plan, job, sources.models);
  const Merged merged = merge_all(world(), plan, job, expected, {kPlenty, 100'000});
  EXPECT_EQ(merged.wrong_bytes, 0U);
  EXPECT_EQ(merged.runs, 1);
}

// Models so large that the sample sees only some of them, although there are few ranks: what is
// elected where it looks is chosen apart from what is elected elsewhere.
class BesideTheSample {
 public:
  static constexpr std::size_t kElements = 2'200'000;

  BesideTheSample() {
    const Sources any = sources();
    const plan::Plan plan = any.plan(world());
    std::size_t number = 0;
    for (std::uint64_t rank = 0; rank < plan.ranks; ++rank) {
      for (const plan::Block& block : plan::sample_blocks(plan, rank)) {
        for (std::uint64_t at = block.range.begin.value(); at < block.range.end.value(); ++at)
          block_[at] = number;
        ++number;
      }
    }
  }

  // Whether the sample looks there, and in which of its blocks.
  bool sampled(std::size_t at) const { return block_[at] != kNowhere; }
  std::size_t block(std::size_t at) const { return block_[at]; }
  void elect(std::size_t at, int sign) { signs_[at] = static_cast<float>(sign); }

  // The last element of all cancels.
  int runs(method::Aggregate aggregate) const {
    const Sources made = sources();
    const plan::Plan plan = made.plan(world());
    job::Job job = job_of({1.0, 1.0});
    job.rules.sign_tie = method::SignTie::majority;
    job.rules.aggregate = aggregate;
    return merge_all(world(), plan, job, nothing_expected(plan), {kPlenty, 100'000}).runs;
  }

 private:
  static constexpr std::size_t kNowhere = SIZE_MAX;

  Sources sources() const {
    Sources made;
    std::vector<float> other(kElements, 0.0F);
    std::vector<float> one = signs_;
    one.back() = 1;
    other.back() = -1;
    for (const auto& values : {std::vector<float>(kElements, 0.0F), one, other}) {
      ModelTensor tensor{"w", Dtype::f32, {kElements}, std::vector<std::byte>(kElements * 4)};
      std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
      made.add("model " + std::to_string(made.models.size()), {tensor});
    }
    return made;
  }

  std::vector<float> signs_ = std::vector<float>(kElements, 0.0F);
  std::vector<std::size_t> block_ = std::vector<std::size_t>(kElements, kNowhere);
};

TEST(TiesMerge, CountsAllSignsWhereTheSampleCannotTell) {
  if (world().ranks() > 2) return;  // the samples of more ranks see everything
  BesideTheSample models;
  // Some more blocks say positive, no more than chance may do; all that is not seen says negative.
  for (std::size_t at = 0; at < BesideTheSample::kElements; ++at) {
    const bool positive =
        models.sampled(at) && (models.block(at) < 20 || models.block(at) % 2 == 0);
    models.elect(at, positive ? 1 : -1);
  }

  EXPECT_EQ(models.runs(method::Aggregate::disjoint_mean), 1);
}

TEST(TiesMerge, ASampleThatMisleadsCostsASecondRun) {
  if (world().ranks() > 2) return;
  BesideTheSample models;
  // All that is seen says negative; the whole is balanced.
  std::size_t seen = 0;
  for (std::size_t at = 0; at < BesideTheSample::kElements; ++at) {
    if (!models.sampled(at)) continue;
    models.elect(at, -1);
    ++seen;
  }
  for (std::size_t at = 0; seen > 0; ++at) {
    if (models.sampled(at)) continue;
    models.elect(at, 1);
    --seen;
  }

  EXPECT_EQ(models.runs(method::Aggregate::disjoint_max), 2) << "no sign is not a negative one";
  EXPECT_EQ(models.runs(method::Aggregate::disjoint_mean), 1) << "here it acts as negative";
}

TEST(TiesMerge, SamplesMoreTasksThanShareAnAllreduce) {
  constexpr std::size_t kTasks = plan::kTasksPerSample + 2;
  constexpr std::size_t kElements = 1000;
  std::vector<std::vector<double>> models{std::vector<double>(kElements, 0.0)};
  std::vector<double> densities;
  for (std::size_t task = 0; task < kTasks; ++task) {
    // Ten magnitudes, each in a bin of the sample for itself: it knows them exactly.
    std::vector<double> values;
    for (std::size_t i = 0; i < kElements; ++i)
      values.push_back(std::ldexp(1.0, static_cast<int>(task + i % 10)));
    models.push_back(values);
    densities.push_back(0.025 + 0.05 * static_cast<double>(task));
  }
  const Sources sources = vectors(models);
  const plan::Plan plan = sources.plan(world());
  const job::Job job = job_of(densities);
  const Expected expected = expect_ties(plan, job, sources.models);
  const plan::ReadPlan reads = reads_of(plan, {});
  BlockStore store(plan, reads, static_cast<std::uint64_t>(world().rank()), true);
  TiesMerge ties(plan, reads, job, store);

  ties.sample(world());

  for (std::size_t task = 0; task < kTasks; ++task)
    EXPECT_EQ(ties.trims()[task].threshold_bits, expected.tasks[task].threshold_bits) << task;
  const plan::Traffic traffic =
      plan::predict_traffic(plan, reads, store.rank(), pass_options(plan, job));
  EXPECT_EQ(store.bytes_read(), traffic.sample - traffic.guess) << "no task is sampled twice";
  expect_as_expected(world(), plan, job, expected);
}

// Values that are not finite.

constexpr std::size_t kLong = 9'000;

// Three models of bfloat16, float32 and float64, of which `source` holds `value` at `index`.
Sources with_value(std::size_t source, std::size_t index, double value) {
  const Dtype types[] = {Dtype::bf16, Dtype::f32, Dtype::f64};
  Sources sources;
  for (std::size_t number = 0; number < 3; ++number) {
    std::vector<double> values(kLong, 1.0 + static_cast<double>(number));
    if (number == source) values[index] = value;
    Model model = vector_model(values, types[number]);
    model.insert(model.begin(), {"first",
                                 types[number],
                                 {100},
                                 test::encode(types[number], std::vector<double>(100, 0.5))});
    sources.add("model " + std::to_string(number), model);
  }
  return sources;
}

// The line with which a merge fails on all ranks.
std::string failure(const Sources& sources, const job::Job& job,
                    const plan::Request& request = chunks_of(4096), const Way& way = {}) {
  const plan::Plan plan = sources.plan(world(), request);
  const Expected nothing = nothing_expected(plan);
  std::string line;
  try {
    merge_all(world(), plan, job, nothing, way);
    ADD_FAILURE() << "the merge did not fail";
  } catch (const comm::AgreedError& error) {
    EXPECT_EQ(error.kind(), base::ErrorKind::input);
    line = error.what();
  }
  EXPECT_EQ(comm::all_reduce_sum(world(), std::uint64_t{1}),
            static_cast<std::uint64_t>(world().ranks()))
      << "ranks out of step";
  return line;
}

TEST(TiesMerge, RefusesNaNWithModelTensorAndIndex) {
  for (const std::size_t source : {0U, 1U, 2U}) {
    for (const std::size_t index : {std::size_t{0}, std::size_t{6'543}, kLong - 1}) {
      const std::string line = failure(with_value(source, index, kNaN), job_of({0.2, 0.2}));

      EXPECT_THAT(line, HasSubstr("models/model " + std::to_string(source) + ":"));
      EXPECT_THAT(line, HasSubstr("`w`"));
      EXPECT_THAT(line, HasSubstr("element " + std::to_string(index) + " is NaN"));
      EXPECT_THAT(line, testing::Not(HasSubstr("\n")));
    }
  }
}

TEST(TiesMerge, CountsTheIndexOfNaNFromTheTensorsBeginHoweverLongBlocksAre) {
  const Way whole{kPlenty, 1'000'000};

  EXPECT_THAT(failure(with_value(1, kLong - 1, kNaN), job_of({0.2, 0.2}), {}, whole),
              HasSubstr("element " + std::to_string(kLong - 1) + " is NaN"));
}

TEST(TiesMerge, RefusesInfinitiesAndWhatOverflowsFloat32) {
  struct Row {
    std::size_t source;
    double value;
    const char* what;
  };
  const Row table[] = {
      {0, kInfinity, "infinite"}, {1, -kInfinity, "infinite"}, {2, 1e300, "infinite in float32"}};
  for (const Row& row : table) {
    const std::string line = failure(with_value(row.source, 777, row.value), job_of({0.2, 0.2}));
    EXPECT_THAT(line, HasSubstr("models/model " + std::to_string(row.source) + ":"));
    EXPECT_THAT(line, HasSubstr("element 777"));
    EXPECT_THAT(line, HasSubstr(row.what));
  }
}

TEST(TiesMerge, RefusesADifferenceThatOverflowsFloat32) {
  std::vector<double> base(100, 0.0);
  std::vector<double> task(100, 1.0);
  base[50] = -3e38;
  task[50] = 3e38;

  const std::string line = failure(vectors({base, task}), job_of({0.2}));

  EXPECT_THAT(line, HasSubstr("models/model 1:"));
  EXPECT_THAT(line, HasSubstr("element 50"));
  EXPECT_THAT(line, HasSubstr("difference overflows"));
}

TEST(TiesMerge, RefusesNaNEvenWhereNoThresholdIsSought) {
  job::Job job = job_of({1.0, 1.0});
  EXPECT_THAT(failure(with_value(1, 8'999, kNaN), job), HasSubstr("element 8999 is NaN"));

  job.rules.sign_tie = method::SignTie::positive;
  EXPECT_THAT(failure(with_value(1, 8'999, kNaN), job), HasSubstr("element 8999 is NaN"));

  job.tasks[0].parameters["density"] = method::Setting(0.2);
  EXPECT_THAT(failure(with_value(2, 8'999, kNaN), job), HasSubstr("element 8999 is NaN"));
}

TEST(TiesMerge, NanAllowLetsThroughWhatIsNotFinite) {
  for (const double value : {kNaN, kInfinity, -kInfinity}) {
    const Sources sources = with_value(1, 6'543, value);
    plan::Request request = chunks_of(4096);
    request.out_dtype = Dtype::f32;
    const plan::Plan plan = sources.plan(world(), request);
    job::Job job = job_of({0.2, 0.2});
    job.nan = job::NanPolicy::allow;
    Expected expected = expect_ties(plan, job, sources.models);
    // NaN has many bits: of those in the output only that they are NaN is expected.
    const std::size_t at = 100 + 6'543;
    EXPECT_FALSE(std::isfinite(expected.ties.merged[at]));
    EXPECT_EQ(std::isnan(expected.ties.merged[at]), std::isnan(value));

    const Merged merged = merge_all(world(), plan, job, expected, {});

    EXPECT_LE(merged.wrong_bytes, std::isnan(value) ? 4U : 0U);
    EXPECT_EQ(merged.counts.positive, expected.ties.positive);
    EXPECT_EQ(merged.counts.untouched, expected.ties.untouched) << "NaN is not nothing";
    EXPECT_EQ(merged.counts.conflicts_before_trim, expected.ties.conflicts_before_trim);
    for (std::size_t task = 0; task < 2; ++task) {
      EXPECT_EQ(merged.tasks[task].kept, expected.tasks[task].kept);
      EXPECT_EQ(merged.tasks[task].threshold_bits, expected.tasks[task].threshold_bits);
    }
  }
}

TEST(TiesMerge, AFileThatBecameShorterFailsAllRanksTogether) {
  const Sources sources = random_sources();
  const auto& file = sources.catalogs[4].files[0];
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);

  const std::string line = failure(sources, job_of({0.2, 0.2, 0.2, 0.2}));

  EXPECT_THAT(line, HasSubstr(file.filename().string()));
}

// Progress.

TEST(TiesMerge, ProgressOfAPassRisesToOne) {
  const Sources sources = random_sources();
  const plan::Plan plan = sources.plan(world(), chunks_of(4096));
  const job::Job job = job_of({0.2, 0.2, 0.2, 0.2});
  const plan::ReadPlan reads = reads_of(plan, {});
  BlockStore store(plan, reads, static_cast<std::uint64_t>(world().rank()), true);
  TiesMerge ties(plan, reads, job, store);
  std::vector<double> shares;

  ties.sample(world());
  EXPECT_TRUE(ties.select(
      world(), [&](double share) { shares.push_back(share); }, all_parts(world())));

  EXPECT_FALSE(shares.empty());
  EXPECT_TRUE(std::is_sorted(shares.begin(), shares.end()));
  if (!shares.empty()) {
    EXPECT_GT(shares.front(), 0.0);
    EXPECT_DOUBLE_EQ(shares.back(), 1.0);
  }
}

// Interruption.

// A merge of the first `parts` of 10 chunks of every rank, gone on with by another object.
struct Interrupted {
  Sources sources = random_sources();
  plan::Plan plan = sources.plan(world(), chunks_of(4096));
  job::Job job = job_of({0.2, 0.2, 0.2, 0.2});
  plan::ReadPlan reads = reads_of(plan, {});
  std::uint64_t rank = static_cast<std::uint64_t>(world().rank());

  void merge(TiesMerge& ties, bool first_half) const {
    std::vector<std::byte> out;
    for (std::size_t group = 0; group < plan.groups.size(); ++group) {
      for (std::uint64_t round = 0; round < plan.rounds(group); ++round) {
        if ((round % 2 == 0) != first_half) continue;
        const base::ElementRange chunk = plan.chunk(group, rank, round);
        out.resize(chunk.count().value() * base::element_bytes(plan.groups[group].dtype).value());
        ties.merge_chunk(group, chunk, out);
      }
    }
  }
};

TEST(TiesMerge, CountsGoOnWhereAnotherProcessStopped) {
  const Interrupted run;
  BlockStore store(run.plan, run.reads, run.rank, true);
  TiesMerge whole(run.plan, run.reads, run.job, store);
  whole.sample(world());
  whole.guess_sign(world());
  EXPECT_TRUE(whole.select(world(), kUnseen, all_parts(world())));
  run.merge(whole, true);
  const std::vector<std::uint64_t> half_way = whole.progress(world());
  run.merge(whole, false);
  EXPECT_TRUE(whole.settle(world()));

  BlockStore fresh(run.plan, run.reads, run.rank, false);
  TiesMerge later(run.plan, run.reads, run.job, fresh);
  EXPECT_TRUE(later.restore(half_way, world().is_root()));
  run.merge(later, false);
  EXPECT_TRUE(later.settle(world()));

  EXPECT_EQ(later.counts()->positive, whole.counts()->positive);
  EXPECT_EQ(later.counts()->negative, whole.counts()->negative);
  EXPECT_EQ(later.counts()->untouched, whole.counts()->untouched);
  EXPECT_EQ(later.counts()->conflicts_after_trim, whole.counts()->conflicts_after_trim);
  for (std::size_t task = 0; task < later.trims().size(); ++task) {
    EXPECT_EQ(later.trims()[task].threshold_bits, whole.trims()[task].threshold_bits);
    EXPECT_EQ(later.trims()[task].kept, whole.trims()[task].kept);
  }
}

TEST(TiesMerge, RestoresOnlyWhatIsOfSuchAMerge) {
  const Interrupted run;
  BlockStore store(run.plan, run.reads, run.rank, false);
  TiesMerge ties(run.plan, run.reads, run.job, store);
  const std::vector<std::uint64_t> good = ties.progress(world());

  EXPECT_TRUE(ties.restore(good, false));
  EXPECT_FALSE(ties.restore({}, false));
  std::vector<std::uint64_t> longer = good;
  longer.push_back(0);
  EXPECT_FALSE(ties.restore(longer, false));
  std::vector<std::uint64_t> wide = good;
  wide[0] = std::uint64_t{1} << 31;  // more than a magnitude has bits
  EXPECT_FALSE(ties.restore(wide, false));
  std::vector<std::uint64_t> sign = good;
  sign[run.job.tasks.size()] = 3;
  EXPECT_FALSE(ties.restore(sign, false));
}

// What a selection that was stopped leaves: as a file has it, on every rank.
struct Saved {
  plan::PassState state;
  std::vector<std::vector<std::uint64_t>> parts;  // of the ranks
};

// Collective over `comm`. The words of all ranks, on every rank.
std::vector<std::vector<std::uint64_t>> gather(const comm::Comm& comm,
                                               const std::vector<std::uint64_t>& mine) {
  std::vector<std::vector<std::uint64_t>> all;
  for (int rank = 0; rank < comm.ranks(); ++rank) {
    std::vector<std::uint64_t> words(comm::all_reduce_max(
        comm, comm.rank() == rank ? static_cast<std::uint64_t>(mine.size()) : 0));
    if (comm.rank() == rank) words = mine;
    comm::all_reduce_max(comm, std::span<std::uint64_t>(words));
    all.push_back(words);
  }
  return all;
}

// A process that selects: all of it, or some parts.
struct Selection {
  Selection(const comm::Comm& the_comm, const Sources& sources, const job::Job& job, const Way& way)
      : comm(the_comm),
        plan(sources.plan(comm, chunks_of(2048))),
        reads(reads_of(plan, way)),
        store(plan, reads, static_cast<std::uint64_t>(comm.rank()), true),
        ties(plan, reads, job, store),
        guesses(way.guesses) {}

  void begin() {
    if (!guesses) return;
    ties.sample(comm);
    ties.guess_sign(comm);
  }

  void take_up(const Saved& saved) {
    EXPECT_TRUE(ties.take_up(saved.state));
    const auto ranks = static_cast<std::size_t>(comm.ranks());
    for (auto part = static_cast<std::size_t>(comm.rank()); part < saved.parts.size();
         part += ranks) {
      std::size_t next = 0;
      EXPECT_TRUE(ties.take_own([&] { return saved.parts[part].at(next++); }));
      EXPECT_EQ(next, saved.parts[part].size());
    }
  }

  // Collective. Nothing: it came to its end before.
  std::optional<Saved> stop_after(int parts) {
    const bool ended = ties.select(comm, kUnseen, [&](const std::function<void()>& part) {
      comm::collectively(comm, "select", part);
      return --parts > 0;
    });
    if (ended) return std::nullopt;
    Saved saved{ties.pass_state(comm), {}};
    for (const auto& numbers : gather(comm, saved.state.looked_at.numbers()))
      saved.state.looked_at.add(*plan::Coverage::from_numbers(numbers));
    std::vector<std::uint64_t> mine;
    ties.put_own([&](std::span<const std::uint64_t> words) {
      mine.insert(mine.end(), words.begin(), words.end());
    });
    saved.parts = gather(comm, mine);
    return saved;
  }

  void finish() { EXPECT_TRUE(ties.select(comm, kUnseen, all_parts(comm))); }

  [[nodiscard]] std::vector<std::uint32_t> thresholds() const {
    std::vector<std::uint32_t> bits;
    for (const TaskTrim& trim : ties.trims()) bits.push_back(trim.threshold_bits);
    return bits;
  }

  const comm::Comm& comm;
  plan::Plan plan;
  plan::ReadPlan reads;
  BlockStore store;
  TiesMerge ties;
  bool guesses;
};

// Stops after one part more each time, and goes on with another number of ranks; once more in between.
// @return how often
int go_on_after_each_part(const comm::Comm& first, const comm::Comm& second, const Way& way) {
  const Sources sources = random_sources();
  const job::Job job = job_of({0.2, 0, 1, 0.02});
  Selection whole(second, sources, job, way);
  whole.begin();
  whole.finish();
  int parts = 0;
  while (true) {
    Selection before(first, sources, job, way);
    before.begin();
    auto saved = before.stop_after(++parts);
    // Equal on all ranks: those that are alone all do the same.
    if (!saved) return parts;
    Selection between(second, sources, job, way);
    between.take_up(*saved);
    if (auto again = between.stop_after(1)) saved = std::move(again);
    Selection after(first, sources, job, way);
    after.take_up(*saved);
    after.finish();
    EXPECT_EQ(after.thresholds(), whole.thresholds()) << "stopped after " << parts << " parts";
    Selection other(second, sources, job, way);
    other.take_up(*saved);
    const Bytes left = other.store.bytes_read();
    other.finish();
    EXPECT_EQ(other.thresholds(), whole.thresholds()) << "stopped after " << parts << " parts";
    EXPECT_EQ(left, Bytes{});
  }
}

TEST(TiesMerge, ASelectionGoesOnWithAnyNumberOfRanks) {
  comm::Comm alone = world().split(world().rank());
  Way in_bins;  // what lies in the brackets is not kept: another look is needed
  in_bins.magnitudes = Bytes{4096};
  Way unguided;
  unguided.guesses = false;
  for (const Way& way : {Way{}, in_bins, unguided}) {
    EXPECT_GT(go_on_after_each_part(alone, world(), way), 3);
    EXPECT_GT(go_on_after_each_part(world(), alone, way), 2);
  }
  alone.close();
}

TEST(TiesMerge, ASelectionThatGoesOnReadsWhatWasNotLookedAt) {
  comm::Comm alone = world().split(world().rank());
  const Sources sources = random_sources();
  const job::Job job = job_of({0.2, 0.2, 0.2, 0.2});
  Selection whole(alone, sources, job, {});
  whole.begin();
  const Bytes sampled = whole.store.bytes_read();
  whole.finish();
  const Bytes all = whole.store.bytes_read() - sampled;
  Selection before(alone, sources, job, {});
  before.begin();
  const auto saved = before.stop_after(2);
  const Bytes done = before.store.bytes_read() - sampled;
  Selection after(alone, sources, job, {});
  after.take_up(saved.value());
  after.finish();
  EXPECT_GT(done, Bytes{});
  EXPECT_EQ(after.store.bytes_read() + done, all);
  alone.close();
}

TEST(TiesMerge, TakesUpOnlyWhatIsOfSuchASelection) {
  const Interrupted run;
  BlockStore store(run.plan, run.reads, run.rank, false);
  TiesMerge ties(run.plan, run.reads, run.job, store);
  const plan::PassState good = ties.pass_state(world());
  EXPECT_TRUE(ties.take_up(good));
  const auto refuses = [&](auto change) {
    plan::PassState bad = good;
    change(bad);
    TiesMerge fresh(run.plan, run.reads, run.job, store);
    return !fresh.take_up(bad);
  };
  const std::size_t search = 3 + run.job.tasks.size();
  EXPECT_TRUE(refuses([](auto& state) { state.step = 1; }));
  EXPECT_TRUE(refuses([](auto& state) { state.numbers.pop_back(); }));
  EXPECT_TRUE(refuses([](auto& state) { state.numbers.push_back(0); }));
  EXPECT_TRUE(refuses([](auto& state) { state.numbers.clear(); }));
  for (const std::size_t flag : {0, 1, 2})
    EXPECT_TRUE(refuses([&](auto& state) { state.numbers[flag] = 3; })) << flag;
  EXPECT_TRUE(refuses([](auto& state) { state.numbers[3] = std::uint64_t{1} << 31; }));
  EXPECT_TRUE(refuses([&](auto& state) { state.numbers[search] = 0; }));  // looks for nothing
  EXPECT_TRUE(refuses([&](auto& state) { state.numbers[search] = 1u << 31; }));
  EXPECT_TRUE(refuses([&](auto& state) { state.numbers[search + 1] = state.numbers[search + 2]; }));
  EXPECT_TRUE(refuses([&](auto& state) { state.numbers[search + 2] = (1u << 31) + 1; }));
  EXPECT_TRUE(refuses([&](auto& state) { state.numbers[search + 3] = 5; }));
  EXPECT_TRUE(refuses([&](auto& state) { state.numbers[search + 7] = 1u << 31; }));
  EXPECT_TRUE(refuses([&](auto& state) { state.numbers[search + 8] = 2; }));
  EXPECT_TRUE(refuses([&](auto& state) { state.numbers[search + 9] = 1; }));  // found, but wide
  EXPECT_TRUE(refuses([](auto& state) {
    state.looked_at.add(9, {base::Elements{0}, base::Elements{1}});
  }));

  const auto takes = [&](const std::vector<std::uint64_t>& words) {
    TiesMerge fresh(run.plan, run.reads, run.job, store);
    EXPECT_TRUE(fresh.take_up(good));
    std::size_t next = 0;
    return fresh.take_own([&] { return words.at(next++); });
  };
  const std::uint64_t elements = run.plan.merged.value();
  const std::uint64_t one = std::uint64_t{1} << 31;  // element of magnitude 0
  EXPECT_TRUE(takes({5, 1, 2, 1, one, 1, elements, 0, 1, 0, 0, 1, 0, 0}));
  EXPECT_FALSE(takes({elements + 1}));
  EXPECT_FALSE(takes({0, 1, elements + 1}));
  EXPECT_FALSE(takes({0, 1, elements, 1, one}));
  std::vector<std::uint64_t> bins(8192);
  std::vector<std::uint64_t> words{0, 0, 1};
  words.insert(words.end(), bins.begin(), bins.end());
  words.back() = elements;
  EXPECT_FALSE(takes(words));
}

}  // namespace
}  // namespace mpimerge::merge
