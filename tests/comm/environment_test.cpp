#include "mpimerge/comm/environment.hpp"

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <stdexcept>

#include <gtest/gtest.h>
#include <mpi.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mpimerge/comm/error.hpp"

namespace mpimerge::comm {
namespace {

// A process can start MPI only once: `body` gets one of its own.
void in_a_process(const std::function<void()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    body();
    std::fflush(nullptr);
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "the failure is printed above";
}

struct Arguments {
  int count = 0;
  char** values = nullptr;
};

bool has_started() {
  int started = 0;
  MPI_Initialized(&started);
  return started != 0;
}

bool has_ended() {
  int ended = 0;
  MPI_Finalized(&ended);
  return ended != 0;
}

TEST(Environment, StartsAndEndsMpi) {
  in_a_process([] {
    Arguments arguments;
    {
      const Environment environment(arguments.count, arguments.values);
      EXPECT_TRUE(has_started());
      EXPECT_FALSE(has_ended());
    }
    EXPECT_TRUE(has_ended());
  });
}

TEST(Environment, OverrulesOmpioAndSaysSoWhereItWasAskedFor) {
  struct Row {
    const char* asked;
    bool overruled;
  };
  for (const Row& row : {Row{nullptr, false}, Row{"ompio", true}, Row{"romio321,ompio", true},
                         Row{"^ompio", false}, Row{"romio321", false}}) {
    SCOPED_TRACE(row.asked == nullptr ? "nothing" : row.asked);
    in_a_process([&] {
      if (row.asked == nullptr)
        unsetenv("OMPI_MCA_io");
      else
        setenv("OMPI_MCA_io", row.asked, 1);
      Arguments arguments;
      const Environment environment(arguments.count, arguments.values);
      EXPECT_EQ(environment.overruled_ompio(), row.overruled);
      EXPECT_STREQ(std::getenv("OMPI_MCA_io"), "^ompio");
    });
  }
}

TEST(Environment, EndsMpiUnderAnAgreedErrorOnly) {
  in_a_process([] {
    Arguments arguments;
    try {
      const Environment environment(arguments.count, arguments.values);
      throw AgreedError(base::ErrorKind::input, "all ranks have this");
    } catch (const AgreedError&) {
      EXPECT_TRUE(has_ended());
    }
  });
  in_a_process([] {
    Arguments arguments;
    try {
      const Environment environment(arguments.count, arguments.values);
      throw std::runtime_error("other ranks may be in a collective");
    } catch (const std::runtime_error&) {
      EXPECT_FALSE(has_ended());
    }
    MPI_Finalize();
  });
}

}  // namespace
}  // namespace mpimerge::comm
