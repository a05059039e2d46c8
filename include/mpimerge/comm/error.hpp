#pragma once

#include <source_location>
#include <stdexcept>
#include <string>

#include "mpimerge/base/error.hpp"

namespace mpimerge::comm {

/// A failure that all ranks know of and leave with together: the same kind and text on every rank.
class AgreedError : public base::Error {
 public:
  AgreedError(base::ErrorKind kind, const std::string& message);
  AgreedError(const AgreedError& other) noexcept;
  AgreedError& operator=(const AgreedError&) = default;
  ~AgreedError() override;

  /// Local. Whether one is under way or being handled in this process: ranks are then in step.
  [[nodiscard]] static bool exists() noexcept;
};

/// MPI itself failed: cannot be agreed on, ends the job by MPI_Abort.
class MpiError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Local. Throws MpiError with MPI's own text unless `status` is MPI_SUCCESS.
void check(int status, std::source_location where = std::source_location::current());

}  // namespace mpimerge::comm
