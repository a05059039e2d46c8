#include <algorithm>
#include <iterator>
#include <utility>

#include "method/builtin.hpp"

namespace mpimerge::method {
namespace {

std::vector<Description> built_in() {
  std::vector<Description> list{average(), linear(), task_arithmetic()};
  std::ranges::move(ties_family(), std::back_inserter(list));
  for (const auto& make : {fisher, regmean, slerp, nuslerp, multislerp, karcher, model_stock, sce,
                           arcee_fusion, nearswap, ram, ramplus_tl, passthrough, perturb, cat})
    list.push_back(make());
  return list;
}

std::vector<Description>& all() {
  static std::vector<Description> list = built_in();
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
