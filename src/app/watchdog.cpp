#include "app/watchdog.hpp"

#include <csignal>
#include <utility>

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include "mpimerge/base/error.hpp"

namespace mpimerge::app {
namespace {

// The limit is counted in so many ticks: one that a suspended process slept through is still one.
constexpr int kTicks = 20;

}  // namespace

Watchdog::Watchdog(std::string rank, double seconds, std::string_view remedy)
    : rank_(std::move(rank)), remedy_(remedy), limit_(seconds) {
  if (seconds <= 0) return;
  // Signals stay with the threads that had them before.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { watch(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Watchdog::~Watchdog() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Watchdog::feed(std::string_view phase, std::uint64_t round) {
  const std::lock_guard lock(mutex_);
  fed_ = true;
  phase_ = phase;
  round_ = round;
}

void Watchdog::watch() {
  int idle = 0;
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, limit_ / kTicks, [this] { return over_; })) {
    idle = fed_ ? 0 : idle + 1;
    fed_ = false;
    if (idle == kTicks) end_process();
  }
}

void Watchdog::end_process() const {
  const std::string round = round_ > 0 ? fmt::format(", round {}", round_) : "";
  const std::string line = fmt::format(
      "mpimerge: error: [{}] no progress for {:g} s in phase {}{}; another rank or its host may be "
      "gone; {}\n",
      rank_, limit_.count(), phase_, round, remedy_);
  // Neither stdio nor the log, whose locks a hanging thread may hold; and no wait for a launcher that
  // does not read any more.
  pollfd stream{STDERR_FILENO, POLLOUT, 0};
  if (poll(&stream, 1, 1000) > 0 && (stream.revents & POLLOUT) != 0) [[maybe_unused]]
    const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  _exit(base::exit_code(base::ErrorKind::bug));
}

}  // namespace mpimerge::app
