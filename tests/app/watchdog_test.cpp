#include "app/watchdog.hpp"

#include <chrono>
#include <csignal>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace mpimerge::app {
namespace {

using std::chrono::milliseconds;
using testing::ExitedWithCode;
using testing::HasSubstr;

constexpr milliseconds kLong(30'000);  // a test that waits so long has failed

TEST(Watchdog, EndsAProcessThatDoesNotGoOnAndNamesRankPhaseAndRound) {
  EXPECT_EXIT(
      {
        Watchdog watchdog("rank 12/512 node7", 0.2, kRunAgain);
        watchdog.feed("merge", 17);
        std::this_thread::sleep_for(kLong);
      },
      ExitedWithCode(70),
      HasSubstr("mpimerge: error: [rank 12/512 node7] no progress for 0.2 s in phase merge, round "
                "17; another rank or its host may be gone; run it again\n"));
}

TEST(Watchdog, NamesAPhaseWithoutRounds) {
  EXPECT_EXIT(
      {
        Watchdog watchdog("rank 0/1 node7", 0.2, kRunAgain);
        watchdog.feed("merge", 17);
        watchdog.feed("check");
        std::this_thread::sleep_for(kLong);
      },
      ExitedWithCode(70), HasSubstr(" in phase check; "));
}

TEST(Watchdog, EndsAProcessWhoseOutputNobodyReads) {
  EXPECT_EXIT(
      {
        int ends[2];
        if (pipe(ends) != 0 || dup2(ends[1], STDERR_FILENO) < 0) _exit(1);
        std::thread writer([] {
          const char page[4096] = {};
          while (write(STDERR_FILENO, page, sizeof page) > 0) {
          }
        });
        Watchdog watchdog("rank 0/1 node7", 0.2, kRunAgain);
        writer.join();
      },
      ExitedWithCode(70), "");
}

TEST(Watchdog, LetsAProcessThatGoesOnLive) {
  EXPECT_EXIT(
      {
        Watchdog watchdog("rank 0/1 node7", 1, kRunAgain);
        for (int round = 1; round <= 200; ++round) {
          watchdog.feed("merge", static_cast<std::uint64_t>(round));
          std::this_thread::sleep_for(milliseconds(10));
        }
        _exit(0);
      },
      ExitedWithCode(0), "");
}

TEST(Watchdog, IsOffWithoutALimit) {
  EXPECT_EXIT(
      {
        const Watchdog watchdog("rank 0/1 node7", 0, kRunAgain);
        std::this_thread::sleep_for(milliseconds(300));
        _exit(0);
      },
      ExitedWithCode(0), "");
}

TEST(Watchdog, EndsAtOnceWithTheWork) {
  const auto begin = std::chrono::steady_clock::now();
  {
    const Watchdog watchdog("rank 0/1 node7", 1e6, kRunAgain);
    std::this_thread::sleep_for(milliseconds(100));  // until it waits
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kLong);
}

TEST(Watchdog, DoesNotCountTheTimeOfASuspendedProcess) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    Watchdog watchdog("rank 0/1 node7", 1, kRunAgain);
    std::this_thread::sleep_for(milliseconds(200));
    kill(getpid(), SIGSTOP);
    std::this_thread::sleep_for(milliseconds(300));
    watchdog.feed("merge", 1);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status));
  std::this_thread::sleep_for(milliseconds(2000));
  kill(child, SIGCONT);
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
}

}  // namespace
}  // namespace mpimerge::app
