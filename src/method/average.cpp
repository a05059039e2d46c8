#include "mpimerge/kernel/vectors.hpp"

#include "method/builtin.hpp"
#include "method/rows.hpp"

namespace mpimerge::method {
namespace {

enum Number : std::size_t { kWeight };

// Of w_t θ_t: the sum in job order, in float32, divided once by Σ w_t; or the sum itself, the lower
// median, the one of largest magnitude.
class Average final : public Method {
 public:
  explicit Average(Aggregate aggregate) : aggregate_(aggregate) {}

  void merge(const Tensor& tensor, const Tile& tile, float* merged) override {
    switch (aggregate_) {
      case Aggregate::median:
      case Aggregate::magnitude:
      case Aggregate::disjoint_max: pick(tensor, tile, merged); break;
      default: add_up(tensor, tile, merged);
    }
  }

 private:
  void add_up(const Tensor& tensor, const Tile& tile, float* merged) const {
    std::fill_n(merged, tile.elements, 0.0F);
    float weights = 0;
    for (std::size_t model = 0; model < tensor.models; ++model) {
      const auto weight = static_cast<float>(tensor.number(kWeight, model));
      const float* const values = tile.models[model];
      weights += weight;
      kernel::with_vectors([=, elements = tile.elements] {
        for (std::size_t i = 0; i < elements; ++i) merged[i] += weight * values[i];
      });
    }
    if (aggregate_ == Aggregate::sum || aggregate_ == Aggregate::disjoint_sum) return;
    kernel::with_vectors([=, elements = tile.elements] {
      for (std::size_t i = 0; i < elements; ++i) merged[i] /= weights;
    });
  }

  void pick(const Tensor& tensor, const Tile& tile, float* merged) {
    rows_.make(tensor.models);
    each_strip(0, tile.elements, [&](std::size_t begin, std::size_t elements) {
      for (std::size_t model = 0; model < tensor.models; ++model) {
        const auto weight = static_cast<float>(tensor.number(kWeight, model));
        const float* const values = tile.models[model] + begin;
        float* const row = rows_[model];
        kernel::with_vectors([=] {
          for (std::size_t i = 0; i < elements; ++i) row[i] = weight * values[i];
        });
      }
      const std::span<float* const> rows = rows_.first(tensor.models);
      if (aggregate_ == Aggregate::median)
        median_of_rows(rows, elements, merged + begin);
      else
        largest_of_rows(rows, elements, merged + begin);
    });
  }

  Aggregate aggregate_;
  Rows rows_;
};

}  // namespace

Description average() {
  Description description;
  description.name = "average";
  description.about = "mean of the models, or their median or largest value (model soups)";
  description.base = Base::unused;
  description.parameters = {{.name = "weight", .of = Parameter::Of::model, .fallback = 1}};
  description.divides_by_weights = [](const Rules& rules, std::span<const double>) {
    return rules.aggregate == Aggregate::mean;
  };
  description.make = [](const Setup& setup) {
    return std::make_unique<Average>(setup.rules.aggregate);
  };
  return description;
}

}  // namespace mpimerge::method
