#include "app/progress.hpp"

#include <array>
#include <chrono>
#include <exception>
#include <string>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

namespace mpimerge::app {
namespace {

struct Terminal {
  int master = ::posix_openpt(O_RDWR | O_NOCTTY);
  int slave = -1;

  Terminal() {
    if (::grantpt(master) == 0 && ::unlockpt(master) == 0)
      slave = ::open(::ptsname(master), O_RDWR | O_NOCTTY);
  }
};

constexpr auto kBetweenTwoLines = std::chrono::milliseconds(120);

TEST(ProgressLine, AppearsOnATerminal) {
  const Terminal terminal;
  ASSERT_NE(terminal.slave, -1);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(terminal.slave, STDERR_FILENO);
    ProgressLine line(true);
    line.begin("merge", 1e9);
    std::this_thread::sleep_for(kBetweenTwoLines);
    line.show(0.5);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  std::array<char, 200> shown{};
  const ssize_t bytes = ::read(terminal.master, shown.data(), shown.size());
  ASSERT_GT(bytes, 0);
  EXPECT_THAT(std::string(shown.data(), static_cast<std::size_t>(bytes)),
              testing::HasSubstr("merge     50 %"));
}

TEST(ProgressLine, OutlivesItsTerminal) {
  const Terminal terminal;
  ASSERT_NE(terminal.slave, -1);
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      ::dup2(terminal.slave, STDERR_FILENO);
      ProgressLine line(true);
      line.begin("merge", 1e9);
      std::this_thread::sleep_for(kBetweenTwoLines);
      ::close(terminal.master);
      line.show(0.5);
    } catch (const std::exception&) {
      ::_exit(1);
    }
    ::_exit(0);
  }
  ::close(terminal.master);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace mpimerge::app
