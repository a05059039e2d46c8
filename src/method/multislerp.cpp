#include <algorithm>
#include <cmath>

#include "method/builtin.hpp"
#include "method/gram.hpp"

namespace mpimerge::method {
namespace {

enum Number : std::size_t { kWeight, kNormalizeWeights, kEps };

// The weighted mean of the directions of the models, or of their task vectors, with the weighted
// mean of their norms as its own. mergekit moves on from there along the mean of the tangents: in
// exact arithmetic that is zero at the mean direction.
class Multislerp final : public Method {
 public:
  std::vector<Pass> passes() const override { return {{Pass::Kind::sums}}; }
  std::size_t facts(const Tensor& tensor) const override { return tensor.models; }
  std::size_t sums(std::size_t /*pass*/, const Tensor& tensor) const override {
    return Gram::sums(tensor.models);
  }

  void add(std::size_t /*pass*/, const Tensor& /*tensor*/, const Tile& tile, Sums& sums) override {
    add_gram(vectors_.vectors(tile), sums);
  }

  void learn(std::size_t /*pass*/, const Tensor& tensor, std::span<const double> found,
             std::span<double> facts) override {
    const Gram gram(found);
    const double eps = tensor.number(kEps);
    const std::size_t models = tensor.models;
    std::vector<double> weights(models);
    double sum = 0;
    for (std::size_t model = 0; model < models; ++model) {
      weights[model] = tensor.number(kWeight, model);
      sum += weights[model];
    }
    if (tensor.flag(kNormalizeWeights)) {
      for (double& weight : weights) weight /= sum;
    }
    double norm = 0;
    std::vector<double> mean(models);
    for (std::size_t model = 0; model < models; ++model) {
      norm += weights[model] * gram.norm(model);
      mean[model] = weights[model] / (gram.norm(model) + eps);
    }
    const double length = gram.norm(mean);
    // One model is itself; directions that cancel have no mean, but the vectors have.
    const bool has_direction = models > 1 && length >= eps;
    for (std::size_t model = 0; model < models; ++model) {
      facts[model] = has_direction ? mean[model] / length * norm : models > 1 ? weights[model] : 1;
    }
  }

  void merge(const Tensor& tensor, const Tile& tile, float* merged) override {
    combine(tensor.facts, tile, 0, tile.elements, merged);
  }

 private:
  TileVectors vectors_;
};

}  // namespace

Description multislerp() {
  Description description;
  description.name = "multislerp";
  description.about = "mean direction and mean norm of models or task vectors (mergekit)";
  description.base = Base::optional;
  description.parameters = {{.name = "weight", .of = Parameter::Of::model},
                            {.name = "normalize_weights", .fallback = 1, .is_flag = true},
                            {.name = "eps", .fallback = 1e-8, .least = 0, .above_least = true}};
  description.divides_by_weights = [](const Rules&, std::span<const double> of_merge) {
    return of_merge[kNormalizeWeights] != 0;
  };
  description.make = [](const Setup&) { return std::make_unique<Multislerp>(); };
  return description;
}

}  // namespace mpimerge::method
