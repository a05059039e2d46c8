#pragma once

#include <cstdint>

#include "mpimerge/base/index.hpp"
#include "mpimerge/comm/comm.hpp"

namespace mpimerge::app {

/// Collective over `comm`. What a rank may use for data when the user does not say: 70 % of the
/// memory that the node, or the control group of the job, has to give, divided by the ranks on the
/// node.
base::Bytes default_memory(const comm::Comm& comm);

/// Local. The largest resident size of this process so far.
base::Bytes peak_memory();

}  // namespace mpimerge::app
