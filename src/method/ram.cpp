#include <algorithm>
#include <cmath>
#include <cstdint>

#include "mpimerge/kernel/choose.hpp"
#include "mpimerge/kernel/vectors.hpp"

#include "method/builtin.hpp"
#include "method/rows.hpp"

namespace mpimerge::method {
namespace {

using kernel::choose;
using kernel::only_if;

enum Number : std::size_t { kEpsilon, kR, kAlpha };

// How many task vectors are active at each element: those of more than ε.
void count_active(const Tensor& tensor, const Tile& tile, std::size_t begin, std::size_t elements,
                  float* active) {
  const auto epsilon = static_cast<float>(tensor.number(kEpsilon));
  const float* const base = tile.base + begin;
  std::fill_n(active, elements, 0.0F);
  for (const float* const model : tile.models) {
    const float* const values = model + begin;
    kernel::with_vectors([=] {
      for (std::size_t i = 0; i < elements; ++i)
        active[i] += only_if(std::abs(values[i] - base[i]) > epsilon, 1);
    });
  }
}

// The mean of the active values of the task vectors; with `kPlus`, what one model alone changes is
// amplified, the more of its changes it shares with others.
template <bool kPlus>
class Ram final : public Method {
 public:
  std::vector<Pass> passes() const override {
    if constexpr (kPlus) return {{Pass::Kind::sums}};
    return {};
  }
  std::size_t facts(const Tensor& tensor) const override { return kPlus ? tensor.models : 0; }
  // Of each model: active elements that others share, and others.
  std::size_t sums(std::size_t /*pass*/, const Tensor& tensor) const override {
    return 2 * tensor.models;
  }

  void add(std::size_t /*pass*/, const Tensor& tensor, const Tile& tile, Sums& sums) override {
    const auto epsilon = static_cast<float>(tensor.number(kEpsilon));
    active_.resize(tile.elements);
    count_active(tensor, tile, 0, tile.elements, active_.data());
    const float* const active = active_.data();
    const float* const base = tile.base;
    for (std::size_t model = 0; model < tensor.models; ++model) {
      const float* const values = tile.models[model];
      std::uint32_t shared = 0;
      std::uint32_t alone = 0;
      kernel::with_vectors([=, begin = sums.begin(), end = sums.end(), &shared, &alone] {
        std::uint32_t with_others = 0;
        std::uint32_t of_all = 0;
        for (std::size_t i = begin; i < end; ++i) {
          const bool is_active = std::abs(values[i] - base[i]) > epsilon;
          of_all += static_cast<std::uint32_t>(is_active);
          with_others += static_cast<std::uint32_t>(is_active & (active[i] > 1));
        }
        shared = with_others;
        alone = of_all - with_others;
      });
      sums.add_one(2 * model, shared);
      sums.add_one(2 * model + 1, alone);
    }
  }

  void learn(std::size_t /*pass*/, const Tensor& tensor, std::span<const double> found,
             std::span<double> facts) override {
    constexpr double kLeastUnique = 1e-5;
    for (std::size_t model = 0; model < tensor.models; ++model) {
      const double shared = found[2 * model] / std::max(found[2 * model + 1], kLeastUnique);
      facts[model] = 1 + tensor.number(kR) * std::clamp(shared, 0.0, tensor.number(kAlpha));
    }
  }

  void merge(const Tensor& tensor, const Tile& tile, float* merged) override {
    each_strip(0, tile.elements, [&](std::size_t begin, std::size_t elements) {
      merge_strip(tensor, tile, begin, elements, merged + begin);
    });
  }

 private:
  void merge_strip(const Tensor& tensor, const Tile& tile, std::size_t begin, std::size_t elements,
                   float* merged) {
    const auto epsilon = static_cast<float>(tensor.number(kEpsilon));
    const float* const base = tile.base + begin;
    active_.resize(std::max(active_.size(), kStrip));
    float* const active = active_.data();
    count_active(tensor, tile, begin, elements, active);
    std::fill_n(merged, elements, 0.0F);
    for (std::size_t model = 0; model < tensor.models; ++model) {
      const float* const values = tile.models[model] + begin;
      const float alone = kPlus ? static_cast<float>(tensor.facts[model]) : 1.0F;
      kernel::with_vectors([=] {
        for (std::size_t i = 0; i < elements; ++i) {
          const float delta = values[i] - base[i];
          const float value = kPlus ? delta * choose(active[i] == 1, alone, 1) : delta;
          merged[i] += only_if(std::abs(delta) > epsilon, value);
        }
      });
    }
    kernel::with_vectors([=] {
      for (std::size_t i = 0; i < elements; ++i)
        merged[i] = base[i] + merged[i] / choose(active[i] > 1, active[i], 1);
    });
  }

  std::vector<float> active_;
};

Description describe(std::string_view name, std::string_view about) {
  Description description;
  description.name = name;
  description.about = about;
  description.parameters = {{.name = "epsilon", .fallback = 1e-5, .least = 0}};
  return description;
}

}  // namespace

Description ram() {
  Description description = describe("ram", "mean of the task vectors that change (mergekit)");
  description.make = [](const Setup&) { return std::make_unique<Ram<false>>(); };
  return description;
}

Description ramplus_tl() {
  Description description =
      describe("ramplus_tl", "ram, with what one model alone changes amplified (mergekit)");
  description.parameters.push_back({.name = "r", .fallback = 0.1});
  description.parameters.push_back({.name = "alpha", .fallback = 0.2, .least = 0});
  description.make = [](const Setup&) { return std::make_unique<Ram<true>>(); };
  return description;
}

}  // namespace mpimerge::method
