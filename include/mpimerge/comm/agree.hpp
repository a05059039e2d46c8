#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <string_view>
#include <utility>

#include "mpimerge/base/error.hpp"
#include "mpimerge/comm/comm.hpp"
#include "mpimerge/comm/error.hpp"

namespace mpimerge::comm {

/// What a rank asks of all the others once a piece of work is done; the last one outweighs those
/// before it.
enum class Wish : std::uint8_t {
  go_on,
  save,  ///< write down how far the work has come
  stop,  ///< the same, and end
};

/// Collective over `comm`. All ranks agree on how a piece of local work went.
///
/// @param failure  what this rank's work threw, if it did
/// @param phase    for the log: "open inputs"
/// @param wish     may differ between ranks
/// @return the weightiest wish of all ranks
/// Errors: AgreedError with the kind and text of the lowest failing rank, on all ranks; rethrows an
/// MpiError at once.
/// Cost when all is well: one Allreduce of one int64.
Wish agree(const Comm& comm, std::string_view phase, const std::exception_ptr& failure,
           Wish wish = Wish::go_on);

/// Collective over `comm`. Runs `local`, which must not communicate, then all ranks agree: all
/// return the weightiest wish, or all throw AgreedError with the kind and text of the lowest
/// failing rank. Cost when all is well: one Allreduce of one int64.
template <class Local>
Wish collectively(const Comm& comm, std::string_view phase, Local&& local,
                  Wish wish = Wish::go_on) {
  std::exception_ptr failure;
  try {
    std::invoke(std::forward<Local>(local));
  } catch (...) {
    failure = std::current_exception();
  }
  return agree(comm, phase, failure, wish);
}

/// Collective over `comm`. Proves that `value` is the same on all ranks.
/// Errors: AgreedError{bug} that names `what`.
/// Cost: one Allreduce of two 64-bit numbers.
void agree_same(const Comm& comm, std::uint64_t value, std::string_view what);

/// Local. Whether an exception is under way that other ranks do not share: collective resources
/// must then be leaked, not closed.
[[nodiscard]] bool alone() noexcept;

}  // namespace mpimerge::comm
