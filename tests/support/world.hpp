#pragma once

#include "mpimerge/comm/comm.hpp"

namespace mpimerge::test {

/// Local. The communicator of all ranks of a test program.
const comm::Comm& world();

}  // namespace mpimerge::test
