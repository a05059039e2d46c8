#include "mpimerge/comm/comm.hpp"

#include <type_traits>
#include <utility>

#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/error.hpp"

namespace mpimerge::comm {

static_assert(std::is_nothrow_move_constructible_v<Comm> &&
              std::is_nothrow_move_assignable_v<Comm>);
static_assert(!std::is_copy_constructible_v<Comm>);

Comm::Comm(MPI_Comm comm) : comm_(comm) {
  check(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN));
  check(MPI_Comm_rank(comm_, &rank_));
  check(MPI_Comm_size(comm_, &ranks_));
}

Comm Comm::duplicate(MPI_Comm other) {
  MPI_Comm copy = MPI_COMM_NULL;
  check(MPI_Comm_dup(other, &copy));
  return Comm(copy);
}

Comm Comm::split(int color) const {
  MPI_Comm part = MPI_COMM_NULL;
  check(MPI_Comm_split(comm_, color, rank_, &part));
  return Comm(part);
}

Comm Comm::split_by_node() const {
  MPI_Comm node = MPI_COMM_NULL;
  check(MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node));
  return Comm(node);
}

Comm::Comm(Comm&& other) noexcept
    : comm_(std::exchange(other.comm_, MPI_COMM_NULL)), rank_(other.rank_), ranks_(other.ranks_) {}

Comm& Comm::operator=(Comm&& other) noexcept {
  std::swap(comm_, other.comm_);
  std::swap(rank_, other.rank_);
  std::swap(ranks_, other.ranks_);
  return *this;
}

Comm::~Comm() {
  if (comm_ != MPI_COMM_NULL && !alone()) MPI_Comm_free(&comm_);
}

void Comm::close() {
  if (comm_ != MPI_COMM_NULL) check(MPI_Comm_free(&comm_));
}

}  // namespace mpimerge::comm
