// main of every test that communicates: failures of all ranks are printed with their rank, and
// every rank ends with the same code.
#include <cstdio>
#include <cstdlib>
#include <memory>

#include <gtest/gtest.h>
#include <mpi.h>

#include "support/world.hpp"

namespace mpimerge::test {
namespace {

std::unique_ptr<comm::Comm> the_world;

class RankPrinter : public testing::EmptyTestEventListener {
 public:
  explicit RankPrinter(int rank) : rank_(rank) {}
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "[rank %d] %s:%d: %s\n", rank_,
                 result.file_name() ? result.file_name() : "?", result.line_number(),
                 result.summary());
  }

 private:
  int rank_;
};

}  // namespace

const comm::Comm& world() { return *the_world; }

}  // namespace mpimerge::test

int main(int argc, char** argv) {
  setenv("OMPI_MCA_io", "^ompio", 1);
  MPI_Init(&argc, &argv);
  testing::InitGoogleTest(&argc, argv);
  int code = 0;
  {
    using mpimerge::test::the_world;
    the_world =
        std::make_unique<mpimerge::comm::Comm>(mpimerge::comm::Comm::duplicate(MPI_COMM_WORLD));
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    if (!the_world->is_root()) delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new mpimerge::test::RankPrinter(the_world->rank()));
    code = RUN_ALL_TESTS();
    if (testing::UnitTest::GetInstance()->test_to_run_count() == 0) {
      std::fprintf(stderr, "no test ran\n");
      code = 1;
    }
    MPI_Allreduce(MPI_IN_PLACE, &code, 1, MPI_INT, MPI_MAX, the_world->get());
    the_world->close();
    the_world.reset();
  }
  MPI_Finalize();
  return code;
}
