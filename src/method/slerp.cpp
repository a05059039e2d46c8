#include <array>
#include <cmath>

#include "mpimerge/kernel/vectors.hpp"

#include "method/builtin.hpp"
#include "method/gram.hpp"

namespace mpimerge::method {
namespace {

enum Number : std::size_t { kT };

// From the base to the model along the great circle of their directions; along the line where these
// nearly agree, or are nearly opposite.
class Slerp final : public Method {
 public:
  std::vector<Pass> passes() const override { return {{Pass::Kind::sums}}; }
  std::size_t facts(const Tensor& /*tensor*/) const override { return 2; }
  std::size_t sums(std::size_t /*pass*/, const Tensor& /*tensor*/) const override {
    return Gram::sums(2);
  }

  void add(std::size_t /*pass*/, const Tensor& /*tensor*/, const Tile& tile, Sums& sums) override {
    const std::array<const float*, 2> vectors{tile.base, tile.models.front()};
    add_gram(vectors, sums);
  }

  void learn(std::size_t /*pass*/, const Tensor& tensor, std::span<const double> found,
             std::span<double> facts) override {
    constexpr double kLeastNorm = 1e-8;
    constexpr double kNearlyOne = 0.9995;
    const Gram gram(found);
    const double t = tensor.number(kT);
    double cosine = gram(0, 1);
    for (const std::size_t vector : {0U, 1U}) {
      if (gram.norm(vector) > kLeastNorm) cosine /= gram.norm(vector);
    }
    const bool on_line = std::abs(cosine) > kNearlyOne;
    const Pair weights = on_line ? Pair{1 - t, t} : on_circle(std::acos(cosine), t);
    facts[0] = weights.first;
    facts[1] = weights.second;
  }

  void merge(const Tensor& tensor, const Tile& tile, float* merged) override {
    const auto of_base = static_cast<float>(tensor.facts[0]);
    const auto of_model = static_cast<float>(tensor.facts[1]);
    const float* const base = tile.base;
    const float* const model = tile.models.front();
    kernel::with_vectors([=, elements = tile.elements] {
      for (std::size_t i = 0; i < elements; ++i)
        merged[i] = of_base * base[i] + of_model * model[i];
    });
  }
};

}  // namespace

Description slerp() {
  Description description;
  description.name = "slerp";
  description.about = "spherical interpolation from the base to one model (mergekit)";
  description.most_models = 1;
  description.parameters = {{.name = "t"}};
  description.make = [](const Setup&) { return std::make_unique<Slerp>(); };
  return description;
}

}  // namespace mpimerge::method
