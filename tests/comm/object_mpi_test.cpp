#include <cstddef>
#include <string>

#include <gtest/gtest.h>

#include "mpimerge/comm/object.hpp"

#include "comm/nested.hpp"
#include "support/world.hpp"

namespace mpimerge::comm {
namespace {

using test::Outer;
using test::outer_of;
using test::world;

TEST(BcastObject, EveryRankHasTheRootsObject) {
  constexpr std::size_t kTwoMebibytes = std::size_t{2} << 20;
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1000}, kTwoMebibytes}) {
    Outer object = world().is_root() ? outer_of(bytes) : Outer{};

    bcast_object(world(), object);

    EXPECT_TRUE(object == outer_of(bytes)) << bytes;
  }
}

TEST(BcastObject, AnEmptyObjectReplacesWhatARankHad) {
  Outer object = world().is_root() ? Outer{} : outer_of(100);

  bcast_object(world(), object);

  EXPECT_EQ(object, Outer{});
}

TEST(BcastObject, TakesTheRootOfASplitCommunicator) {
  const int color = world().rank() % 2;
  const Comm part = world().split(color);
  std::string name = part.is_root() ? "part " + std::to_string(color) : std::string{};

  bcast_object(part, name);

  EXPECT_EQ(name, "part " + std::to_string(color));
}

}  // namespace
}  // namespace mpimerge::comm
