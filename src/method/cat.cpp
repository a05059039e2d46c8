#include <algorithm>

#include "method/builtin.hpp"

namespace mpimerge::method {
namespace {

// The adapters are put together where they are read, weights and scalings included.
class Cat final : public Method {
 public:
  void merge(const Tensor& /*tensor*/, const Tile& tile, float* merged) override {
    std::copy_n(tile.models.front(), tile.elements, merged);
  }
};

}  // namespace

Description cat() {
  Description description;
  description.name = "cat";
  description.about = "one LoRA adapter that is the weighted sum of several: ranks add up (PEFT)";
  description.base = Base::unused;
  description.parameters = {{.name = "weight", .of = Parameter::Of::model, .fallback = 1}};
  description.concatenates = true;
  description.make = [](const Setup&) { return std::make_unique<Cat>(); };
  return description;
}

}  // namespace mpimerge::method
