#include "app/score.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/text.hpp"

#include "app/stop.hpp"

namespace mpimerge::app {
namespace {

// What is kept of the output: its end, where the number stands.
constexpr std::size_t kMostKept = std::size_t{1} << 16;
constexpr int kMillisecondsBetweenLooks = 20;

// What mpirun, srun and their daemons tell a rank of itself: a program that finds it takes itself for
// that rank.
bool is_of_launcher(std::string_view setting) {
  constexpr std::array<std::string_view, 9> kPrefixes{"OMPI_COMM_WORLD_",
                                                      "OMPI_MCA_orte_",
                                                      "OMPI_MCA_ess",
                                                      "OMPI_UNIVERSE_SIZE",
                                                      "OMPI_FILE_",
                                                      "OMPI_APP_",
                                                      "PMIX_",
                                                      "PMI_",
                                                      "PRTE_"};
  return std::ranges::any_of(kPrefixes,
                             [&](std::string_view prefix) { return setting.starts_with(prefix); });
}

// Of all files that are open here, a program that is started inherits 0, 1 and 2 only: libraries do
// not always ask for that.
void close_others_on_exec() {
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", failed)) {
    const std::string name = entry.path().filename().string();
    int number = 0;
    std::from_chars(name.data(), name.data() + name.size(), number);
    if (number <= STDERR_FILENO) continue;
    const int flags = ::fcntl(number, F_GETFD);
    if (flags >= 0) ::fcntl(number, F_SETFD, flags | FD_CLOEXEC);
  }
}

/// What posix_spawn is told of files and signals.
struct SpawnPlan {
  posix_spawn_file_actions_t files{};
  posix_spawnattr_t attributes{};

  explicit SpawnPlan(int stdout_to) {
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, stdout_to, STDOUT_FILENO);
    posix_spawnattr_init(&attributes);
    // Signals that this program ignores or blocks are its own affair.
    sigset_t signals;
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes, &signals);
    for (const int signal : {SIGPIPE, SIGXFSZ, SIGTERM, SIGUSR1, SIGINT})
      sigaddset(&signals, signal);
    posix_spawnattr_setsigdefault(&attributes, &signals);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  ~SpawnPlan() {
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
  }
};

// Starts the command; 0, or the error.
int start(std::vector<std::string> words, int stdout_to, pid_t& child) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::vector<char*> environment;
  for (char** setting = environ; *setting != nullptr; ++setting) {
    if (!is_of_launcher(*setting)) environment.push_back(*setting);
  }
  environment.push_back(nullptr);
  close_others_on_exec();
  const SpawnPlan plan(stdout_to);
  return ::posix_spawnp(&child, arguments.front(), &plan.files, &plan.attributes, arguments.data(),
                        environment.data());
}

// Reads what is there; false at the end.
bool read_some(const base::FileDescriptor& from, std::string& text) {
  std::array<char, 4096> part{};
  const ssize_t bytes = ::read(from.get(), part.data(), part.size());
  if (bytes < 0) return errno == EINTR;
  text.append(part.data(), static_cast<std::size_t>(bytes));
  if (text.size() > 2 * kMostKept) text.erase(0, text.size() - kMostKept);
  return bytes > 0;
}

std::string describe_end(int status) {
  if (WIFSIGNALED(status)) return fmt::format("ended by signal {}", WTERMSIG(status));
  return fmt::format("ended with exit code {}", WEXITSTATUS(status));
}

}  // namespace

std::optional<double> last_number(const std::string& text) {
  std::optional<double> found;
  std::size_t begin = 0;
  constexpr const char* kBetween = " \t\r\n,;:=()[]{}\"'%";
  while ((begin = text.find_first_not_of(kBetween, begin)) != std::string::npos) {
    const std::size_t end = std::min(text.find_first_of(kBetween, begin), text.size());
    if (text[begin] == '+') ++begin;
    double number = 0;
    const auto [last, status] = std::from_chars(text.data() + begin, text.data() + end, number);
    if (status == std::errc{} && last == text.data() + end && std::isfinite(number)) found = number;
    begin = end;
  }
  return found;
}

Score score_of(const std::vector<std::string>& command, const std::string& output,
               const std::function<void()>& waiting) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0)
    return {{}, fmt::format("no pipe for its output: {}", std::strerror(errno))};
  const base::FileDescriptor from(ends[0]);
  base::FileDescriptor to(ends[1]);
  std::vector<std::string> words = command;
  words.push_back(output);
  pid_t child = 0;
  if (const int error = start(words, to.get(), child); error != 0)
    return {{}, fmt::format("cannot be started: {}", std::strerror(error))};
  to = {};  // else the pipe never ends

  std::string text;
  bool is_told = false;
  int status = 0;
  bool more = true;
  bool has_ended = false;
  while (!has_ended) {
    if (stop_signal() != 0 && !is_told) {
      ::kill(child, SIGTERM);
      is_told = true;
    }
    waiting();
    pollfd look{more ? from.get() : -1, POLLIN, 0};
    if (::poll(&look, 1, kMillisecondsBetweenLooks) > 0) more = read_some(from, text);
    // A child of the command that lives on may hold the pipe open: the command's end is what counts.
    has_ended = ::waitpid(child, &status, WNOHANG) == child;
  }
  for (pollfd look{from.get(), POLLIN, 0}; more && ::poll(&look, 1, 0) > 0;)
    more = read_some(from, text);
  if (is_told) return {{}, "stopped"};
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return {{}, describe_end(status)};
  const auto value = last_number(text);
  return {value, value ? "" : "printed no number"};
}

std::optional<std::size_t> best_of(const std::vector<Score>& scores) {
  std::optional<std::size_t> best;
  for (std::size_t point = 0; point < scores.size(); ++point) {
    if (scores[point].value && (!best || *scores[point].value > *scores[*best].value)) best = point;
  }
  return best;
}

}  // namespace mpimerge::app
