#pragma once

#include <functional>

#include "mpimerge/comm/comm.hpp"

namespace mpimerge::comm {

/// Collective over `comm`. Every rank waits for every other, perhaps for long: those who wait leave
/// the processor to others.
/// @param waiting  called now and then
void patient_barrier(const Comm& comm, const std::function<void()>& waiting);

}  // namespace mpimerge::comm
