#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "mpimerge/kernel/choose.hpp"
#include "mpimerge/kernel/uniform.hpp"

#include "method/builtin.hpp"
#include "method/rows.hpp"
#include "method/sparsify.hpp"

namespace mpimerge::method {
namespace {

// Density where Sparsifier looks for it.
enum Number : std::size_t { kProbability, kShare, kBottom, kDrop };
static_assert(kShare == static_cast<std::size_t>(SparseNumber::kDensity));

// A model whose task vector is damaged: of its largest values, or of all others, each takes the
// other sign or becomes 0 with the same probability. A value that is spared stays the model's, bit
// by bit.
class Perturb final : public Method {
 public:
  explicit Perturb(const Rules& rules)
      : seed_(rules.seed), sparsifier_(Sparsify::magnitude, rules) {}

  std::vector<Pass> passes() const override { return sparsifier_.passes(); }
  std::size_t facts(const Tensor& tensor) const override { return sparsifier_.facts(tensor); }
  std::size_t model_facts() const override { return 1; }
  std::vector<Rank> ranks(std::size_t /*pass*/, const Tensor& tensor) const override {
    return sparsifier_.ranks(tensor);
  }
  void learn(std::size_t /*pass*/, const Tensor& /*tensor*/, std::span<const double> found,
             std::span<double> facts) override {
    std::ranges::copy(found, facts.begin());
  }

  void merge(const Tensor& tensor, const Tile& tile, float* merged) override {
    const std::uint32_t threshold = sparsifier_.range(tensor, 0).low;
    const auto probability = static_cast<float>(tensor.number(kProbability));
    const bool of_largest = !tensor.flag(kBottom);
    const bool drops = tensor.flag(kDrop);
    const kernel::Uniform uniform(seed_, tensor.numbers[0], tensor.name);
    each_strip(0, tile.elements, [&](std::size_t begin, std::size_t elements) {
      uniform.fill(tile.first + begin, std::span(random_).first(elements));
      const float* const base = tile.base + begin;
      const float* const values = tile.models[0] + begin;
      for (std::size_t i = 0; i < elements; ++i) {
        const float delta = values[i] - base[i];
        const bool is_large = (std::bit_cast<std::uint32_t>(delta) & 0x7fffffffu) >= threshold;
        const bool is_hit = (is_large == of_largest) & (random_[i] < probability);
        const float hit = kernel::choose(drops, base[i], base[i] - delta);
        merged[begin + i] = kernel::choose(is_hit, hit, values[i]);
      }
    });
  }

 private:
  std::uint64_t seed_;
  Sparsifier sparsifier_;
  std::array<float, kStrip> random_{};
};

}  // namespace

Description perturb() {
  Description description;
  description.name = "perturb";
  description.about =
      "signs of a task vector flipped, or values dropped, at random (Yadav et al. 2023, 7.2)";
  description.most_models = 1;
  description.parameters = {{.name = "probability", .least = 0, .most = 1},
                            {.name = "density",
                             .of = Parameter::Of::model,
                             .fallback = 0.2,
                             .least = 0,
                             .most = 1,
                             .above_least = true},
                            {.name = "bottom", .fallback = 0, .is_flag = true},
                            {.name = "drop", .fallback = 0, .is_flag = true}};
  description.make = [](const Setup& setup) { return std::make_unique<Perturb>(setup.rules); };
  return description;
}

}  // namespace mpimerge::method
