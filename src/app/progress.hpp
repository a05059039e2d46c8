#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace mpimerge::app {

/// One line on rank 0's terminal that shows phase, percent, GB/s and the time left; nothing
/// anywhere else, so nothing ever in a batch log.
class ProgressLine {
 public:
  /// Local. @param wanted  false on other ranks and when the user asked for quiet
  explicit ProgressLine(bool wanted);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Local. A new phase, in which the whole job moves `bytes`.
  void begin(std::string_view phase, double bytes);
  /// Local. The share of the phase that is done; drawn at most ten times a second.
  void show(double share);
  /// Local. Wipes the line, for others to write.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  bool shown_;
  bool drawn_ = false;
  std::string phase_;
  double bytes_ = 0;
  Clock::time_point started_;
  Clock::time_point last_;
};

}  // namespace mpimerge::app
