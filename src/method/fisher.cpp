#include <algorithm>
#include <cmath>

#include "mpimerge/kernel/vectors.hpp"

#include "method/builtin.hpp"

namespace mpimerge::method {
namespace {

enum Number : std::size_t { kWeight, kFloor, kNormalize };
enum PassNumber : std::size_t { kNorms };

// Σ c_t F_t θ_t / Σ c_t F_t, element by element, in double. F_t is raised to the floor; c_t is the
// weight, divided by the norm of F_t over the whole model where that is asked for.
class Fisher final : public Method {
 public:
  Fisher(std::size_t models, bool normalizes) : models_(models), normalizes_(normalizes) {}

  std::vector<Pass> passes() const override {
    if (!normalizes_) return {};
    return {{Pass::Kind::model_sums}};
  }
  std::size_t model_facts() const override { return normalizes_ ? models_ : 0; }
  std::size_t sums(std::size_t /*pass*/, const Tensor& /*tensor*/) const override {
    return models_;
  }

  void add(std::size_t /*pass*/, const Tensor& tensor, const Tile& tile, Sums& sums) override {
    for (std::size_t model = 0; model < tensor.models; ++model) {
      sums.add_products(tensor.numbers[model], tile.files[model], tile.files[model]);
    }
  }

  void learn(std::size_t /*pass*/, const Tensor& /*tensor*/, std::span<const double> found,
             std::span<double> facts) override {
    for (std::size_t model = 0; model < found.size(); ++model)
      facts[model] = std::sqrt(found[model]);
  }

  void merge(const Tensor& tensor, const Tile& tile, float* merged) override {
    const double floor = tensor.number(kFloor);
    numerator_.assign(tile.elements, 0);
    denominator_.assign(tile.elements, 0);
    double* const numerator = numerator_.data();
    double* const denominator = denominator_.data();
    for (std::size_t model = 0; model < tensor.models; ++model) {
      const double coefficient = tensor.number(kWeight, model) / norm(tensor, model);
      const float* const fisher = tile.files[model];
      const float* const values = tile.models[model];
      kernel::with_vectors([=, elements = tile.elements] {
        for (std::size_t i = 0; i < elements; ++i) {
          const double share = coefficient * std::max(static_cast<double>(fisher[i]), floor);
          numerator[i] += share * values[i];
          denominator[i] += share;
        }
      });
    }
    kernel::with_vectors([=, elements = tile.elements] {
      for (std::size_t i = 0; i < elements; ++i)
        merged[i] = static_cast<float>(numerator[i] / denominator[i]);
    });
  }

 private:
  // A Fisher of zeros counts by its floor alone.
  static double norm(const Tensor& tensor, std::size_t model) {
    if (!tensor.flag(kNormalize)) return 1;
    const double found = tensor.model_facts[tensor.numbers[model]];
    return found > 0 ? found : 1;
  }

  std::size_t models_;
  bool normalizes_;
  std::vector<double> numerator_;
  std::vector<double> denominator_;
};

}  // namespace

Description fisher() {
  Description description;
  description.name = "fisher";
  description.about = "average weighted by diagonal Fisher information (Matena, Raffel 2022)";
  description.base = Base::unused;
  description.parameters = {{.name = "weight", .of = Parameter::Of::model, .fallback = 1},
                            {.name = "floor", .fallback = 1e-6, .least = 0, .above_least = true},
                            {.name = "normalize", .fallback = 0, .is_flag = true}};
  description.files = "fisher";
  description.divides_by_weights = [](const Rules&, std::span<const double>) { return true; };
  description.make = [](const Setup& setup) {
    return std::make_unique<Fisher>(setup.models, setup.may_be("normalize", true));
  };
  return description;
}

}  // namespace mpimerge::method
