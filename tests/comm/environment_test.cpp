#include "mpimerge/comm/environment.hpp"

#include <cstdlib>
#include <optional>

#include <gtest/gtest.h>
#include <mpi.h>

namespace mpimerge::comm {
namespace {

// One test: a process can start MPI only once.
TEST(Environment, StartsAndEndsMpiAndOverrulesOmpio) {
  setenv("OMPI_MCA_io", "ompio", 1);
  int argc = 0;
  char** argv = nullptr;
  int started = 0;
  int ended = 0;

  std::optional<Environment> environment;
  environment.emplace(argc, argv);
  MPI_Initialized(&started);
  EXPECT_EQ(started, 1);
  EXPECT_TRUE(environment->overruled_ompio());
  EXPECT_STREQ(std::getenv("OMPI_MCA_io"), "^ompio");

  environment.reset();
  MPI_Finalized(&ended);
  EXPECT_EQ(ended, 1);
}

}  // namespace
}  // namespace mpimerge::comm
