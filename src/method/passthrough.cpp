#include "mpimerge/kernel/vectors.hpp"

#include "method/builtin.hpp"

namespace mpimerge::method {
namespace {

enum Number : std::size_t { kScale };

class Passthrough final : public Method {
 public:
  void merge(const Tensor& tensor, const Tile& tile, float* merged) override {
    const auto scale = static_cast<float>(tensor.number(kScale, 0));
    const float* const values = tile.models.front();
    kernel::with_vectors([=, elements = tile.elements] {
      for (std::size_t i = 0; i < elements; ++i) merged[i] = scale * values[i];
    });
  }
};

}  // namespace

Description passthrough() {
  Description description;
  description.name = "passthrough";
  description.about = "one model, scaled where that is asked for (mergekit)";
  description.base = Base::unused;
  description.most_models = 1;
  description.parameters = {{.name = "scale", .of = Parameter::Of::model, .fallback = 1}};
  description.make = [](const Setup&) { return std::make_unique<Passthrough>(); };
  return description;
}

}  // namespace mpimerge::method
