#include "app/stop.hpp"

#include <csignal>
#include <initializer_list>

namespace mpimerge::app {
namespace {

volatile std::sig_atomic_t first_signal = 0;

void note(int signal) {
  if (first_signal == 0) first_signal = signal;
}

}  // namespace

void note_stop_signals() {
  struct sigaction action {};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART;  // no read or write of a library sees EINTR
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGTERM, SIGUSR1, SIGINT}) sigaction(signal, &action, nullptr);
}

int stop_signal() noexcept { return first_signal; }

}  // namespace mpimerge::app
