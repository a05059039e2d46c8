// Writes the sample to FILE from all ranks, for programs of others to read.
#include <cstdio>
#include <cstdlib>

#include <mpi.h>

#include "mpimerge/output/hdf5_writer.hpp"

#include "output/sample.hpp"

int main(int argc, char** argv) {
  using namespace mpimerge;
  setenv("OMPI_MCA_io", "^ompio", 1);
  MPI_Init(&argc, &argv);
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FILE\n", argv[0]);
    return EXIT_FAILURE;
  }
  {
    comm::Comm world = comm::Comm::duplicate(MPI_COMM_WORLD);
    const output::Hdf5Layout layout = test::sample_layout();
    output::Hdf5Writer writer = output::Hdf5Writer::begin(world, argv[1], layout, true);
    test::write_sample(writer, world, layout, test::growing_cut, 20'000);
    writer.close();
    writer.publish("{\"größe\": 1}");
    world.close();
  }
  MPI_Finalize();
}
