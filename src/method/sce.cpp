#include <algorithm>
#include <limits>

#include "mpimerge/kernel/choose.hpp"
#include "mpimerge/kernel/rows.hpp"
#include "mpimerge/kernel/vectors.hpp"

#include "method/builtin.hpp"
#include "method/rows.hpp"

namespace mpimerge::method {
namespace {

using kernel::choose;
using kernel::only_if;

enum Number : std::size_t { kSelectTopk };
enum PassNumber : std::size_t { kCount, kSelect, kWeigh };

// Select the elements in which the models differ most, calculate weights from what the models
// change there, erase values of the minority's sign.
class Sce final : public Method {
 public:
  explicit Sce(Compat compat) : compat_(compat) {}

  std::vector<Pass> passes() const override {
    return {{Pass::Kind::sums}, {Pass::Kind::ranks}, {Pass::Kind::sums}};
  }
  // The least variance that is selected (until then, how many are not zero), then the models'
  // weights.
  std::size_t facts(const Tensor& tensor) const override { return 1 + tensor.models; }
  std::size_t sums(std::size_t pass, const Tensor& tensor) const override {
    if (pass == kCount) return selects(tensor) ? 1 : 0;
    return tensor.models;
  }

  void add(std::size_t pass, const Tensor& tensor, const Tile& tile, Sums& sums) override {
    variance_.resize(tile.elements);
    float* const variance = variance_.data();
    const bool selects_some = selects(tensor);
    if (selects_some) kernel::variances(tile.models, tile.base, tile.elements, variance);
    if (pass == kCount) {
      // Variances have one sign: how many have any.
      const std::size_t own = sums.end() - sums.begin();
      sums.add_one(0, static_cast<double>(kernel::sum_signs(variance + sums.begin(), own)));
      return;
    }
    const float least = least_variance(tensor);
    selected_.resize(tile.elements);
    float* const selected = selected_.data();
    for (std::size_t model = 0; model < tensor.models; ++model) {
      const float* const values = tile.models[model];
      kernel::with_vectors([=, base = tile.base, elements = tile.elements] {
        for (std::size_t i = 0; i < elements; ++i)
          selected[i] = only_if(!selects_some | (variance[i] >= least), values[i] - base[i]);
      });
      sums.add_products(model, selected, selected);
    }
  }

  std::vector<Rank> ranks(std::size_t /*pass*/, const Tensor& tensor) const override {
    if (!selects(tensor) || tensor.elements == 0) return {};
    const std::uint64_t selected = std::max<std::uint64_t>(selected_of(tensor), 1);
    return {{Rank::kOwn, tensor.elements - selected + 1}};
  }

  void magnitudes(std::size_t /*pass*/, const Tensor& /*tensor*/, const Tile& tile,
                  float* values) override {
    kernel::variances(tile.models, tile.base, tile.elements, values);
  }

  void learn(std::size_t pass, const Tensor& tensor, std::span<const double> found,
             std::span<double> facts) override {
    if (found.empty()) return;
    if (pass == kCount) {
      facts[0] = found[0];
    } else if (pass == kSelect) {
      // mergekit selects nothing where the share of too few elements is none.
      const bool nothing = compat_ == Compat::mergekit && selected_of(tensor) == 0;
      facts[0] = nothing ? std::numeric_limits<double>::infinity() : found[0];
    } else {
      weigh(tensor, found, facts.subspan(1));
    }
  }

  void merge(const Tensor& tensor, const Tile& tile, float* merged) override {
    rows_.make(2);
    variance_.resize(tile.elements);
    if (selects(tensor))
      kernel::variances(tile.models, tile.base, tile.elements, variance_.data());
    else
      std::ranges::fill(variance_, 0.0F);
    each_strip(0, tile.elements, [&](std::size_t begin, std::size_t elements) {
      merge_strip(tensor, tile, begin, elements, merged + begin);
    });
  }

