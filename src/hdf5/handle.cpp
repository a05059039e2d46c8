#include "mpimerge/hdf5/handle.hpp"

#include <hdf5.h>

namespace mpimerge::hdf5 {

static_assert(std::is_same_v<Id, hid_t>);

void close_id(Id id) noexcept { H5Idec_ref(id); }

}  // namespace mpimerge::hdf5
