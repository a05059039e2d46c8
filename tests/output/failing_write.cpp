// One rank's writes fail while the others wait for it inside HDF5: the job must end, not hang.
#include <csignal>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "mpimerge/output/hdf5_writer.hpp"

#include "output/sample.hpp"
#include "support/world.hpp"

namespace mpimerge::output {
namespace {

using test::world;

TEST(Hdf5Writer, EndsTheJobWhenOneRankCannotWrite) {
  const Hdf5Layout layout = test::sample_layout();
  Hdf5Writer writer = Hdf5Writer::begin(world(), "a.h5", layout, false);
  if (world().rank() == world().ranks() - 1) {
    std::signal(SIGXFSZ, SIG_IGN);  // so that the limit is an error of write, as a quota is
    const rlimit small{4096, RLIM_INFINITY};
    setrlimit(RLIMIT_FSIZE, &small);
  }
  test::write_sample(writer, world(), layout, test::even_cut, 10'000);
  ADD_FAILURE() << "the failed write went unnoticed";
}

}  // namespace
}  // namespace mpimerge::output
