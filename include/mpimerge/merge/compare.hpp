#pragma once

#include "mpimerge/comm/comm.hpp"
#include "mpimerge/merge/block_store.hpp"
#include "mpimerge/merge/merge.hpp"
#include "mpimerge/merge/statistics.hpp"
#include "mpimerge/plan/plan.hpp"
#include "mpimerge/plan/read_plan.hpp"

namespace mpimerge::merge {

/// What task vectors have to do with each other, without merging them.
///
/// Collective over `comm`; equal plans on all ranks, of a base and its tasks. The same numbers at
/// every rank count.
/// Cost: 1 pass over the shard; Allreduces of 1 MiB for about 30 tensors of 4 tasks.
/// @return full statistics of all ranks on rank 0, without rows on the others
/// Errors: AgreedError{input}: a file that cannot be read.
Statistics compare(const comm::Comm& comm, const plan::Plan& plan, const plan::ReadPlan& reads,
                   BlockStore& store, const Progress& progress, const RunPart& part);

}  // namespace mpimerge::merge
