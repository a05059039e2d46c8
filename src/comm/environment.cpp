#include "mpimerge/comm/environment.hpp"

#include <cstdlib>
#include <string_view>

#include <mpi.h>

#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/error.hpp"

namespace mpimerge::comm {

Environment::Environment(int& argc, char**& argv) {
  // Before MPI_Init, where Open MPI chooses its components; other MPI libraries ignore the
  // variable.
  constexpr const char* kVariable = "OMPI_MCA_io";
  const char* asked = std::getenv(kVariable);
  overruled_ompio_ = asked != nullptr &&
                     std::string_view(asked).find("^ompio") == std::string_view::npos &&
                     std::string_view(asked).find("ompio") != std::string_view::npos;
  setenv(kVariable, "^ompio", 1);
  int provided = 0;
  check(MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided));
}

Environment::~Environment() {
  if (!alone()) MPI_Finalize();
}

}  // namespace mpimerge::comm
