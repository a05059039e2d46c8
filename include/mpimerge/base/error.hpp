#pragma once

#include <stdexcept>
#include <string>

namespace mpimerge::base {

/// What went wrong, as the process exit code that a user's script sees (README, "Exit codes").
enum class ErrorKind : int {
  usage = 2,      ///< the command line
  job = 3,        ///< the job file
  input = 4,      ///< a checkpoint that is read
  output = 5,     ///< a file that is written
  resources = 6,  ///< memory or disk space
  bug = 70,       ///< ours, or MPI itself
};

/// Local. The exit code that stands for `kind`.
constexpr int exit_code(ErrorKind kind) noexcept { return static_cast<int>(kind); }

/// A failure that concerns the user: the text says what, where, found, expected, remedy, in one
/// line (a job file's faults: one line each). Thrown by local functions; collective ones turn it
/// into the same outcome on every rank (comm/agree.hpp).
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}

  /// Local. Free.
  [[nodiscard]] ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace mpimerge::base
