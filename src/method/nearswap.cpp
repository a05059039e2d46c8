#include <algorithm>
#include <cmath>

#include "mpimerge/kernel/vectors.hpp"

#include "method/builtin.hpp"

namespace mpimerge::method {
namespace {

enum Number : std::size_t { kT };

// w b + (1 − w) a, where w = t / |a − b|, at most 1: where the models are near, the second one's.
class Nearswap final : public Method {
 public:
  void merge(const Tensor& tensor, const Tile& tile, float* merged) override {
    constexpr float kLeastDistance = 1e-6F;
    const auto t = static_cast<float>(tensor.number(kT));
    const float* const base = tile.base;
    const float* const model = tile.models.front();
    kernel::with_vectors([=, elements = tile.elements] {
      for (std::size_t i = 0; i < elements; ++i) {
        const float ratio = t / std::max(std::abs(base[i] - model[i]), kLeastDistance);
        const float share = std::min(std::max(ratio, 0.0F), 1.0F);
        merged[i] = share * model[i] + (1.0F - share) * base[i];
      }
    });
  }
};

}  // namespace

Description nearswap() {
  Description description;
  description.name = "nearswap";
  description.about = "the base, moved to one model where they differ little (mergekit)";
  description.most_models = 1;
  description.parameters = {{.name = "t"}};
  description.make = [](const Setup&) { return std::make_unique<Nearswap>(); };
  return description;
}

}  // namespace mpimerge::method
