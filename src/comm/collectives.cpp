#include "mpimerge/comm/collectives.hpp"

#include <algorithm>
#include <array>

#include <mpi.h>

#include "mpimerge/base/narrow.hpp"
#include "mpimerge/comm/error.hpp"

namespace mpimerge::comm {
namespace {

// MPI 3.1 counts are int: longer buffers go in pieces.
constexpr std::size_t kPiece = std::size_t{1} << 30;

template <class Value>
void all_reduce(const Comm& comm, std::span<Value> values, MPI_Datatype type, MPI_Op operation) {
  for (std::size_t begin = 0; begin < values.size(); begin += kPiece) {
    const auto piece = values.subspan(begin, std::min(kPiece, values.size() - begin));
    check(MPI_Allreduce(MPI_IN_PLACE, piece.data(), base::narrow<int>(piece.size()), type,
                        operation, comm.get()));
  }
}

}  // namespace

void all_reduce_sum(const Comm& comm, std::span<std::uint64_t> values) {
  all_reduce(comm, values, MPI_UINT64_T, MPI_SUM);
}

void all_reduce_sum(const Comm& comm, std::span<std::int64_t> values) {
  all_reduce(comm, values, MPI_INT64_T, MPI_SUM);
}

void all_reduce_max(const Comm& comm, std::span<std::uint64_t> values) {
  all_reduce(comm, values, MPI_UINT64_T, MPI_MAX);
}

void all_reduce_min(const Comm& comm, std::span<std::uint64_t> values) {
  all_reduce(comm, values, MPI_UINT64_T, MPI_MIN);
}

double all_reduce_max(const Comm& comm, double value) {
  all_reduce(comm, std::span(&value, 1), MPI_DOUBLE, MPI_MAX);
  return value;
}

std::uint64_t all_reduce_max(const Comm& comm, std::uint64_t value) {
  all_reduce_max(comm, std::span(&value, 1));
  return value;
}

std::uint64_t all_reduce_sum(const Comm& comm, std::uint64_t value) {
  all_reduce_sum(comm, std::span(&value, 1));
  return value;
}

void bcast_bytes(const Comm& comm, std::vector<char>& bytes) {
  std::uint64_t length = bytes.size();
  check(MPI_Bcast(&length, 1, MPI_UINT64_T, 0, comm.get()));
  bytes.resize(length);
  for (std::size_t begin = 0; begin < bytes.size(); begin += kPiece) {
    const std::size_t piece = std::min(kPiece, bytes.size() - begin);
    check(MPI_Bcast(bytes.data() + begin, base::narrow<int>(piece), MPI_BYTE, 0, comm.get()));
  }
}

std::vector<char> gather_bytes(const Comm& comm, std::span<const char> bytes) {
  constexpr int kTag = 0;
  std::uint64_t length = bytes.size();
  std::vector<std::uint64_t> lengths(comm.is_root() ? static_cast<std::size_t>(comm.ranks()) : 0);
  constexpr int kBytes = sizeof(length);
  check(MPI_Gather(&length, kBytes, MPI_BYTE, lengths.data(), kBytes, MPI_BYTE, 0, comm.get()));
  if (!comm.is_root()) {
    for (std::size_t begin = 0; begin < bytes.size(); begin += kPiece) {
      const auto piece = bytes.subspan(begin, std::min(kPiece, bytes.size() - begin));
      check(MPI_Send(piece.data(), base::narrow<int>(piece.size()), MPI_BYTE, 0, kTag, comm.get()));
    }
    return {};
  }
  std::vector<char> all(bytes.begin(), bytes.end());
  for (int rank = 1; rank < comm.ranks(); ++rank) {
    std::size_t begin = all.size();
    all.resize(begin + lengths[static_cast<std::size_t>(rank)]);
    for (; begin < all.size(); begin += kPiece) {
      const std::size_t piece = std::min(kPiece, all.size() - begin);
      check(MPI_Recv(all.data() + begin, base::narrow<int>(piece), MPI_BYTE, rank, kTag, comm.get(),
                     MPI_STATUS_IGNORE));
    }
  }
  return all;
}

void barrier(const Comm& comm) { check(MPI_Barrier(comm.get())); }

}  // namespace mpimerge::comm
