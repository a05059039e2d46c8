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

/// Collective over `comm`. All ranks agree on how a piece of local work went.
///
/// @param failure  what this rank's work threw, if it did
/// @param phase    for the log: "open inputs"
/// Errors: AgreedError with the kind and text of the lowest failing rank, on all ranks; rethrows an
/// MpiError at once.
/// Cost when all is well: one Allreduce of one int64.
void agree(const Comm& comm, std::string_view phase, const std::exception_ptr& failure);

/// Collective over `comm`. Runs `local`, which must not communicate, then all ranks agree: all
/// return, or all throw AgreedError with the kind and text of the lowest failing rank. Cost when
/// all is well: one Allreduce of one int64.
template <class Local>
void collectively(const Comm& comm, std::string_view phase, Local&& local) {
  std::exception_ptr failure;
  try {
    std::invoke(std::forward<Local>(local));
  } catch (...) {
    failure = std::current_exception();
  }
  agree(comm, phase, failure);
}

/// Collective over `comm`. Proves that `value` is the same on all ranks.
/// Errors: AgreedError{bug} that names `what`.
/// Cost: one Allreduce of two 64-bit numbers.
void agree_same(const Comm& comm, std::uint64_t value, std::string_view what);

/// Local. Whether an exception is under way that other ranks do not share: collective resources
/// must then be leaked, not closed.
[[nodiscard]] bool alone() noexcept;

}  // namespace mpimerge::comm
