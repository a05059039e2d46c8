#include "mpimerge/kernel/ties.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "mpimerge/kernel/rows.hpp"

#include "method/builtin.hpp"
#include "method/elect.hpp"
#include "method/rows.hpp"
#include "method/sparsify.hpp"

namespace mpimerge::method {
namespace {

kernel::Disjoint disjoint_of(Aggregate aggregate) {
  switch (aggregate) {
    case Aggregate::disjoint_sum: return kernel::Disjoint::sum;
    case Aggregate::disjoint_max: return kernel::Disjoint::max;
    default: return kernel::Disjoint::mean;
  }
}

// Sparse task vectors, elected signs, disjoint merge: θ_0 + λ·aggregate(w_t δ̂_t). All sums over
// models are from left to right in job order, in float32, as in the published code.
class SparseTaskVectors final : public Method {
 public:
  SparseTaskVectors(Sparsify sparsify, bool elects, const Setup& setup)
      : sparsify_(sparsify),
        rules_(setup.rules),
        models_(setup.models),
        sparsifier_(sparsify, setup.rules) {
    if (!elects) rules_.elect = Elect::none;
    if (!elects && rules_.aggregate == Aggregate::disjoint_mean) rules_.aggregate = Aggregate::mean;
    for (const Pass pass : sparsifier_.passes()) looks_.push_back({pass.kind, Look::thresholds});
    if (rules_.rescale == Rescale::l1 && setup.may_be("rescale", true))
      looks_.push_back({Pass::Kind::sums, Look::l1});
    if (needs_norms()) looks_.push_back({Pass::Kind::model_sums, Look::norms});
    if (needs_majority()) looks_.push_back({Pass::Kind::model_sums, Look::majority});
  }

  Grain grain() const override {
    return sparsify_ == Sparsify::by_rank ? Grain::row : Grain::element;
  }
  std::vector<Pass> passes() const override {
    std::vector<Pass> list;
    for (const Look& look : looks_) list.push_back({look.kind});
    return list;
  }
  // Thresholds, then the scale of each model.
  std::size_t facts(const Tensor& tensor) const override {
    return sparsifier_.facts(tensor) + tensor.models;
  }
  // Thresholds and squared norms of all models, then the sign that ties take.
  std::size_t model_facts() const override { return 2 * models_ + 1; }

  std::size_t sums(std::size_t pass, const Tensor& tensor) const override {
    switch (looks_[pass].what) {
      case Look::l1: return Sparsifier::rescales(tensor) ? 2 * tensor.models : 0;
      case Look::norms: return models_;
      default: return 1;
    }
  }

  void add(std::size_t pass, const Tensor& tensor, const Tile& tile, Sums& sums) override {
    sparsifier_.look_at_rows(tensor, tile);
    tile_row_.resize(tile.elements);
    switch (looks_[pass].what) {
      case Look::l1: add_l1(tensor, tile, sums); break;
      case Look::norms: add_norms(tensor, tile, sums); break;
      default: add_signs(tensor, tile, sums);
    }
  }

  std::vector<Rank> ranks(std::size_t /*pass*/, const Tensor& tensor) const override {
    return sparsifier_.ranks(tensor);
  }

  void learn(std::size_t pass, const Tensor& tensor, std::span<const double> found,
             std::span<double> facts) override {
    switch (looks_[pass].what) {
      case Look::thresholds: std::ranges::copy(found, facts.begin()); break;
      case Look::norms:
        std::ranges::copy(found, facts.begin() + static_cast<std::ptrdiff_t>(models_));
        break;
      case Look::majority:
        facts[2 * models_] = (found[0] > 0 ? 1 : 0) - (found[0] < 0 ? 1 : 0);
        break;
      case Look::l1: {
        constexpr double kLeastSum = 1e-7;
        const std::size_t scales = sparsifier_.facts(tensor);
        for (std::size_t model = 0; 2 * model < found.size(); ++model) {
          const double all = found[2 * model];
          const double kept = found[2 * model + 1];
          facts[scales + model] = all < kLeastSum || kept < kLeastSum ? 1 : all / kept;
        }
      }
    }
  }

  void merge(const Tensor& tensor, const Tile& tile, float* merged) override {
    const auto lambda = static_cast<float>(tensor.number(kLambda));
    const Aggregate rule = aggregate_of(tensor);
    if (is_plain(tensor)) return merge_plain(tensor, tile, merged);
    sparsifier_.look_at_rows(tensor, tile);
    each_strip(0, tile.elements, [&](std::size_t begin, std::size_t elements) {
      const std::span<float* const> rows = load(tensor, tile, begin, elements);
      const float* signs = nullptr;
      if (rules_.elect != Elect::none) {
        elect_signs(tensor, tile, begin, elements, rows, tie_of(tensor));
        signs = signs_.data();
      }
      aggregate(rule, rows, weights_, signs, elements, scratch_.data(), merged + begin);
      // NaN has no sign: it is kept wherever it is.
      kernel::apply(tile.base + begin, lambda, sum_.data(), elements, merged + begin);
    });
  }

