#include "app/standard_streams.hpp"

#include <cerrno>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mpimerge/base/error.hpp"

namespace mpimerge::app {
namespace {

// The exit code of `body`, run by a child that may close what it likes.
template <class Body>
int exit_code_of(Body body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(OpenStandardStreams, KeepsTheNextFileFromBecomingOne) {
  for (const int streams : {0b001, 0b010, 0b100, 0b110, 0b111}) {
    const int code = exit_code_of([&] {
      for (int stream = 0; stream < 3; ++stream) {
        if ((streams >> stream & 1) != 0) ::close(stream);
      }
      open_standard_streams();
      return ::open("/dev/null", O_WRONLY) > STDERR_FILENO ? 0 : 1;
    });
    EXPECT_EQ(code, 0) << "closed: " << streams;
  }
}

TEST(OpenStandardStreams, LetsWritingToAClosedOneFail) {
  const int code = exit_code_of([] {
    ::close(STDOUT_FILENO);
    open_standard_streams();
    return ::write(STDOUT_FILENO, "x", 1) == -1 && errno == EBADF ? 0 : 1;
  });
  EXPECT_EQ(code, 0);
}

TEST(OpenStandardStreams, LeavesOpenOnesAlone) {
  const int code = exit_code_of([] {
    const int before = ::fcntl(STDOUT_FILENO, F_GETFL);
    open_standard_streams();
    return ::fcntl(STDOUT_FILENO, F_GETFL) == before ? 0 : 1;
  });
  EXPECT_EQ(code, 0);
}

TEST(PrintResult, IsAnErrorOfTheOutputOnAFullDevice) {
  const int code = exit_code_of([] {
    ::dup2(::open("/dev/full", O_WRONLY), STDOUT_FILENO);
    try {
      print_result("a result");
    } catch (const base::Error& error) {
      const std::string text = error.what();
      const bool good = error.kind() == base::ErrorKind::output &&
                        text == "standard output: cannot be written: No space left on device";
      return good ? 0 : 1;
    }
    return 2;
  });
  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace mpimerge::app
