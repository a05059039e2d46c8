#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/kernel/vectors.hpp"

#include "method/builtin.hpp"

namespace mpimerge::method {
namespace {

enum Number : std::size_t { kWeight, kReduceNondiag };

using Matrix = Eigen::MatrixXd;

// Rows are solved for in panels that begin at multiples of this, always of this width: a row's bits
// then depend neither on how many others come with it nor on their values.
constexpr std::uint64_t kPanel = 32;

// RegMean: each linear layer becomes the one whose outputs differ least, in squares, from those of
// the models on their own data, of which the Gram matrices G_t = XᵀX tell all that is needed:
//     W = (Σ w_t W_t G̃_t) (Σ w_t G̃_t)⁻¹,
// G̃ with its off-diagonal entries reduced. What has no Gram matrices is averaged. All in float64.
// Source: Jin et al., Dataless Knowledge Fusion, ICLR 2023, section 3.
class RegMean final : public Method {
 public:
  explicit RegMean(Files* files) : files_(files) {}

  [[nodiscard]] Grain grain() const override { return Grain::row; }

  void merge(const Tensor& tensor, const Tile& tile, float* merged) override {
    if (tensor.name != name_) prepare(tensor);
    if (grams_.empty())
      average(tensor, tile, merged);
    else
      solve(tensor, tile, merged);
  }

 private:
  static double weight_of(const Tensor& tensor, std::size_t model) {
    return tensor.number(kWeight, model);
  }

  void average(const Tensor& tensor, const Tile& tile, float* merged) {
    sums_.assign(tile.elements, 0);
    double weights = 0;
    for (std::size_t model = 0; model < tensor.models; ++model) {
      const double weight = weight_of(tensor, model);
      weights += weight;
      kernel::with_vectors(
          [=, sums = sums_.data(), values = tile.models[model], elements = tile.elements] {
            for (std::size_t i = 0; i < elements; ++i)
              sums[i] += weight * static_cast<double>(values[i]);
          });
    }
    kernel::with_vectors([=, sums = sums_.data(), elements = tile.elements] {
      for (std::size_t i = 0; i < elements; ++i) merged[i] = static_cast<float>(sums[i] / weights);
    });
  }

  // Reads the Gram matrices of a tensor, if it has them, and factors their sum.
  void prepare(const Tensor& tensor) {
    name_ = tensor.name;
    grams_.clear();
    unseen_.clear();
    if (tensor.shape.size() != 2) return;
    std::size_t found = 0;
    for (std::size_t model = 0; model < tensor.models; ++model)
      found += has_gram(tensor, model) ? 1U : 0U;
    if (found == 0) return;
    if (found < tensor.models) {
      throw base::Error(
          base::ErrorKind::input,
          fmt::format("tensor `{}`: {} of {} models have a Gram matrix of it; expected all or none",
                      base::printable(tensor.name), found, tensor.models));
    }
    const auto inputs = static_cast<Eigen::Index>(tensor.shape[1]);
    Matrix sum = Matrix::Zero(inputs, inputs);
    std::vector<float> values(tensor.shape[1] * tensor.shape[1]);
    for (std::size_t model = 0; model < tensor.models; ++model) {
      files_->read(tensor.numbers[model], tensor.name, 0, values);
      grams_.push_back(gram_of(tensor, model, values));
      sum += grams_.back();
    }
    // Inputs that no model has seen carry no information: they keep the models' mean.
    for (Eigen::Index input = 0; input < inputs; ++input) {
      if (sum(input, input) != 0) continue;
      unseen_.push_back(static_cast<std::size_t>(input));
      sum(input, input) = 1;
    }
    factor_.compute(sum);
    if (factor_.info() != Eigen::Success) {
      throw base::Error(
          base::ErrorKind::input,
          fmt::format(
              "tensor `{}`: the sum of its Gram matrices is not positive definite; expected "
              "more data behind them, or a smaller reduce_nondiag (it is {})",
              base::printable(tensor.name), tensor.number(kReduceNondiag)));
    }
  }

