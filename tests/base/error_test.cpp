#include "mpimerge/base/error.hpp"

#include <gtest/gtest.h>

namespace mpimerge::base {
namespace {

TEST(Error, CarriesItsKindAndText) {
  const Error error(ErrorKind::input, "a.safetensors: is empty");

  EXPECT_EQ(error.kind(), ErrorKind::input);
  EXPECT_STREQ(error.what(), "a.safetensors: is empty");
}

TEST(Error, KindsAreTheExitCodesThatScriptsRelyOn) {
  EXPECT_EQ(exit_code(ErrorKind::usage), 2);
  EXPECT_EQ(exit_code(ErrorKind::job), 3);
  EXPECT_EQ(exit_code(ErrorKind::input), 4);
  EXPECT_EQ(exit_code(ErrorKind::output), 5);
  EXPECT_EQ(exit_code(ErrorKind::resources), 6);
  EXPECT_EQ(exit_code(ErrorKind::bug), 70);
}

}  // namespace
}  // namespace mpimerge::base
