#include "select/allreduce_counter.hpp"

#include <mpi.h>

namespace mpimerge::test {
namespace {

Allreduces counted;

}  // namespace

void reset_allreduces() { counted = {}; }
Allreduces allreduces() { return counted; }

}  // namespace mpimerge::test

// MPI's profiling interface: every MPI function may be replaced and reached as PMPI_.
extern "C" int MPI_Allreduce(const void* from, void* to, int count, MPI_Datatype type,
                             MPI_Op operation, MPI_Comm comm) {
  int bytes = 0;
  MPI_Type_size(type, &bytes);
  mpimerge::test::counted.calls += 1;
  mpimerge::test::counted.bytes +=
      static_cast<std::uint64_t>(bytes) * static_cast<std::uint64_t>(count);
  return PMPI_Allreduce(from, to, count, type, operation, comm);
}