  bool has_gram(const Tensor& tensor, std::size_t model) {
    const auto shape = files_->shape(tensor.numbers[model], tensor.name);
    if (!shape) return false;
    if (*shape == std::vector<std::uint64_t>{tensor.shape[1], tensor.shape[1]}) return true;
    throw base::Error(
        base::ErrorKind::input,
        fmt::format("tensor `{}`: the Gram matrix of model {} has shape [{}]; expected [{}, {}]",
                    base::printable(tensor.name), tensor.numbers[model] + 1,
                    fmt::join(*shape, ", "), tensor.shape[1], tensor.shape[1]));
  }

  static Matrix gram_of(const Tensor& tensor, std::size_t model, const std::vector<float>& values) {
    const auto inputs = static_cast<Eigen::Index>(tensor.shape[1]);
    using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    Matrix gram = Eigen::Map<const RowMajor>(values.data(), inputs, inputs).cast<double>();
    const Eigen::VectorXd diagonal = gram.diagonal();
    gram *= tensor.number(kReduceNondiag);
    gram.diagonal() = diagonal;
    gram *= weight_of(tensor, model);
    return gram;
  }

  void solve(const Tensor& tensor, const Tile& tile, float* merged) {
    average(tensor, tile, merged);  // what unseen inputs keep
    const std::uint64_t row = tensor.row();
    const auto inputs = static_cast<Eigen::Index>(row);
    const std::uint64_t first = tile.first / row;
    const std::uint64_t last = first + tile.elements / row;
    for (std::uint64_t panel = first / kPanel * kPanel; panel < last; panel += kPanel) {
      Matrix sides = Matrix::Zero(inputs, kPanel);
      const std::uint64_t begin = std::max(panel, first);
      const std::uint64_t end = std::min(panel + kPanel, last);
      for (std::size_t model = 0; model < tensor.models; ++model) {
        Matrix weights = Matrix::Zero(inputs, kPanel);
        for (std::uint64_t each = begin; each < end; ++each) {
          weights.col(static_cast<Eigen::Index>(each - panel)) =
              Eigen::Map<const Eigen::VectorXf>(tile.models[model] + (each - first) * row, inputs)
                  .cast<double>();
        }
        sides.noalias() += grams_[model] * weights;
      }
      factor_.solveInPlace(sides);
      for (std::uint64_t each = begin; each < end; ++each) {
        float* const to = merged + (each - first) * row;
        std::vector<float> kept;
        for (const std::size_t input : unseen_) kept.push_back(to[input]);
        for (std::uint64_t input = 0; input < row; ++input) {
          to[input] = static_cast<float>(
              sides(static_cast<Eigen::Index>(input), static_cast<Eigen::Index>(each - panel)));
        }
        for (std::size_t i = 0; i < kept.size(); ++i) to[unseen_[i]] = kept[i];
      }
    }
  }

  Files* files_;
  std::string name_;  // of the tensor in hand
  std::vector<Matrix> grams_;
  std::vector<std::size_t> unseen_;
  Eigen::LLT<Matrix> factor_;
  std::vector<double> sums_;
};

}  // namespace

Description regmean() {
  Description description;
  description.name = "regmean";
  description.about = "linear layers by regression on the models' inputs (Jin et al. 2023)";
  description.base = Base::unused;
  description.parameters = {{.name = "weight", .of = Parameter::Of::model, .fallback = 1},
                            {.name = "reduce_nondiag", .fallback = 0.9, .least = 0, .most = 1}};
  description.files = "gram";
  description.files_are_whole = true;
  description.divides_by_weights = [](const Rules&, std::span<const double>) { return true; };
  description.make = [](const Setup& setup) { return std::make_unique<RegMean>(setup.files); };
  return description;
}

}  // namespace mpimerge::method
