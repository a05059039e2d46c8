// The last rank throws outside of `collectively` while the others wait in a barrier.
#include <chrono>
#include <stdexcept>

#include <mpi.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/comm/abort.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/comm/comm.hpp"
#include "mpimerge/comm/environment.hpp"

namespace {

using Clock = std::chrono::steady_clock;
Clock::time_point thrown;

}  // namespace

// MPI's profiling interface: ends with another code where other ranks had no time to speak.
extern "C" int MPI_Abort(MPI_Comm comm, int code) {
  const bool waited = Clock::now() - thrown >= std::chrono::milliseconds(500);
  return PMPI_Abort(comm, waited ? code : 1);
}

int main(int argc, char** argv) {
  using namespace mpimerge;
  const comm::Environment environment(argc, argv);
  comm::Comm world = comm::Comm::duplicate(MPI_COMM_WORLD);
  try {
    const comm::Comm everyone = world.split(0);  // must not be freed on the way out
    thrown = Clock::now();
    if (world.rank() == world.ranks() - 1) throw std::runtime_error("alone with this");
    comm::barrier(everyone);
    comm::barrier(everyone);
  } catch (const std::exception& error) {
    comm::abort_job(world, base::ErrorKind::bug, error.what());
  }
  world.close();
  return 0;
}
