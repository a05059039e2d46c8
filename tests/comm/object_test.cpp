#include "mpimerge/comm/object.hpp"

#include <vector>

#include <gtest/gtest.h>

#include "comm/nested.hpp"

namespace mpimerge::comm {
namespace {

using test::Outer;
using test::outer_of;

TEST(Object, ComesBackFromItsArchive) {
  for (const Outer& object : {Outer{}, outer_of(0), outer_of(100)}) {
    Outer copy = outer_of(50);

    from_bytes(to_bytes(object), copy);

    EXPECT_EQ(copy, object);
  }
}

TEST(Object, EqualObjectsHaveEqualArchives) {
  EXPECT_EQ(to_bytes(outer_of(100)), to_bytes(outer_of(100)));
  EXPECT_NE(to_bytes(outer_of(100)), to_bytes(outer_of(108)));
}

TEST(Object, EmptyListsAndTextsComeBackEmpty) {
  std::vector<test::Inner> list{{"to be replaced", {1}}};
  from_bytes(to_bytes(std::vector<test::Inner>{}), list);
  EXPECT_TRUE(list.empty());

  std::string text = "to be replaced";
  from_bytes(to_bytes(std::string{}), text);
  EXPECT_TRUE(text.empty());
}

}  // namespace
}  // namespace mpimerge::comm
