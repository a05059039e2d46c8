#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "mpimerge/base/index.hpp"
#include "mpimerge/plan/plan.hpp"

namespace mpimerge::plan {

/// A part of a group that is read from all sources in one go.
struct Block {
  std::size_t group = 0;
  base::ElementRange range;  ///< of the group; within one chunk
};

/// How every rank uses the memory that it may use: the same rules on all ranks, before anything is
/// read. Pure data.
struct ReadPlan {
  base::Bytes budget;                  ///< what the user gave
  std::uint64_t thresholds = 0;        ///< sought together
  std::vector<base::Elements> blocks;  ///< by group: elements of a block
  base::Bytes output;                  ///< one chunk of each output
  base::Bytes passing;     ///< one block of all sources, read over and over, and adapters' factors
  base::Bytes magnitudes;  ///< for what the selection lists, all thresholds together
  base::Bytes resident;    ///< left for blocks that stay in memory
};

/// What a merge has in memory at once, beside its inputs.
struct Demand {
  std::uint64_t outputs = 1;     ///< chunks, one for each result
  std::uint64_t thresholds = 0;  ///< sought together; 0: one for each task
};

/// Local. Divides `budget` bytes per rank: what the work cannot do without comes first, however
/// small the budget; the rest holds raw input bytes, so that they are read only once.
ReadPlan plan_reads(const Plan& plan, base::Bytes budget, const Demand& demand = {});

/// Local. The blocks that make up a chunk, in order; none for an empty chunk.
std::vector<Block> blocks(const ReadPlan& reads, std::size_t group, base::ElementRange chunk);

/// Local. Bytes that a block takes in memory, all sources (only the base for tensors to copy), each
/// part aligned for vector loads.
base::Bytes memory_bytes(const Plan& plan, const Block& block);

/// Local. Bytes that are read for it.
base::Bytes read_bytes(const Plan& plan, const Block& block);

/// Parts of memory are aligned to this: a line of the cache, a vector of any processor.
inline constexpr std::uint64_t kMemoryAlignment = 64;

/// Local. Where `rank` takes its sample of the parameters to merge: short blocks, one from each of
/// as many equal stretches of its shard, at a random place in it (the same in every run). All of
/// the shard if it is that small.
std::vector<Block> sample_blocks(const Plan& plan, std::uint64_t rank);

/// What one rank, or all of them together, read and write in a merge.
struct Traffic {
  base::Bytes sample;    ///< read to bracket the thresholds and to guess the majority sign
  base::Bytes guess;     ///< the part of `sample` that guesses
  base::Bytes select;    ///< read in the pass that finds the thresholds
  base::Bytes merge;     ///< read in the pass that merges: what did not stay in memory
  base::Bytes written;   ///< of each output
  base::Bytes keepable;  ///< memory of all blocks that are needed twice
  base::Bytes resident;  ///< what stays in memory, of those
  std::uint64_t blocks = 0;
  std::uint64_t keepable_blocks = 0;
  std::uint64_t resident_blocks = 0;
  std::uint64_t resident_ends = 0;  ///< places where resident blocks are followed by others
  std::uint64_t sampled_blocks = 0;
  std::uint64_t sampled_elements = 0;

  Traffic& operator+=(const Traffic& other);
};

/// How much of the inputs stays in memory.
enum class Residency : std::uint8_t {
  resident,   ///< everything that is needed twice: inputs are read once
  partly,     ///< some of it
  streaming,  ///< nothing, or nothing is needed twice
};

/// Local. Of one rank, or of all of them by their sum.
Residency residency(const Traffic& traffic);

/// Local. "resident", "partly resident", "streaming".
std::string_view name(Residency residency);

/// What the rules of the job mean for reading.
struct PassOptions {
  bool selects = true;     ///< some task is trimmed or checked for NaN: there is a first pass
  bool trims = true;       ///< some task is trimmed: thresholds are sought
  bool needs_sign = true;  ///< cancelled sums take the majority sign
  /// Times that the first pass is made: 2 where ReadPlan::magnitudes is too small for what lies in
  /// the brackets.
  std::uint64_t looks = 1;
};

/// Local. Predicts, exactly, what `rank` reads and writes, if no bracket misses its threshold and
/// the majority sign is guessed right (else the summary shows another pass).
/// Cost: O(tensors of the shard × sources), however many blocks they have.
Traffic predict_traffic(const Plan& plan, const ReadPlan& reads, std::uint64_t rank,
                        const PassOptions& options);

/// Local. Whether every rank keeps all that it needs twice.
/// Cost: O((ranks + tensors) × sources); less when the answer is no.
bool stays_resident(const Plan& plan, const ReadPlan& reads, const PassOptions& options);

/// Local. The smallest budget that leaves `resident` bytes for blocks that stay.
base::Bytes budget_for(const ReadPlan& reads, base::Bytes resident);

/// Tasks that share a sampling round: bounds the memory of their histograms.
inline constexpr std::size_t kTasksPerSample = 16;

}  // namespace mpimerge::plan
