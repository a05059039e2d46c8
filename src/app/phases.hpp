#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mpimerge/base/index.hpp"
#include "mpimerge/comm/comm.hpp"

namespace mpimerge::app {

/// One part of a run, over all ranks.
struct Phase {
  std::string name;
  double seconds = 0;  ///< of the slowest rank
  base::Bytes bytes;   ///< read or written in it, by all ranks
};

/// The account of a run: what each phase took, logged when it ends.
class Phases {
 public:
  explicit Phases(const comm::Comm& comm) : comm_(comm) {}

  /// Collective. Adds a phase from this rank's seconds and bytes, and logs it.
  void add(std::string name, double seconds, base::Bytes bytes);

  /// Local.
  [[nodiscard]] const std::vector<Phase>& list() const noexcept { return phases_; }

 private:
  const comm::Comm& comm_;
  std::vector<Phase> phases_;
};

}  // namespace mpimerge::app
