#include <algorithm>
#include <array>
#include <cmath>

#include "mpimerge/kernel/exponential.hpp"
#include "mpimerge/kernel/vectors.hpp"

#include "method/builtin.hpp"

namespace mpimerge::method {
namespace {

// Sums are in so many lanes, whatever the processor has.
constexpr std::size_t kLanes = 16;

float largest_of(const float* values, std::size_t elements) {
  float largest = values[0];
  kernel::with_vectors([=, &largest] {
    std::array<float, kLanes> lanes;
    lanes.fill(values[0]);
    std::size_t i = 0;
    for (; i + kLanes <= elements; i += kLanes) {
      for (std::size_t lane = 0; lane < kLanes; ++lane)
        lanes[lane] = std::max(lanes[lane], values[i + lane]);
    }
    for (std::size_t lane = 0; i < elements; ++i, ++lane)
      lanes[lane] = std::max(lanes[lane], values[i]);
    largest = *std::max_element(lanes.begin(), lanes.end());
  });
  return largest;
}

// Adds `value(i)` up in lanes.
template <class Value>
double sum_of(std::size_t elements, const Value& value) {
  std::array<double, kLanes> lanes{};
  std::size_t i = 0;
  for (; i + kLanes <= elements; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += value(i + lane);
  }
  for (std::size_t lane = 0; i < elements; ++i, ++lane) lanes[lane] += value(i);
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

// exp(x − the largest x) and its sum: a row as a distribution.
double exponentials(const float* values, std::size_t elements, double* result) {
  const double largest = largest_of(values, elements);
  double sum = 0;
  kernel::with_vectors([=, &sum] {
    for (std::size_t i = 0; i < elements; ++i) result[i] = kernel::exp_of(values[i] - largest);
    sum = sum_of(elements, [=](std::size_t i) { return result[i]; });
  });
  return sum;
}

// What the model changes most: |δ| times the divergence of the row from the base's, both taken as
// distributions, is above the median by more than 1.5 times the distance of the quartiles.
class ArceeFusion final : public Method {
 public:
  Grain grain() const override { return Grain::row; }
  std::vector<Pass> passes() const override { return {{Pass::Kind::ranks}}; }
  std::size_t facts(const Tensor& /*tensor*/) const override { return 1; }

  std::vector<Rank> ranks(std::size_t /*pass*/, const Tensor& tensor) const override {
    if (tensor.elements == 0) return {};
    std::vector<Rank> list;
    for (const double quantile : {0.25, 0.5, 0.75}) {
      const double place = quantile * static_cast<double>(tensor.elements - 1);
      list.push_back({Rank::kOwn, static_cast<std::uint64_t>(place) + 1});
    }
    return list;
  }

  void magnitudes(std::size_t /*pass*/, const Tensor& tensor, const Tile& tile,
                  float* values) override {
    weigh(tensor, tile, values);
  }

  void learn(std::size_t /*pass*/, const Tensor& /*tensor*/, std::span<const double> found,
             std::span<double> facts) override {
    if (!found.empty()) facts[0] = found[1] + 1.5 * (found[2] - found[0]);
  }

  void merge(const Tensor& tensor, const Tile& tile, float* merged) override {
    const auto least = static_cast<float>(tensor.facts[0]);
    const float* const base = tile.base;
    const float* const model = tile.models.front();
    importance_.resize(tile.elements);
    weigh(tensor, tile, importance_.data());
    const float* const importance = importance_.data();
    kernel::with_vectors([=, elements = tile.elements] {
      for (std::size_t i = 0; i < elements; ++i) {
        const float delta = model[i] - base[i];
        merged[i] = base[i] + (importance[i] >= least ? delta : 0.0F);
      }
    });
  }

 private:
  void weigh(const Tensor& tensor, const Tile& tile, float* importance) {
    const auto row = static_cast<std::size_t>(tensor.row());
    for (std::size_t begin = 0; begin < tile.elements; begin += row) {
      const float* const base = tile.base + begin;
      const float* const model = tile.models.front() + begin;
      const double divergence = divergence_of(model, base, row);
      kernel::with_vectors([=, of_row = importance + begin] {
        for (std::size_t i = 0; i < row; ++i) {
          const float delta = std::abs(model[i] - base[i]);
          of_row[i] = static_cast<float>(delta * divergence);
        }
      });
    }
  }

  // Kullback-Leibler, of probabilities that are never zero.
  double divergence_of(const float* model, const float* base, std::size_t elements) {
    constexpr double kLeast = 1e-8;
    model_.resize(elements);
    base_.resize(elements);
    double* const p = model_.data();
    double* const q = base_.data();
    const double share_of_model = 1 / exponentials(model, elements, p);
    const double share_of_base = 1 / exponentials(base, elements, q);
    double sum = 0;
    kernel::with_vectors([=, &sum] {
      for (std::size_t i = 0; i < elements; ++i) {
        const double of_model = p[i] * share_of_model + kLeast;
        p[i] = of_model * kernel::log_of_quotient(of_model, q[i] * share_of_base + kLeast);
      }
      sum = sum_of(elements, [=](std::size_t i) { return p[i]; });
    });
    return std::max(sum, 0.0);
  }

  std::vector<float> importance_;
  std::vector<double> model_;
  std::vector<double> base_;
};

}  // namespace

Description arcee_fusion() {
  Description description;
  description.name = "arcee_fusion";
  description.about = "the base with what one model changes most (mergekit)";
  description.most_models = 1;
  description.make = [](const Setup&) { return std::make_unique<ArceeFusion>(); };
  return description;
}

}  // namespace mpimerge::method
