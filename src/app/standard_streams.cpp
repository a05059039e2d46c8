#include "app/standard_streams.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/log.hpp"

namespace mpimerge::app {
namespace {

// Why it could not be written; nothing if it was.
std::optional<std::string> print(std::string_view text) {
  errno = 0;
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (std::fflush(stdout) == 0 && written) return std::nullopt;
  return std::strerror(errno);
}

}  // namespace

void open_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) != -1 || errno != EBADF) continue;
    // For reading, all three: writing to what was closed shall fail, as it would have. The lowest
    // free number is taken, which is this one.
    if (::open("/dev/null", O_RDONLY) != stream) std::abort();
  }
}

void print_result(std::string_view text) {
  if (const auto why = print(text)) {
    throw base::Error(base::ErrorKind::output,
                      fmt::format("standard output: cannot be written: {}", *why));
  }
}

void print_account(std::string_view text) {
  if (const auto why = print(text))
    base::log().warn("standard output: cannot be written: {}; all else is done", *why);
}

}  // namespace mpimerge::app
