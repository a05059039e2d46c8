// More elements than MPI's counts hold. MPI's profiling interface shows what would be sent, so that
// neither memory nor time is needed for it.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <gtest/gtest.h>
#include <mpi.h>
#include <sys/mman.h>

#include "mpimerge/comm/collectives.hpp"

#include "support/world.hpp"

namespace mpimerge::comm {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 30;

struct Piece {
  const void* begin;
  std::size_t elements;

  bool operator==(const Piece&) const = default;
};

// Of all calls while it exists; MPI does not see them.
class Recorded {
 public:
  Recorded() { active = this; }
  ~Recorded() { active = nullptr; }
  Recorded(const Recorded&) = delete;
  Recorded& operator=(const Recorded&) = delete;

  static Recorded* active;

  std::vector<Piece> pieces;
};
Recorded* Recorded::active = nullptr;

// Addresses without memory behind them.
class Addresses {
 public:
  explicit Addresses(std::size_t bytes)
      : begin_(
            ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)),
        bytes_(bytes) {}
  ~Addresses() { ::munmap(begin_, bytes_); }
  Addresses(const Addresses&) = delete;
  Addresses& operator=(const Addresses&) = delete;

  void* begin() const { return begin_; }

 private:
  void* begin_;
  std::size_t bytes_;
};

TEST(LargeCounts, AreReducedInPieces) {
  const Addresses addresses((2 * kPiece + 5) * sizeof(std::uint64_t));
  ASSERT_NE(addresses.begin(), MAP_FAILED);
  auto* const first = static_cast<std::uint64_t*>(addresses.begin());
  Recorded recorded;

  all_reduce_sum(test::world(), std::span(first, 2 * kPiece + 5));

  EXPECT_EQ(
      recorded.pieces,
      (std::vector<Piece>{{first, kPiece}, {first + kPiece, kPiece}, {first + 2 * kPiece, 5}}));
}

TEST(LargeCounts, AreBroadcastInPieces) {
  std::vector<char> bytes(kPiece + 3);
  Recorded recorded;

  bcast_bytes(test::world(), bytes);

  ASSERT_EQ(recorded.pieces.size(), 3U);
  EXPECT_EQ(recorded.pieces[0].elements, 1U) << "the length comes first";
  EXPECT_EQ(recorded.pieces[1], (Piece{bytes.data(), kPiece}));
  EXPECT_EQ(recorded.pieces[2], (Piece{bytes.data() + kPiece, 3}));
}

}  // namespace
}  // namespace mpimerge::comm

extern "C" int MPI_Allreduce(const void* from, void* to, int count, MPI_Datatype type,
                             MPI_Op operation, MPI_Comm comm) {
  auto* const recorded = mpimerge::comm::Recorded::active;
  if (recorded == nullptr) return PMPI_Allreduce(from, to, count, type, operation, comm);
  recorded->pieces.push_back({to, static_cast<std::size_t>(count)});
  return MPI_SUCCESS;
}

extern "C" int MPI_Bcast(void* buffer, int count, MPI_Datatype type, int root, MPI_Comm comm) {
  auto* const recorded = mpimerge::comm::Recorded::active;
  if (recorded == nullptr) return PMPI_Bcast(buffer, count, type, root, comm);
  recorded->pieces.push_back({buffer, static_cast<std::size_t>(count)});
  return MPI_SUCCESS;
}
