#include <stdexcept>
#include <string>
#include <utility>

#include <gtest/gtest.h>
#include <mpi.h>

#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/comm/comm.hpp"
#include "mpimerge/comm/error.hpp"

#include "support/world.hpp"

namespace mpimerge::comm {
namespace {

using test::world;

TEST(Comm, KnowsItsRankAndRanks) {
  int rank = -1;
  int ranks = -1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);

  EXPECT_EQ(world().rank(), rank);
  EXPECT_EQ(world().ranks(), ranks);
  EXPECT_EQ(world().is_root(), rank == 0);
}

TEST(Comm, DuplicateIsItsOwnCommunicatorOfTheSameRanks) {
  const Comm copy = Comm::duplicate(world().get());
  int relation = -1;
  MPI_Comm_compare(copy.get(), world().get(), &relation);

  EXPECT_EQ(relation, MPI_CONGRUENT);
}

TEST(Comm, ReturnsErrorsInsteadOfAborting) {
  int nothing = 0;
  const int beyond = world().ranks();

  EXPECT_THROW(check(MPI_Bcast(&nothing, 1, MPI_INT, beyond, world().get())), MpiError);
}

TEST(Comm, ErrorsOfMpiNameThePlaceAndTheReason) {
  try {
    check(MPI_ERR_ROOT);
    ADD_FAILURE() << "expected an MpiError";
  } catch (const MpiError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("comm_mpi_test.cpp"), std::string::npos) << text;
    EXPECT_NE(text.find("invalid root"), std::string::npos) << text;
  }
}

TEST(Comm, SplitGathersEqualColorsInOrderOfRank) {
  constexpr int kColors = 3;
  const int color = world().rank() % kColors;

  const Comm part = world().split(color);

  EXPECT_EQ(part.rank(), world().rank() / kColors);
  EXPECT_EQ(part.ranks(), (world().ranks() - color + kColors - 1) / kColors);
  EXPECT_EQ(all_reduce_max(part, static_cast<std::uint64_t>(color)),
            static_cast<std::uint64_t>(color));
}

TEST(Comm, SplitOfASplitStillWorks) {
  const Comm half = world().split(world().rank() % 2);
  const Comm alone = half.split(half.rank());

  EXPECT_EQ(alone.ranks(), 1);
  EXPECT_TRUE(alone.is_root());
}

TEST(Comm, SplitByNodeHoldsAllRanksOfOneMachine) {
  const Comm node = world().split_by_node();

  EXPECT_EQ(node.ranks(), world().ranks());
  EXPECT_EQ(node.rank(), world().rank());
}

TEST(Comm, MovingHandsTheCommunicatorOn) {
  Comm first = world().split(0);
  const MPI_Comm handle = first.get();
  Comm second = std::move(first);
  EXPECT_EQ(second.get(), handle);
  EXPECT_EQ(second.rank(), world().rank());

  Comm third = world().split(world().rank());
  third = std::move(second);
  EXPECT_EQ(third.get(), handle);
  EXPECT_EQ(third.rank(), world().rank());
  EXPECT_EQ(third.ranks(), world().ranks());
  barrier(third);
}

// Sees when MPI frees a communicator: attributes go with it.
class FreeCounter {
 public:
  FreeCounter() {
    const auto count = [](MPI_Comm, int, void* freed, void*) {
      ++*static_cast<int*>(freed);
      return MPI_SUCCESS;
    };
    MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, count, &key_, nullptr);
  }
  ~FreeCounter() { MPI_Comm_free_keyval(&key_); }
  FreeCounter(const FreeCounter&) = delete;
  FreeCounter& operator=(const FreeCounter&) = delete;

  void watch(const Comm& comm) { MPI_Comm_set_attr(comm.get(), key_, &freed_); }
  int freed() const { return freed_; }

 private:
  int key_ = MPI_KEYVAL_INVALID;
  int freed_ = 0;
};

TEST(Comm, IsFreedOnceByCloseOrWithItsObject) {
  FreeCounter counter;
  Comm closed = Comm::duplicate(world().get());
  counter.watch(closed);
  {
    Comm first = Comm::duplicate(world().get());
    counter.watch(first);
    const Comm second = std::move(first);
    EXPECT_EQ(counter.freed(), 0);
  }
  EXPECT_EQ(counter.freed(), 1);

  closed.close();
  EXPECT_EQ(counter.freed(), 2);
}

TEST(Comm, IsLeftToTheEndOfTheJobUnderALoneException) {
  FreeCounter counter;
  MPI_Comm leaked = MPI_COMM_NULL;
  try {
    const Comm copy = Comm::duplicate(world().get());
    counter.watch(copy);
    leaked = copy.get();
    throw std::runtime_error("alone with this");
  } catch (const std::runtime_error&) {
    EXPECT_EQ(counter.freed(), 0);
  }
  MPI_Comm_free(&leaked);  // every rank had the same exception
}

TEST(Comm, ClosedTwiceIsClosedOnce) {
  Comm copy = Comm::duplicate(world().get());

  copy.close();
  EXPECT_EQ(copy.get(), MPI_COMM_NULL);
  copy.close();
}

}  // namespace
}  // namespace mpimerge::comm
