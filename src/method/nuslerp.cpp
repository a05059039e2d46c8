#include <algorithm>
#include <array>
#include <cmath>

#include "method/builtin.hpp"
#include "method/gram.hpp"

namespace mpimerge::method {
namespace {

enum Number : std::size_t { kWeight, kFlatten, kRowWise };

// What is one vector. Nothing: a model that has the tensor alone keeps it as it is.
enum class Over : std::uint8_t { nothing, tensor, rows, columns };

Pair weights_of(const Gram& gram, double t) {
  constexpr double kLeastNorm = 1e-7;
  constexpr double kLeastSine = 1e-7;  // what rounding makes of zero, and some more
  const double norms = std::max(gram.norm(0), kLeastNorm) * std::max(gram.norm(1), kLeastNorm);
  const double angle = std::acos(std::clamp(gram(0, 1) / norms, -1.0, 1.0));
  // Neither for equal directions nor for opposite ones there is one great circle.
  if (std::abs(std::sin(angle)) < kLeastSine) return {1 - t, t};
  return on_circle(angle, t);
}

// From one model to the other along the great circle of their directions, or of their task vectors.
class Nuslerp final : public Method {
 public:
  explicit Nuslerp(const Setup& setup)
      // mergekit's flag means the opposite of its name.
      : rows_flag_(setup.rules.compat == Compat::paper),
        may_need_rows_(setup.may_be("nuslerp_flatten", false) &&
                       setup.may_be("nuslerp_row_wise", rows_flag_)) {}

  Grain grain() const override { return may_need_rows_ ? Grain::row : Grain::element; }
  std::vector<Pass> passes() const override { return {{Pass::Kind::sums}}; }

  // Two weights for each vector.
  std::size_t facts(const Tensor& tensor) const override { return 2 * vectors(tensor); }
  std::size_t sums(std::size_t /*pass*/, const Tensor& tensor) const override {
    return Gram::sums(2) * vectors(tensor);
  }

  void add(std::size_t /*pass*/, const Tensor& tensor, const Tile& tile, Sums& sums) override {
    const std::span<const float* const> pair = tile_vectors_.vectors(tile);
    if (over(tensor) == Over::tensor) return add_gram(pair, sums);
    const std::size_t columns = vectors(tensor);
    for (std::size_t i = sums.begin(); i < sums.end(); ++i) {
      const std::size_t first = Gram::sums(2) * ((tile.first + i) % columns);
      const double a = pair[0][i];
      const double b = pair[1][i];
      sums.add_one(first + Gram::place(0, 0), a * a);
      sums.add_one(first + Gram::place(1, 0), a * b);
      sums.add_one(first + Gram::place(1, 1), b * b);
    }
  }

  void learn(std::size_t /*pass*/, const Tensor& tensor, std::span<const double> found,
             std::span<double> facts) override {
    for (std::size_t vector = 0; Gram::sums(2) * vector < found.size(); ++vector) {
      const Gram gram(found.subspan(Gram::sums(2) * vector, Gram::sums(2)));
      const Pair weights = weights_of(gram, share(tensor));
      facts[2 * vector] = weights.first;
      facts[2 * vector + 1] = weights.second;
    }
  }

  void merge(const Tensor& tensor, const Tile& tile, float* merged) override {
    switch (over(tensor)) {
      case Over::nothing: std::copy_n(tile.models.front(), tile.elements, merged); break;
      case Over::tensor: combine(tensor.facts, tile, 0, tile.elements, merged); break;
      case Over::rows: merge_rows(tensor, tile, merged); break;
      case Over::columns: merge_columns(tensor, tile, merged); break;
    }
  }

 private:
  [[nodiscard]] Over over(const Tensor& tensor) const {
    if (tensor.models < 2) return Over::nothing;
    if (tensor.flag(kFlatten)) return Over::tensor;
    return tensor.flag(kRowWise) == rows_flag_ ? Over::rows : Over::columns;
  }

  // Of the tensor's vectors those whose weights have to be known before the merge.
  [[nodiscard]] std::size_t vectors(const Tensor& tensor) const {
    switch (over(tensor)) {
      case Over::tensor: return 1;
      case Over::nothing:
      case Over::rows: return 0;
      case Over::columns: break;
    }
    const std::uint64_t rows = tensor.shape.empty() ? 1 : tensor.shape.front();
    return static_cast<std::size_t>(rows == 0 ? 0 : tensor.elements / rows);
  }

  // Of the second model.
  static double share(const Tensor& tensor) {
    constexpr double kLeastSum = 1e-6;
    const double sum = tensor.number(kWeight, 0) + tensor.number(kWeight, 1);
    return std::abs(sum) < kLeastSum ? 0.5 : tensor.number(kWeight, 1) / sum;
  }

  void merge_rows(const Tensor& tensor, const Tile& tile, float* merged) {
    const std::span<const float* const> pair = tile_vectors_.vectors(tile);
    const auto row = static_cast<std::size_t>(tensor.row());
    std::array<double, Gram::sums(2)> products{};
    for (std::size_t begin = 0; begin < tile.elements; begin += row) {
      gram_of_row(pair, begin, row, products);
      const Pair weights = weights_of(Gram(products), share(tensor));
      combine(std::array{weights.first, weights.second}, tile, begin, row, merged + begin);
    }
  }

  void merge_columns(const Tensor& tensor, const Tile& tile, float* merged) {
    const std::span<const float* const> pair = tile_vectors_.vectors(tile);
    const std::size_t columns = vectors(tensor);
    const double* const weights = tensor.facts.data();
    for (std::size_t begin = 0; begin < tile.elements;) {
      const auto column = static_cast<std::size_t>((tile.first + begin) % columns);
      const std::size_t end = std::min(tile.elements, begin + columns - column);
      const double* const first = weights + 2 * column;
      for (std::size_t i = begin; i < end; ++i) {
        const auto of_first = static_cast<float>(first[2 * (i - begin)]);
        const auto of_second = static_cast<float>(first[2 * (i - begin) + 1]);
        merged[i] = of_first * pair[0][i] + of_second * pair[1][i];
      }
      begin = end;
    }
    if (tile.base == nullptr) return;
    for (std::size_t i = 0; i < tile.elements; ++i) merged[i] += tile.base[i];
  }

  bool rows_flag_;
  bool may_need_rows_;
  TileVectors tile_vectors_;
};

}  // namespace

Description nuslerp() {
  Description description;
  description.name = "nuslerp";
  description.about = "spherical interpolation of two models or task vectors (mergekit)";
  description.base = Base::optional;
  description.fewest_models = 2;
  description.most_models = 2;
  description.parameters = {{.name = "weight", .of = Parameter::Of::model},
                            {.name = "nuslerp_flatten", .fallback = 1, .is_flag = true},
                            {.name = "nuslerp_row_wise", .fallback = 0, .is_flag = true}};
  description.make = [](const Setup& setup) { return std::make_unique<Nuslerp>(setup); };
  return description;
}

}  // namespace mpimerge::method
