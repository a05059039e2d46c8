#pragma once

#include "mpimerge/comm/comm.hpp"

namespace mpimerge::app {

/// Collective over `comm`. Proves that all ranks were started with the same command line. They may
/// differ in what each decides for itself: --memory, -q and -v.
///
/// `mpirun -n 1 mpimerge ... : -n 2 mpimerge ...` can start ranks that wait for each other in
/// different commands.
/// Errors: AgreedError{usage} that names what differs.
void agree_on_command_line(const comm::Comm& comm, int argc, const char* const* argv);

}  // namespace mpimerge::app
