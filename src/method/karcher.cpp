#include <algorithm>
#include <cmath>
#include <numeric>

#include "method/builtin.hpp"
#include "method/gram.hpp"

namespace mpimerge::method {
namespace {

enum Number : std::size_t { kMaxIter, kTol };

// Σ_j G_ij c_j of some of the vectors' directions.
double cosine(const Gram& gram, const std::vector<std::size_t>& members,
              const std::vector<double>& coefficients, std::size_t which) {
  double sum = 0;
  for (std::size_t j = 0; j < members.size(); ++j) {
    sum += coefficients[j] * gram(members[which], members[j]) /
           (gram.norm(members[which]) * gram.norm(members[j]));
  }
  return std::clamp(sum, -1.0, 1.0);
}

// ‖Σ c_i û_i‖.
double length(const Gram& gram, const std::vector<std::size_t>& members,
              const std::vector<double>& coefficients) {
  double square = 0;
  for (std::size_t i = 0; i < members.size(); ++i) {
    for (std::size_t j = 0; j < members.size(); ++j) {
      square += coefficients[i] * coefficients[j] * gram(members[i], members[j]) /
                (gram.norm(members[i]) * gram.norm(members[j]));
    }
  }
  return std::sqrt(std::max(square, 0.0));
}

// The Karcher mean of directions, as coefficients of them: all its steps stay in their span.
std::vector<double> mean_direction(const Gram& gram, const std::vector<std::size_t>& members,
                                   int steps, double tolerance) {
  constexpr double kLeastSine = 1e-7;  // what rounding makes of zero, and some more
  const std::size_t count = members.size();
  const double share = 1 / static_cast<double>(count);
  std::vector<double> mean(count, share);
  const double first = length(gram, members, mean);
  if (first < tolerance) {
    std::ranges::fill(mean, 0);
    mean[0] = 1;
  } else {
    for (double& each : mean) each /= first;
  }
  for (int step = 0; step < steps; ++step) {
    std::vector<double> tangent(count, 0);
    double along = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const double c = cosine(gram, members, mean, i);
      const double angle = std::acos(c);
      // Opposite directions have no shortest way.
      if (angle < tolerance || std::sin(angle) < kLeastSine) continue;
      tangent[i] = share * angle / std::sin(angle);
      along += tangent[i] * c;
    }
    for (std::size_t i = 0; i < count; ++i) tangent[i] -= along * mean[i];
    const double size = length(gram, members, tangent);
    if (size < tolerance) break;
    for (std::size_t i = 0; i < count; ++i)
      mean[i] = std::cos(size) * mean[i] + std::sin(size) / size * tangent[i];
    const double norm = length(gram, members, mean);
    for (double& each : mean) each /= norm;
  }
  return mean;
}

// The Karcher mean of the models' directions, with the mean of their norms as its own.
class Karcher final : public Method {
 public:
  explicit Karcher(Compat compat) : compat_(compat) {}

  std::vector<Pass> passes() const override { return {{Pass::Kind::sums}}; }
  std::size_t facts(const Tensor& tensor) const override { return tensor.models; }
  std::size_t sums(std::size_t /*pass*/, const Tensor& tensor) const override {
    return Gram::sums(tensor.models);
  }

  void add(std::size_t /*pass*/, const Tensor& /*tensor*/, const Tile& tile, Sums& sums) override {
    add_gram(tile.models, sums);
  }

  void learn(std::size_t /*pass*/, const Tensor& tensor, std::span<const double> found,
             std::span<double> facts) override {
    const Gram gram(found);
    const double tolerance = tensor.number(kTol);
    const double share = 1 / static_cast<double>(tensor.models);
    std::vector<std::size_t> members;  // that have a direction
    double norm = 0;
    for (std::size_t model = 0; model < tensor.models; ++model) {
      norm += share * gram.norm(model);
      if (gram.norm(model) > tolerance) members.push_back(model);
    }
    // mergekit makes tensors of tiny values zero; their mean is as near.
    std::ranges::fill(facts, members.empty() && compat_ == Compat::paper ? share : 0);
    if (members.empty()) return;
    if (tensor.models == 1) {
      facts[0] = 1;
      return;
    }
    const std::vector<double> mean =
        mean_direction(gram, members, static_cast<int>(tensor.number(kMaxIter)), tolerance);
    for (std::size_t i = 0; i < members.size(); ++i)
      facts[members[i]] = mean[i] / gram.norm(members[i]) * norm;
  }

  void merge(const Tensor& tensor, const Tile& tile, float* merged) override {
    Tile models = tile;
    models.base = nullptr;
    combine(tensor.facts, models, 0, tile.elements, merged);
  }

 private:
  Compat compat_;
};

}  // namespace

Description karcher() {
  Description description;
  description.name = "karcher";
  description.about = "Karcher mean of the models' directions, mean norm (mergekit)";
  description.base = Base::unused;
  description.parameters = {{.name = "max_iter", .fallback = 10, .least = 0, .most = 1000},
                            {.name = "tol", .fallback = 1e-5, .least = 0, .above_least = true}};
  description.make = [](const Setup& setup) {
    return std::make_unique<Karcher>(setup.rules.compat);
  };
  return description;
}

}  // namespace mpimerge::method
