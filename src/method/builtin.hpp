#pragma once

#include <vector>

#include "mpimerge/method/method.hpp"

namespace mpimerge::method {

// One for each file of this room that describes a method, or a family of them.
Description average();
Description cat();
Description linear();
Description task_arithmetic();
std::vector<Description> ties_family();
Description fisher();
Description nearswap();
Description passthrough();
Description regmean();
Description ram();
Description ramplus_tl();
Description slerp();
Description nuslerp();
Description multislerp();
Description karcher();
Description model_stock();
Description sce();
Description arcee_fusion();
Description perturb();

}  // namespace mpimerge::method
