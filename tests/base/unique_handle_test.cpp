#include "mpimerge/base/unique_handle.hpp"

#include <type_traits>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mpimerge::base {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<int> closed;

struct RecordingTraits {
  using Handle = int;
  static constexpr int null() noexcept { return -1; }
  static void close(int handle) noexcept { closed.push_back(handle); }
};
using Recorded = UniqueHandle<RecordingTraits>;

static_assert(!std::is_copy_constructible_v<Recorded> && !std::is_copy_assignable_v<Recorded>);
static_assert(std::is_nothrow_move_constructible_v<Recorded> &&
              std::is_nothrow_move_assignable_v<Recorded>);

class UniqueHandleTest : public testing::Test {
 protected:
  UniqueHandleTest() { closed.clear(); }
};

TEST_F(UniqueHandleTest, ClosesOnceAtTheEnd) {
  {
    const Recorded handle(7);
    EXPECT_TRUE(handle);
    EXPECT_EQ(handle.get(), 7);
  }
  EXPECT_THAT(closed, ElementsAre(7));
}

TEST_F(UniqueHandleTest, AnEmptyOneClosesNothing) {
  { const Recorded handle; }
  { const Recorded handle(RecordingTraits::null()); }
  EXPECT_THAT(closed, IsEmpty());
}

TEST_F(UniqueHandleTest, MovingHandsTheDutyOn) {
  {
    Recorded from(7);
    const Recorded to(std::move(from));
    EXPECT_FALSE(from);  // NOLINT(bugprone-use-after-move): what a move leaves is the claim
    EXPECT_EQ(to.get(), 7);
  }
  EXPECT_THAT(closed, ElementsAre(7));
}

TEST_F(UniqueHandleTest, AssigningClosesWhatWasHeld) {
  Recorded handle(7);
  handle = Recorded(8);

  EXPECT_THAT(closed, ElementsAre(7));
  EXPECT_EQ(handle.get(), 8);
}

TEST_F(UniqueHandleTest, AssigningToItselfKeepsTheHandle) {
  Recorded handle(7);
  Recorded& same = handle;
  handle = std::move(same);

  EXPECT_THAT(closed, IsEmpty());
  EXPECT_EQ(handle.get(), 7);
}

TEST_F(UniqueHandleTest, AReleasedHandleStaysOpen) {
  {
    Recorded handle(7);
    EXPECT_EQ(handle.release(), 7);
  }
  EXPECT_THAT(closed, IsEmpty());
}

}  // namespace
}  // namespace mpimerge::base
