#include "mpimerge/hdf5/library.hpp"

#include <cstdlib>

#include <hdf5.h>

#include "hdf5/calls.hpp"

namespace mpimerge::hdf5 {

void start_library() {
  static const bool started = [] {
    // HDF5 1.10 refuses to open a file where flock does not work (Lustre and GPFS are often mounted
    // so). Nothing is lost: a new output has a name of its own and inputs are only read. The user's
    // own setting stays.
    setenv("HDF5_USE_FILE_LOCKING", "FALSE", 0);
    // We close what we open. What could not be closed (the disk is full) HDF5 would try again when
    // the process ends, and crash.
    call::leave_exit_alone();
    call::open_library();
    call::silence_errors();
    return true;
  }();
  static_cast<void>(started);
}

}  // namespace mpimerge::hdf5
