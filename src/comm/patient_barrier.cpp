#include "mpimerge/comm/patient_barrier.hpp"

#include <chrono>
#include <thread>

#include <mpi.h>

#include "mpimerge/comm/error.hpp"

namespace mpimerge::comm {

void patient_barrier(const Comm& comm, const std::function<void()>& waiting) {
  constexpr std::chrono::milliseconds kBetweenLooks{20};
  MPI_Request request = MPI_REQUEST_NULL;
  check(MPI_Ibarrier(comm.get(), &request));
  for (int is_over = 0;;) {
    check(MPI_Test(&request, &is_over, MPI_STATUS_IGNORE));
    if (is_over != 0) return;
    waiting();
    std::this_thread::sleep_for(kBetweenLooks);
  }
}

}  // namespace mpimerge::comm
