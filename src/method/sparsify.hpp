#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mpimerge/kernel/row_ranks.hpp"
#include "mpimerge/kernel/rows.hpp"
#include "mpimerge/method/method.hpp"

#include "method/row_ranks.hpp"

namespace mpimerge::method {

/// Which values of a task vector are kept.
enum class Sparsify : std::uint8_t {
  magnitude,  ///< the largest
  outliers,   ///< the largest but for the very largest
  random,     ///< any, each with the probability `density`
  by_rank,    ///< any, the larger the likelier
};

/// The parameters of the methods that merge task vectors sparsely. Only some of them have the last.
enum SparseNumber : std::size_t { kWeight, kDensity, kLambda, kNormalize, kRescale, kExtra };

/// Makes sparse task vectors of one tensor after another, by what is known of it.
///
/// Facts of a tensor: for each model the smallest magnitude that is kept, and for outliers for each
/// the largest. The smallest ones stand in the model's facts where the trim is over the model.
class Sparsifier {
 public:
  Sparsifier(Sparsify kind, const Rules& rules) : kind_(kind), rules_(rules) {}

  /// Local. The pass that finds thresholds; nothing: none is needed.
  [[nodiscard]] std::vector<Pass> passes() const;
  /// Local. How many facts of a tensor are thresholds.
  [[nodiscard]] std::size_t facts(const Tensor& tensor) const;
  /// Local. What that pass looks for in a tensor.
  [[nodiscard]] std::vector<Method::Rank> ranks(const Tensor& tensor) const;

  /// Local. Whether `scale` may be other than 1, in `keep`.
  [[nodiscard]] static bool rescales(const Tensor& tensor);
  /// Local. What makes up for the dropped values by the density alone; 1 where `keep` does it
  /// itself, element by element.
  [[nodiscard]] float density_scale(const Tensor& tensor, std::size_t model) const;

  /// Local. Magnitudes that are kept, where magnitudes decide.
  [[nodiscard]] kernel::Kept range(const Tensor& tensor, std::size_t model) const;

  /// Local. Values of a model's task vector: w·(scale·δ) where it is kept, else 0.
  /// @param row  [elements], of the tile's from `begin` on
  void keep(const Tensor& tensor, const Tile& tile, std::size_t model, float scale, float weight,
            std::size_t begin, std::size_t elements, float* row);

  /// Local. Makes what `keep` needs of whole rows, for all models of a tile.
  void look_at_rows(const Tensor& tensor, const Tile& tile);

 private:
  // Places of the smallest and the largest magnitude that is kept, 1-based; 0: no limit.
  struct Places {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    bool keeps_nothing = false;
  };

  [[nodiscard]] bool trims_model() const {
    return kind_ == Sparsify::magnitude && rules_.trim_scope == TrimScope::model;
  }
  [[nodiscard]] Places places(const Tensor& tensor, std::size_t model) const;

  [[nodiscard]] static float probability_at(const Tensor& tensor, std::size_t model, double place);
  void set_by_place(const Tensor& tensor, std::size_t model, std::size_t row);
  void rank_row(const Tensor& tensor, std::size_t model, const float* values, const float* base,
                std::span<float> probabilities);
  [[nodiscard]] bool divides_by_own(const Tensor& tensor) const;

  Sparsify kind_;
  Rules rules_;
  std::vector<float> random_;
  std::vector<float> drops_;        // [models × elements of the tile] 0: is kept
  std::vector<float> probability_;  // likewise, where a value's own counts
  std::vector<float> by_place_;     // [elements of a row]
  std::vector<float> row_;
  std::vector<double> places_;
  std::size_t tile_elements_ = 0;
  RowRanks row_ranks_;
  kernel::RowDrops row_drops_;
};

}  // namespace mpimerge::method
