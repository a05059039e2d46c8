#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "mpimerge/comm/comm.hpp"

namespace mpimerge::comm {

/// Collective over `comm`; `values` of equal length on all ranks. Element-wise sum, maximum or
/// minimum over the ranks, in place. Exact and therefore the same for every rank count.
/// Cost: one Allreduce (one per 2^30 values).
void all_reduce_sum(const Comm& comm, std::span<std::uint64_t> values);
void all_reduce_sum(const Comm& comm, std::span<std::int64_t> values);
void all_reduce_max(const Comm& comm, std::span<std::uint64_t> values);
void all_reduce_min(const Comm& comm, std::span<std::uint64_t> values);

/// Collective over `comm`. The largest `value` of all ranks.
double all_reduce_max(const Comm& comm, double value);
/// Collective over `comm`. The largest `value` of all ranks.
std::uint64_t all_reduce_max(const Comm& comm, std::uint64_t value);
/// Collective over `comm`. The sum of `value` over all ranks.
std::uint64_t all_reduce_sum(const Comm& comm, std::uint64_t value);

/// Collective over `comm`. Rank 0's bytes on every rank; resized where they are received.
/// Cost: two Broadcasts (one more per GiB).
void bcast_bytes(const Comm& comm, std::vector<char>& bytes);

/// Collective over `comm`. The bytes of all ranks on rank 0, in the order of the ranks; nothing on
/// the others.
/// Cost: one message per rank (one more per GiB); rank 0 holds the whole.
std::vector<char> gather_bytes(const Comm& comm, std::span<const char> bytes);

/// Collective over `comm`. Every rank waits for every other.
void barrier(const Comm& comm);

}  // namespace mpimerge::comm
