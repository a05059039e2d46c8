#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "mpimerge/base/index.hpp"
#include "mpimerge/checkpoint/catalog.hpp"
#include "mpimerge/job/job.hpp"
#include "mpimerge/job/sweep.hpp"
#include "mpimerge/plan/plan.hpp"

#include "app/cli.hpp"

namespace mpimerge::app {

/// All that rank 0 finds out before the work and every rank needs.
struct Work {
  /// What all points share, or the job itself where it is one merge; `outputs` are those of all
  /// points, one point after the other.
  job::Job job;
  job::Sweep sweep;  ///< its `job.outputs` are as the user gave them; those of points have values
  plan::Plan plan;
  std::map<std::string, std::string> metadata;  ///< of the base
  bool unties_head = false;                     ///< plan::unties_head
  std::string adapter_config;                   ///< of adapters that become one; else empty
  bool finished = false;                        ///< an earlier run had done all of it
  std::vector<std::byte> journal;               ///< output::encode of this merge's, or that run's

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& job& sweep& plan& metadata& unties_head& adapter_config& finished& journal;
  }
};

/// The headers of all checkpoints of a job, in the order of Plan::sources: the base if there is one,
/// the models, the files beside them, the one whose signs are given. The first says which tensors
/// the output has, in which order.
using Models = std::vector<checkpoint::Catalog>;

/// Local. The path of that first checkpoint, which also gives the output's config and tokenizer.
const std::string& layout_path(const job::Job& job);

/// Local. Warns, in one line, where a file of mergekit's comes out differently here.
void warn_of_other_rules(const job::Job& job);

/// Local. Opens the job's checkpoints; headers only. Logs which tensors are tied.
/// Errors: Error{input}; Error{job} if the base is among the tasks by another name.
Models open_models(const job::Job& job);

/// Local. What each output gets per rank and round, if the user did not say: those of a sweep share
/// what one output gets, down to a size at which collective writes are still worth it.
base::Bytes chunk_of(const MergeOptions& options, const job::Sweep& sweep);

/// Local. The configuration of the adapter that the job's adapters become; empty where they do not.
/// Errors: Error{input} as checkpoint::concatenated_config.
std::string config_of_output(const job::Job& job);

/// Local. Refuses weights that sum to 0 where the method divides by their sum; up to rounding, which
/// would decide what comes out.
/// Errors: Error{job} that names the first such tensor and its models.
void check_weights(const job::Job& job, const plan::Plan& plan);

/// Local. The plan of the job's merge by so many ranks.
/// Errors: Error{input} as plan::build_plan.
plan::Plan plan_merge(const job::Job& job, const Models& models, std::uint64_t ranks,
                      base::Bytes chunk);

}  // namespace mpimerge::app
