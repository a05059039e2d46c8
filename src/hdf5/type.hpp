#pragma once

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/hdf5/handle.hpp"

namespace mpimerge::hdf5 {

/// Local. How elements of that safetensors type are stored: little-endian, and so that h5py gives
/// the right values. BOOL is h5py's own enumeration; F8_E4M3 is uint8, because HDF5's description
/// of floats always takes the all-ones exponent as infinity or NaN, where E4M3 has 256 to 448.
Type stored_type(base::Dtype dtype);

}  // namespace mpimerge::hdf5
