#pragma once

#include <cstdint>

namespace mpimerge::test {

/// What this process gave to MPI_Allreduce since the last `reset_allreduces`.
struct Allreduces {
  std::uint64_t calls = 0;
  std::uint64_t bytes = 0;
};

/// Local.
void reset_allreduces();
/// Local.
Allreduces allreduces();

}  // namespace mpimerge::test
