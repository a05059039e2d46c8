#include "app/progress.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include "mpimerge/base/file_descriptor.hpp"

namespace mpimerge::app {
namespace {

// Under mpirun a rank's stderr is a pipe; the launcher, its parent on the first node, may be at a
// terminal.
bool stderr_reaches_terminal() {
  if (isatty(STDERR_FILENO)) return true;
  if (std::getenv("OMPI_COMM_WORLD_RANK") == nullptr) return false;
  const std::string parents = fmt::format("/proc/{}/fd/2", getppid());
  const base::FileDescriptor stream(
      open(parents.c_str(), O_WRONLY | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  return stream && isatty(stream.get());
}

}  // namespace

ProgressLine::ProgressLine(bool wanted) : shown_(wanted && stderr_reaches_terminal()) {}

ProgressLine::~ProgressLine() { clear(); }

void ProgressLine::begin(std::string_view phase, double bytes) {
  clear();
  phase_ = phase;
  bytes_ = bytes;
  started_ = last_ = Clock::now();
}

void ProgressLine::show(double share) {
  const auto now = Clock::now();
  if (!shown_ || now - last_ < std::chrono::milliseconds(100)) return;
  last_ = now;
  drawn_ = true;
  const double seconds = std::chrono::duration<double>(now - started_).count();
  const double left = share > 0 ? seconds * (1 - share) / share : 0;
  const std::string line =
      fmt::format("\r\033[K{:<8} {:3.0f} %  {:6.2f} GB/s  {:%H:%M:%S} left", phase_, 100 * share,
                  bytes_ * share / seconds / 1e9, std::chrono::seconds(static_cast<long>(left)));
  std::fputs(line.c_str(), stderr);  // not fmt::print, which throws when the terminal is gone
  std::fflush(stderr);
}

void ProgressLine::clear() {
  if (!drawn_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace mpimerge::app
