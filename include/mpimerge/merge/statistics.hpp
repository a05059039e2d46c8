#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mpimerge/kernel/statistics.hpp"
#include "mpimerge/kernel/ties.hpp"

namespace mpimerge::merge {

/// Which quantiles of the magnitudes are told.
inline constexpr std::array<double, 8> kQuantiles{0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999};
/// For which densities the share of the squared norm is told.
inline constexpr std::array<double, 10> kDensities{0.001, 0.01, 0.02, 0.05, 0.1,
                                                   0.2,   0.3,  0.5,  0.7,  1};

/// One task vector, over some elements. What is undefined is NaN.
struct VectorStatistics {
  std::uint64_t nonzero = 0;
  double mean_magnitude = 0;
  double norm = 0;
  double largest = 0;
  double norm_kept = 0;                                ///< share of the squared norm
  std::array<double, kQuantiles.size()> quantiles{};   ///< of the magnitudes
  std::array<double, kDensities.size()> norm_share{};  ///< of the squared norm, in the largest
};

/// A merged vector: magnitudes over some elements, and by class of agreement before the trim.
struct MagnitudeStatistics {
  double mean = 0;
  double norm = 0;
  std::array<double, kernel::kAgreementClasses> by_agreement{};
};

/// What is counted and summed over all task vectors and, after a merge, its result.
struct FullStatistics {
  std::vector<VectorStatistics> task_vectors;
  std::vector<std::uint64_t> conflicts_before;  ///< [tasks]: among the first 1, 2, ... of them
  std::vector<std::uint64_t> conflicts_after;
  std::array<std::uint64_t, kernel::kAgreementClasses> agreement_before{};
  std::array<std::uint64_t, kernel::kAgreementClasses> agreement_after{};
  MagnitudeStatistics merged;          ///< of merged − base, before it is rounded to its type
  MagnitudeStatistics average;         ///< of the mean of all task vectors
  std::vector<double> cosine;          ///< [pairs], as in kernel::StatisticsLayout
  std::vector<double> sign_agreement;  ///< [pairs]: same signs, of the elements where neither is 0
};

/// Statistics of a tensor, of all tensors of a kind, or of the whole model.
struct RowStatistics {
  std::uint64_t tensors = 1;
  std::uint64_t elements = 0;
  kernel::TiesCounts counts;        ///< where the paper's TIES counted them
  std::vector<std::uint64_t> kept;  ///< by task; likewise
  std::optional<FullStatistics> full;
};

/// What a merge saw, tensor by tensor. A tensor's kind is its name without the layer's number.
struct Statistics {
  struct Tensor {
    std::string name;
    std::optional<std::uint64_t> layer;
    std::size_t kind = 0;  ///< in `kinds`
    RowStatistics row;
  };
  struct Kind {
    std::string name;
    RowStatistics row;
  };
  std::size_t tasks = 0;
  bool is_full = false;
  bool is_trimmed = false;  ///< TIES counted what it kept and elected
  bool has_merged = false;
  std::vector<Tensor> tensors;  ///< that were merged, in the order of the plan
  std::vector<Kind> kinds;      ///< in the order of their first tensors
  RowStatistics all;
};

}  // namespace mpimerge::merge
