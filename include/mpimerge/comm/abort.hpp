#pragma once

#include <string>
#include <string_view>

#include "mpimerge/base/error.hpp"
#include "mpimerge/comm/comm.hpp"

namespace mpimerge::comm {

/// Local. "rank 12/512 node7": this rank and its host, for lines that any rank may print.
std::string name_of_rank(const Comm& comm);

/// Local. Ends the job on all ranks: prints one line with this rank and the host, waits a moment so
/// that other ranks can speak, and calls MPI_Abort with the kind's exit code. Only for what cannot be agreed on: MPI itself failed, or a collective HDF5 call failed
/// here alone.
[[noreturn]] void abort_job(const Comm& comm, base::ErrorKind kind, std::string_view message);

}  // namespace mpimerge::comm