 private:
  struct Look {
    enum What : std::uint8_t { thresholds, l1, norms, majority };
    Pass::Kind kind;
    What what;
  };

  [[nodiscard]] bool needs_norms() const {
    return rules_.elect == Elect::normfrac || rules_.elect == Elect::normmass;
  }
  [[nodiscard]] bool needs_majority() const {
    return rules_.sign_tie == SignTie::majority && rules_.elect != Elect::none &&
           rules_.elect != Elect::given;
  }

  [[nodiscard]] Aggregate aggregate_of(const Tensor& tensor) const {
    if (tensor.flag(kNormalize)) return rules_.aggregate;
    if (rules_.aggregate == Aggregate::disjoint_mean) return Aggregate::disjoint_sum;
    if (rules_.aggregate == Aggregate::mean) return Aggregate::sum;
    return rules_.aggregate;
  }

  // Whether the kernel of the paper's TIES knows all that is asked for: the same bits, sooner.
  [[nodiscard]] bool is_plain(const Tensor& tensor) const {
    const bool is_disjoint = rules_.aggregate == Aggregate::disjoint_mean ||
                             rules_.aggregate == Aggregate::disjoint_sum ||
                             rules_.aggregate == Aggregate::disjoint_max;
    return is_disjoint && elects_plainly(tensor);
  }
  // The same of the signs alone.
  [[nodiscard]] bool elects_plainly(const Tensor& tensor) const {
    return sparsify_ == Sparsify::magnitude && rules_.elect == Elect::mass &&
           !Sparsifier::rescales(tensor);
  }

  // What that kernel is given of the models of a tile, from `begin` on.
  void load_plain(const Tensor& tensor, const Tile& tile, std::size_t begin) {
    plain_.clear();
    for (std::size_t model = 0; model < tensor.models; ++model) {
      plain_.push_back({.values = reinterpret_cast<const std::byte*>(tile.models[model] + begin),
                        .threshold = sparsifier_.range(tensor, model).low,
                        .weight = static_cast<float>(tensor.number(kWeight, model))});
    }
    if (tile.elements > plain_elements_) {
      plain_elements_ = tile.elements;
      plain_scratch_ = kernel::TiesScratch(tile.elements);
    }
  }

  void merge_plain(const Tensor& tensor, const Tile& tile, float* merged) {
    kernel::TiesRule rule;
    rule.disjoint = disjoint_of(aggregate_of(tensor));
    rule.cancelled_sign = static_cast<int>(tie_of(tensor));
    rule.lambda = static_cast<float>(tensor.number(kLambda));
    rule.may_have_nan = true;
    load_plain(tensor, tile, 0);
    kernel::merge_tile(rule, base::Dtype::f32, std::as_bytes(std::span(tile.base, tile.elements)),
                       plain_, plain_scratch_, std::span(merged, tile.elements));
  }

  [[nodiscard]] float scale(const Tensor& tensor, std::size_t model) const {
    if (rules_.rescale == Rescale::density) return sparsifier_.density_scale(tensor, model);
    if (!Sparsifier::rescales(tensor)) return 1;
    return static_cast<float>(tensor.facts[sparsifier_.facts(tensor) + model]);
  }

  // A strip of all models, weighted, and its sum.
  std::span<float* const> load(const Tensor& tensor, const Tile& tile, std::size_t begin,
                               std::size_t elements) {
    rows_.make(tensor.models);
    weights_.resize(tensor.models);
    for (std::size_t model = 0; model < tensor.models; ++model) {
      weights_[model] = static_cast<float>(tensor.number(kWeight, model));
      sparsifier_.keep(tensor, tile, model, scale(tensor, model), weights_[model], begin, elements,
                       rows_[model]);
    }
    const std::span<float* const> rows = rows_.first(tensor.models);
    sum_rows(rows, elements, sum_.data());
    return rows;
  }

  void elect_signs(const Tensor& tensor, const Tile& tile, std::size_t begin, std::size_t elements,
                   std::span<float* const> rows, float tie) {
    if (needs_norms()) {
      norms_.resize(tensor.models);
      for (std::size_t model = 0; model < tensor.models; ++model) {
        // As published: the norm is rounded before it is squared.
        const auto norm =
            static_cast<float>(std::sqrt(tensor.model_facts[models_ + tensor.numbers[model]]));
        norms_[model] = norm * norm;
      }
    }
    const Ballot ballot{.rows = rows,
                        .elements = elements,
                        .sum = sum_.data(),
                        .norms = norms_,
                        .given = tile.signs == nullptr ? nullptr : tile.signs + begin,
                        .base = tile.base + begin,
                        .scratch = scratch_.data()};
    elect(rules_.elect, ballot, tie, signs_.data());
  }

  // Given signs stay as they are.
  [[nodiscard]] float tie_of(const Tensor& tensor) const {
    if (rules_.elect == Elect::given) return 0;
    return needs_majority() ? static_cast<float>(tensor.model_facts[2 * models_]) : 1;
  }

