#include <algorithm>
#include <utility>

#include "method/builtin.hpp"

namespace mpimerge::method {
namespace {

std::vector<Description>& all() {
  static std::vector<Description> list{average(), linear(),    task_arithmetic(),
                                       fisher(),  nearswap(),  passthrough(),
                                       ram(),     ramplus_tl()};
  return list;
}

}  // namespace

const std::vector<Description>& methods() { return all(); }

const Description* find(std::string_view name) {
  const auto found = std::ranges::find(all(), name, &Description::name);
  return found == all().end() ? nullptr : &*found;
}

void add(Description description) { all().push_back(std::move(description)); }

}  // namespace mpimerge::method
