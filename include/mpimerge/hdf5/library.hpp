#pragma once

namespace mpimerge::hdf5 {

/// Local. Starts HDF5 as mpimerge wants it, once: no locks on files, no error stacks on stderr, nothing done when the
/// process ends.
/// Best before MPI starts: HDF5 otherwise ties its own end to that of MPI, and crashes there if a file
/// could not be closed (the disk is full). Every public function that can be the first to touch HDF5 calls it first. HDF5 is used from one
/// thread.
void start_library();

}  // namespace mpimerge::hdf5
