#pragma once

#include "mpimerge/method/method.hpp"

namespace mpimerge::method {

// One for each file of this room that describes a method, or a family of them.
Description linear();

}  // namespace mpimerge::method