  void add_l1(const Tensor& tensor, const Tile& tile, Sums& sums) {
    for (std::size_t model = 0; model < tensor.models; ++model) {
      sparsifier_.keep(tensor, tile, model, 1, 1, sums.begin(), sums.end() - sums.begin(),
                       tile_row_.data() + sums.begin());
      sums.add_distances(2 * model, tile.models[model], tile.base);
      sums.add_magnitudes(2 * model + 1, tile_row_.data());
    }
  }

  void add_norms(const Tensor& tensor, const Tile& tile, Sums& sums) {
    for (std::size_t model = 0; model < tensor.models; ++model) {
      sparsifier_.keep(tensor, tile, model, scale(tensor, model),
                       static_cast<float>(tensor.number(kWeight, model)), sums.begin(),
                       sums.end() - sums.begin(), tile_row_.data() + sums.begin());
      sums.add_products(tensor.numbers[model], tile_row_.data(), tile_row_.data());
    }
  }

  // How many more signs are positive than negative: exact, however it is added up.
  void add_signs(const Tensor& tensor, const Tile& tile, Sums& sums) {
    std::int64_t difference = 0;
    if (elects_plainly(tensor)) {
      load_plain(tensor, tile, sums.begin());
      const std::span<const float> base(tile.base + sums.begin(), sums.end() - sums.begin());
      difference =
          kernel::count_signs(base::Dtype::f32, std::as_bytes(base), plain_, plain_scratch_);
    } else {
      each_strip(sums.begin(), sums.end(), [&](std::size_t begin, std::size_t elements) {
        const std::span<float* const> rows = load(tensor, tile, begin, elements);
        elect_signs(tensor, tile, begin, elements, rows, 0);
        difference += kernel::sum_signs(signs_.data(), elements);
      });
    }
    sums.add_one(0, static_cast<double>(difference));
  }

  Sparsify sparsify_;
  Rules rules_;
  std::size_t models_;
  Sparsifier sparsifier_;
  std::vector<Look> looks_;
  Rows rows_;
  std::vector<float> weights_;
  std::vector<float> norms_;
  std::vector<float> tile_row_;
  std::vector<kernel::TiesTask> plain_;
  std::size_t plain_elements_ = 0;
  kernel::TiesScratch plain_scratch_{0};
  std::array<float, kStrip> sum_{};
  std::array<float, kStrip> signs_{};
  std::array<float, kStrip> scratch_{};
};

struct Defaults {
  double density;
  bool normalize;
  bool rescale;
};

Description describe(std::string_view name, std::string_view about, Sparsify sparsify, bool elects,
                     const Defaults& defaults) {
  Description description;
  description.name = name;
  description.about = about;
  const bool keeps_some = sparsify == Sparsify::magnitude || sparsify == Sparsify::outliers;
  description.parameters = {
      {.name = "weight", .of = Parameter::Of::model, .fallback = 1},
      {.name = "density",
       .of = Parameter::Of::model,
       .fallback = defaults.density,
       .least = 0,
       .most = 1,
       .above_least = keeps_some,
       .mergekit_fallback = 1},
      {.name = "lambda", .fallback = 1},
      {.name = "normalize", .fallback = defaults.normalize ? 1 : 0, .is_flag = true},
      {.name = "rescale", .fallback = defaults.rescale ? 1 : 0, .is_flag = true}};
  if (sparsify == Sparsify::outliers) {
    description.parameters.push_back(
        {.name = "gamma", .of = Parameter::Of::model, .fallback = 0.01, .least = 0, .most = 1});
  }
  if (sparsify == Sparsify::by_rank) {
    description.parameters.push_back(
        {.name = "epsilon", .of = Parameter::Of::model, .fallback = 0.15, .least = 0, .most = 1});
  }
  description.make = [sparsify, elects](const Setup& setup) {
    return std::make_unique<SparseTaskVectors>(sparsify, elects, setup);
  };
  return description;
}

}  // namespace

std::vector<Description> ties_family() {
  return {
      describe("ties", "trim, elect signs, disjoint merge (Yadav et al. 2023)", Sparsify::magnitude,
               true, {.density = 0.2, .normalize = true, .rescale = false}),
      describe("dare_ties", "random drop, then signs as in ties (Yu et al. 2024)", Sparsify::random,
               true, {.density = 1, .normalize = false, .rescale = true}),
      describe("dare_linear", "random drop, then the weighted sum (Yu et al. 2024)",
               Sparsify::random, false, {.density = 1, .normalize = false, .rescale = true}),
      describe("breadcrumbs", "outliers and small values dropped (Davari, Belilovsky 2023)",
               Sparsify::outliers, false, {.density = 1, .normalize = false, .rescale = false}),
      describe("breadcrumbs_ties", "breadcrumbs, then signs as in ties (mergekit)",
               Sparsify::outliers, true, {.density = 1, .normalize = false, .rescale = false}),
      describe("della", "drop by rank, then signs as in ties (Deep et al. 2024)", Sparsify::by_rank,
               true, {.density = 1, .normalize = true, .rescale = true}),
      describe("della_linear", "drop by rank, then the weighted sum (Deep et al. 2024)",
               Sparsify::by_rank, false, {.density = 1, .normalize = false, .rescale = true}),
  };
}

}  // namespace mpimerge::method
