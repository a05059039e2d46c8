#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "mpimerge/base/index.hpp"
#include "mpimerge/checkpoint/catalog.hpp"
#include "mpimerge/job/job.hpp"
#include "mpimerge/plan/plan.hpp"

namespace mpimerge::app {

/// All that rank 0 finds out before the work and every rank needs.
struct Work {
  job::Job job;
  plan::Plan plan;
  std::map<std::string, std::string> metadata;  ///< of the base
  std::vector<std::string> unfinished;          ///< outputs that no earlier run has finished
  std::vector<std::byte> journal;               ///< output::encode of this merge's, or that run's
  std::uint64_t merge = 0;                      ///< checksum of the program's version, job, inputs
  std::vector<std::byte> pass;  ///< output::encode of the look that it was stopped in

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& job& plan& metadata& unfinished& journal& merge& pass;
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

/// Local. Opens the job's checkpoints; headers only.
/// Errors: Error{input}; Error{job} if the base is among the tasks by another name.
Models open_models(const job::Job& job);

/// Local. The plan of the job's merge by so many ranks.
/// Errors: Error{input} as plan::build_plan.
plan::Plan plan_merge(const job::Job& job, const Models& models, std::uint64_t ranks,
                      base::Bytes chunk);

}  // namespace mpimerge::app
