#pragma once

#include <chrono>

namespace mpimerge::base {

/// Seconds on the monotonic clock since it was made.
class Timer {
 public:
  /// Local.
  [[nodiscard]] double seconds() const noexcept {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace mpimerge::base