 private:
  static bool selects(const Tensor& tensor) { return tensor.number(kSelectTopk) < 1; }

  [[nodiscard]] std::uint64_t selected_of(const Tensor& tensor) const {
    const double share = tensor.number(kSelectTopk);
    // mergekit's product is one of float32.
    if (compat_ == Compat::mergekit) {
      return static_cast<std::uint64_t>(static_cast<float>(tensor.facts[0]) *
                                        static_cast<float>(share));
    }
    return static_cast<std::uint64_t>(tensor.facts[0] * share);
  }

  static float least_variance(const Tensor& tensor) {
    return selects(tensor) ? static_cast<float>(tensor.facts[0]) : 0.0F;
  }

  void weigh(const Tensor& tensor, std::span<const double> squares,
             std::span<double> weights) const {
    // mergekit weighs alike below this; what fine-tuning changes is below it, as a rule.
    const double least = compat_ == Compat::mergekit ? 1e-6 : 0;
    const auto elements = static_cast<double>(tensor.elements);
    double sum = 0;
    for (const double square : squares) sum += square / elements;
    const bool alike = sum < least || sum == 0;
    for (std::size_t model = 0; model < tensor.models; ++model) {
      weights[model] =
          alike ? 1 / static_cast<double>(tensor.models) : squares[model] / elements / sum;
    }
  }

  void merge_strip(const Tensor& tensor, const Tile& tile, std::size_t begin, std::size_t elements,
                   float* merged) {
    constexpr float kLeastDivisor = 1e-6F;
    const float least = least_variance(tensor);
    const float* const base = tile.base + begin;
    const float* const variance = variance_.data() + begin;
    float* const sign = rows_[0];
    float* const divisor = rows_[1];
    std::fill_n(sign, elements, 0.0F);
    std::fill_n(divisor, elements, 0.0F);
    std::fill_n(merged, elements, 0.0F);
    for (const float* const model : tile.models) {
      kernel::with_vectors([=, values = model + begin] {
        for (std::size_t i = 0; i < elements; ++i) sign[i] += values[i] - base[i];
      });
    }
    kernel::with_vectors([=] {
      for (std::size_t i = 0; i < elements; ++i) sign[i] = choose(sign[i] >= 0, 1, -1);
    });
    for (std::size_t model = 0; model < tensor.models; ++model) {
      const float* const values = tile.models[model] + begin;
      const auto weight = static_cast<float>(tensor.facts[1 + model]);
      // One row at a time: with two, compilers have too many rows to tell apart for vectors.
      kernel::with_vectors([=] {
        for (std::size_t i = 0; i < elements; ++i) {
          const float delta = values[i] - base[i];
          const bool counts = (variance[i] >= least) & (sign[i] * delta > 0);
          merged[i] += only_if(counts, weight * delta);
        }
      });
      kernel::with_vectors([=] {
        for (std::size_t i = 0; i < elements; ++i) {
          const bool counts = (variance[i] >= least) & (sign[i] * (values[i] - base[i]) > 0);
          divisor[i] += only_if(counts, weight);
        }
      });
    }
    kernel::with_vectors([=] {
      for (std::size_t i = 0; i < elements; ++i)
        merged[i] =
            base[i] + merged[i] / choose(divisor[i] > kLeastDivisor, divisor[i], kLeastDivisor);
    });
  }

  Compat compat_;
  Rows rows_;
  std::vector<float> variance_;
  std::vector<float> selected_;
};

}  // namespace

Description sce() {
  Description description;
  description.name = "sce";
  description.about = "select by variance, weigh by what changed, erase (Wan et al. 2024)";
  description.parameters = {{.name = "select_topk", .fallback = 1, .least = 0, .most = 1}};
  description.make = [](const Setup& setup) { return std::make_unique<Sce>(setup.rules.compat); };
  return description;
}

}  // namespace mpimerge::method
