#pragma once

namespace mpimerge::app {

/// Collective over all processes: all of mpimerge, from the command line to the exit code. Starts
/// and ends MPI. A program of one's own that adds methods (method::add) calls it once, as the last
/// thing in `main`.
int run_program(int argc, char** argv);

}  // namespace mpimerge::app
