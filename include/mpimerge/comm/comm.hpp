#pragma once

#include <string_view>

#include <mpi.h>

namespace mpimerge::comm {

/// Owns a communicator. Move-only; duplicating and splitting are named and collective.
class Comm {
 public:
  /// Collective over `other`. A copy of its own, with errors returned instead of aborting.
  static Comm duplicate(MPI_Comm other);
  /// Collective over this communicator. Ranks of the same `color` form one, ordered by their rank
  /// here.
  [[nodiscard]] Comm split(int color) const;
  /// Collective over this communicator. The ranks that share this rank's memory (its node).
  [[nodiscard]] Comm split_by_node() const;

  Comm(Comm&& other) noexcept;
  Comm& operator=(Comm&& other) noexcept;
  Comm(const Comm&) = delete;
  Comm& operator=(const Comm&) = delete;
  /// Collective as a fallback: frees while ranks are in step, otherwise leaks on purpose (a
  /// collective call from a destructor under a lone exception would hang).
  ~Comm();

  /// Collective. The normal end of a communicator.
  void close();

  /// Local. Free.
  [[nodiscard]] int rank() const noexcept { return rank_; }
  [[nodiscard]] int ranks() const noexcept { return ranks_; }
  [[nodiscard]] bool is_root() const noexcept { return rank_ == 0; }
  /// Local. For the rooms that call MPI themselves (hdf5).
  [[nodiscard]] MPI_Comm get() const noexcept { return comm_; }

 private:
  explicit Comm(MPI_Comm comm);

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  int ranks_ = 1;
};

}  // namespace mpimerge::comm
