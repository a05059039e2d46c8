#pragma once

namespace mpimerge::app {

/// Local. From now on SIGTERM, SIGUSR1 and SIGINT end nothing by themselves: they are noted, and
/// the work asks. (SLURM sends one of the first two before the time limit, mpirun passes them on.)
void note_stop_signals();

/// Local. The first such signal that came, or 0.
int stop_signal() noexcept;

}  // namespace mpimerge::app
