#include "mpimerge/kernel/vectors.hpp"

#include "method/builtin.hpp"

namespace mpimerge::method {
namespace {

enum Number : std::size_t { kWeight, kNormalize };

// Σ w_t θ_t, divided by Σ w_t where that is asked for: products and sums in job order, in float32.
class Linear final : public Method {
 public:
  void merge(const Tensor& tensor, const Tile& tile, float* merged) override {
    float weights = 0;
    for (std::size_t model = 0; model < tensor.models; ++model) {
      const auto weight = static_cast<float>(tensor.number(kWeight, model));
      const float* const values = tile.models[model];
      weights += weight;
      kernel::with_vectors([=, elements = tile.elements] {
        if (model == 0) {
          for (std::size_t i = 0; i < elements; ++i) merged[i] = weight * values[i];
        } else {
          for (std::size_t i = 0; i < elements; ++i) merged[i] += weight * values[i];
        }
      });
    }
    if (!tensor.flag(kNormalize)) return;
    kernel::with_vectors([=, elements = tile.elements] {
      for (std::size_t i = 0; i < elements; ++i) merged[i] /= weights;
    });
  }
};

}  // namespace

Description linear() {
  Description description;
  description.name = "linear";
  description.about = "weighted average of the models (mergekit; Wortsman et al. 2022)";
  description.base = Base::unused;
  description.parameters = {{.name = "weight", .of = Parameter::Of::model},
                            {.name = "normalize", .fallback = 1, .is_flag = true}};
  description.divides_by_weights = [](const Rules&, std::span<const double> of_merge) {
    return of_merge[kNormalize] != 0;
  };
  description.make = [](const Setup&) { return std::make_unique<Linear>(); };
  return description;
}

}  // namespace mpimerge::method
