#include <algorithm>
#include <cmath>

#include "method/builtin.hpp"
#include "method/gram.hpp"

namespace mpimerge::method {
namespace {

enum Number : std::size_t { kFilterWise };

// How far the mean of the models is trusted: N c / (1 + (N − 1) c), of the mean cosine c of all
// pairs of task vectors.
double share_of_mean(const Gram& gram, std::size_t models) {
  constexpr double kLeastNorms = 1e-6;
  if (models < 2) return 1;
  double sum = 0;
  for (std::size_t a = 0; a < models; ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      const double norms = std::max(gram.norm(a) * gram.norm(b), kLeastNorms);
      sum += std::clamp(gram(a, b) / norms, -1.0, 1.0);
    }
  }
  const auto count = static_cast<double>(models);
  const double cosine = sum / (count * (count - 1) / 2);
  return count * cosine / (1 + (count - 1) * cosine);
}

// Between the base and the mean of the models, by the angles between task vectors.
class ModelStock final : public Method {
 public:
  explicit ModelStock(const Setup& setup) : may_need_rows_(setup.may_be("filter_wise", true)) {}

  Grain grain() const override { return may_need_rows_ ? Grain::row : Grain::element; }
  std::vector<Pass> passes() const override { return {{Pass::Kind::sums}}; }
  std::size_t facts(const Tensor& tensor) const override {
    return tensor.flag(kFilterWise) ? 0 : 1;
  }
  std::size_t sums(std::size_t /*pass*/, const Tensor& tensor) const override {
    return tensor.flag(kFilterWise) ? 0 : Gram::sums(tensor.models);
  }

  void add(std::size_t /*pass*/, const Tensor& /*tensor*/, const Tile& tile, Sums& sums) override {
    add_gram(vectors_.differences(tile), sums);
  }

  void learn(std::size_t /*pass*/, const Tensor& tensor, std::span<const double> found,
             std::span<double> facts) override {
    if (!found.empty()) facts[0] = share_of_mean(Gram(found), tensor.models);
  }

  void merge(const Tensor& tensor, const Tile& tile, float* merged) override {
    if (!tensor.flag(kFilterWise))
      return merge_part(tensor.facts[0], tile, 0, tile.elements, merged);
    const std::span<const float* const> deltas = vectors_.differences(tile);
    const auto row = static_cast<std::size_t>(tensor.row());
    products_.resize(Gram::sums(tensor.models));
    for (std::size_t begin = 0; begin < tile.elements; begin += row) {
      gram_of_row(deltas, begin, row, products_);
      merge_part(share_of_mean(Gram(products_), tensor.models), tile, begin, row, merged + begin);
    }
  }

 private:
  static void merge_part(double share, const Tile& tile, std::size_t begin, std::size_t elements,
                         float* merged) {
    const auto of_mean = static_cast<float>(share);
    const auto of_base = static_cast<float>(1 - share);
    const auto models = static_cast<float>(tile.models.size());
    const float* const base = tile.base + begin;
    std::fill_n(merged, elements, 0.0F);
    for (const float* const model : tile.models) {
      const float* const values = model + begin;
      for (std::size_t i = 0; i < elements; ++i) merged[i] += values[i];
    }
    for (std::size_t i = 0; i < elements; ++i)
      merged[i] = of_mean * (merged[i] / models) + of_base * base[i];
  }

  bool may_need_rows_;
  TileVectors vectors_;
  std::vector<double> products_;
};

}  // namespace

Description model_stock() {
  Description description;
  description.name = "model_stock";
  description.about = "between base and mean, by the models' angles (Jang et al. 2024)";
  description.fewest_models = 2;
  description.parameters = {{.name = "filter_wise", .fallback = 0, .is_flag = true}};
  description.make = [](const Setup& setup) { return std::make_unique<ModelStock>(setup); };
  return description;
}

}  // namespace mpimerge::method
