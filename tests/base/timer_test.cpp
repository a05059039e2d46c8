#include "mpimerge/base/timer.hpp"

#include <chrono>
#include <thread>

#include <gtest/gtest.h>

namespace mpimerge::base {
namespace {

TEST(Timer, CountsSecondsSinceItWasMade) {
  const Timer timer;
  std::this_thread::sleep_for(std::chrono::milliseconds(20));

  const double first = timer.seconds();
  const double second = timer.seconds();

  EXPECT_GE(first, 0.02);
  EXPECT_GE(second, first);
}

}  // namespace
}  // namespace mpimerge::base
