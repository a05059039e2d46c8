#include <algorithm>
#include <cmath>

#include "mpimerge/kernel/vectors.hpp"

#include "method/builtin.hpp"

namespace mpimerge::method {
namespace {

enum Number : std::size_t { kWeight, kLambda, kNormalize };

// θ_0 + λ Σ w_t (θ_t − θ_0): the sum in job order, and every operation rounded to float32.
class TaskArithmetic final : public Method {
 public:
  void merge(const Tensor& tensor, const Tile& tile, float* merged) override {
    constexpr float kLeastDivisor = 1e-8F;
    const float* const base = tile.base;
    std::fill_n(merged, tile.elements, 0.0F);
    float weights = 0;
    for (std::size_t model = 0; model < tensor.models; ++model) {
      const auto weight = static_cast<float>(tensor.number(kWeight, model));
      const float* const values = tile.models[model];
      weights += weight;
      kernel::with_vectors([=, elements = tile.elements] {
        for (std::size_t i = 0; i < elements; ++i) merged[i] += weight * (values[i] - base[i]);
      });
    }
    const bool divides = tensor.flag(kNormalize) && std::abs(weights) >= kLeastDivisor;
    const float divisor = divides ? weights : 1;
    const auto lambda = static_cast<float>(tensor.number(kLambda));
    kernel::with_vectors([=, elements = tile.elements] {
      for (std::size_t i = 0; i < elements; ++i)
        merged[i] = base[i] + lambda * (divides ? merged[i] / divisor : merged[i]);
    });
  }
};

}  // namespace

Description task_arithmetic() {
  Description description;
  description.name = "task_arithmetic";
  description.about = "the base plus the weighted sum of task vectors (Ilharco et al. 2023)";
  description.parameters = {{.name = "weight", .of = Parameter::Of::model, .fallback = 1},
                            {.name = "lambda", .fallback = 1},
                            {.name = "normalize", .fallback = 0, .is_flag = true}};
  description.make = [](const Setup&) { return std::make_unique<TaskArithmetic>(); };
  return description;
}

}  // namespace mpimerge::method
