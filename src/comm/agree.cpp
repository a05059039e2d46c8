#include "mpimerge/comm/agree.hpp"

#include <array>
#include <limits>
#include <new>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <mpi.h>

#include "mpimerge/base/log.hpp"
#include "mpimerge/comm/collectives.hpp"

namespace mpimerge::comm {
namespace {

struct Outcome {
  base::ErrorKind kind;
  std::string message;
};

Outcome describe(const std::exception_ptr& failure, std::string_view phase) {
  try {
    std::rethrow_exception(failure);
  } catch (const MpiError&) {
    throw;
  } catch (const base::Error& error) {
    return {error.kind(), error.what()};
  } catch (const std::bad_alloc&) {
    return {
        base::ErrorKind::resources,
        fmt::format(
            "{}: not enough memory; use more nodes, fewer ranks per node, or a smaller --memory",
            phase)};
  } catch (const std::exception& error) {
    return {base::ErrorKind::bug, fmt::format("{}: {}", phase, error.what())};
  } catch (...) {
    return {base::ErrorKind::bug, fmt::format("{}: an exception of unknown type", phase)};
  }
}

[[noreturn]] void throw_agreed(const Comm& comm, std::int64_t lowest, const Outcome& mine) {
  int kind = static_cast<int>(mine.kind);
  const int source = static_cast<int>(lowest);
  check(MPI_Bcast(&kind, 1, MPI_INT, source, comm.get()));
  std::uint64_t length = mine.message.size();
  check(MPI_Bcast(&length, 1, MPI_UINT64_T, source, comm.get()));
  std::string message = mine.message;
  message.resize(length);
  check(MPI_Bcast(message.data(), static_cast<int>(length), MPI_CHAR, source, comm.get()));
  throw AgreedError(static_cast<base::ErrorKind>(kind), message);
}

}  // namespace

Wish agree(const Comm& comm, std::string_view phase, const std::exception_ptr& failure, Wish wish) {
  // The least of all: the lowest rank that failed; where none did, the weightiest wish.
  constexpr std::int64_t kNoFailure = std::numeric_limits<std::int64_t>::max() - 2;
  static_assert(static_cast<int>(Wish::stop) == 2);
  Outcome mine{base::ErrorKind::bug, {}};
  if (failure) mine = describe(failure, phase);
  constexpr std::size_t kLongestMessage = 1 << 20;
  if (mine.message.size() > kLongestMessage) mine.message.resize(kLongestMessage);
  std::int64_t lowest = failure ? comm.rank() : kNoFailure + 2 - static_cast<std::int64_t>(wish);
  check(MPI_Allreduce(MPI_IN_PLACE, &lowest, 1, MPI_INT64_T, MPI_MIN, comm.get()));
  if (lowest >= kNoFailure) return static_cast<Wish>(kNoFailure + 2 - lowest);
  if (failure && comm.rank() != lowest) base::log().debug("{}: {}", phase, mine.message);
  throw_agreed(comm, lowest, mine);
}

void agree_same(const Comm& comm, std::uint64_t value, std::string_view what) {
  std::array<std::uint64_t, 2> extremes{value, ~value};
  all_reduce_max(comm, extremes);
  if (extremes[0] == ~extremes[1]) return;
  throw AgreedError(base::ErrorKind::bug, fmt::format("the {} is not the same on all ranks", what));
}

bool alone() noexcept { return std::uncaught_exceptions() > 0 && !AgreedError::exists(); }

}  // namespace mpimerge::comm
