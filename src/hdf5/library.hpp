#pragma once

namespace mpimerge::hdf5 {

/// Local. Starts HDF5 as mpimerge wants it, once: no locks on files, no error stacks on stderr.
/// Every public function that can be the first to touch HDF5 calls it first. HDF5 is used from one
/// thread.
void start_library();

}  // namespace mpimerge::hdf5
