#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace mpimerge::app {

/// The remedy where a command keeps nothing to go on from.
inline constexpr std::string_view kRunAgain = "run it again";

/// Ends this process with exit code 70 when its work does not go on: another rank or its host may be
/// gone, and no MPI call ever returns to tell. The launcher then ends the ranks that are left.
///
/// It makes no MPI call, takes no lock that the work could hold while it hangs, and counts only time
/// in which the process ran: a job that was suspended has not been idle.
class Watchdog {
 public:
  /// Local. Starts to watch.
  /// @param rank     who this is, for the line that it prints: "rank 12/512 node7"
  /// @param seconds  without `feed` until the end; 0: never
  /// @param remedy   the end of that line: what the user can do then
  Watchdog(std::string rank, double seconds, std::string_view remedy);
  /// Local. Stops to watch.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// Local. The work goes on, with this.
  /// @param phase  text that lives as long as the program
  /// @param round  of the phase, from 1 on; 0 where it has none
  void feed(std::string_view phase, std::uint64_t round = 0);

 private:
  void watch();
  [[noreturn]] void end_process() const;

  const std::string rank_;
  const std::string remedy_;
  const std::chrono::duration<double> limit_;
  std::mutex mutex_;  // of all below
  std::condition_variable wake_;
  bool fed_ = true;
  bool over_ = false;
  std::string_view phase_ = "start";
  std::uint64_t round_ = 0;
  std::thread thread_;
};

}  // namespace mpimerge::app
