#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace mpimerge::test::reference {

/// TIES-Merging (Yadav et al. 2023, section 3, and the authors' code) of whole task vectors, one
/// element after another: what the distributed, tiled merge must equal bit for bit.

enum class Disjoint { mean, sum, max };

struct TiesTask {
  std::vector<float> tau;
  float weight = 1;
  std::uint32_t threshold = 0;  ///< bits of a float
};

struct TiesResult {
  std::vector<float> merged;
  std::vector<std::uint64_t> kept;  ///< by task
  std::uint64_t positive = 0;
  std::uint64_t negative = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t untouched = 0;
  std::uint64_t conflicts_before_trim = 0;
  std::uint64_t conflicts_after_trim = 0;
};

inline std::uint32_t magnitude_bits(float value) {
  return std::bit_cast<std::uint32_t>(std::abs(value));
}

/// Local. w·τ̂ of every task that keeps the element.
inline std::vector<float> kept_values(const std::vector<TiesTask>& tasks, std::size_t element) {
  std::vector<float> values;
  for (const TiesTask& task : tasks) {
    const float tau = task.tau[element];
    if (magnitude_bits(tau) >= task.threshold) values.push_back(task.weight * tau);
  }
  return values;
}

/// Local. The sign of the sum from left to right in job order; `cancelled_sign` if it is zero.
inline int elected_sign(const std::vector<float>& kept, int cancelled_sign) {
  float sum = 0;
  for (const float value : kept) sum += value;
  return sum > 0 ? 1 : sum < 0 ? -1 : cancelled_sign;
}

/// Local. The disjoint aggregate of the kept values with the elected sign; sign 0 acts as negative.
inline float disjoint(const std::vector<TiesTask>& tasks, std::size_t element, int sign,
                      Disjoint aggregate) {
  float sum = 0;
  float weights = 0;
  float largest = 0;
  for (const TiesTask& task : tasks) {
    const float tau = task.tau[element];
    const float value = task.weight * tau;
    const bool kept = magnitude_bits(tau) >= task.threshold;
    const bool selected = sign > 0 ? value > 0 : value < 0;
    if (!kept || !selected) continue;
    sum += value;
    weights += task.weight;
    largest = std::max(largest, std::abs(value));
  }
  if (aggregate == Disjoint::mean) return sum / (weights == 0 ? 1.0F : weights);
  if (aggregate == Disjoint::sum) return sum;
  return largest * static_cast<float>(sign);
}

/// Local. The merge of tasks whose thresholds are known.
inline TiesResult ties(const std::vector<float>& base, const std::vector<TiesTask>& tasks,
                       Disjoint aggregate, int cancelled_sign, float lambda) {
  TiesResult result;
  result.merged = base;
  result.kept.resize(tasks.size());
  for (std::size_t element = 0; element < base.size(); ++element) {
    bool positive_before = false, negative_before = false;
    bool positive_after = false, negative_after = false;
    bool is_nan = false;
    for (std::size_t task = 0; task < tasks.size(); ++task) {
      const float tau = tasks[task].tau[element];
      const bool kept = magnitude_bits(tau) >= tasks[task].threshold;
      result.kept[task] += kept ? 1U : 0U;
      positive_before |= tau > 0;
      negative_before |= tau < 0;
      positive_after |= kept && tau > 0;
      negative_after |= kept && tau < 0;
      is_nan |= std::isnan(tau);
    }
    result.conflicts_before_trim += positive_before && negative_before ? 1U : 0U;
    result.conflicts_after_trim += positive_after && negative_after ? 1U : 0U;

    const std::vector<float> kept = kept_values(tasks, element);
    float sum = 0;
    for (const float value : kept) sum += value;
    const bool touched = std::any_of(kept.begin(), kept.end(), [](float v) { return v != 0; });
    result.positive += sum > 0 ? 1U : 0U;
    result.negative += sum < 0 ? 1U : 0U;
    result.cancelled += sum == 0 && touched ? 1U : 0U;
    result.untouched += touched ? 0U : 1U;

    const int sign = elected_sign(kept, cancelled_sign);
    const float merged =
        is_nan || std::isnan(sum) ? std::nanf("") : disjoint(tasks, element, sign, aggregate);
    const float scaled = lambda * merged;
    result.merged[element] = base[element] + scaled;
  }
  return result;
}

/// Local. n_t as the published code computes it: int(d * K).
inline std::size_t trim_rank(std::size_t elements, double density) {
  return static_cast<std::size_t>(static_cast<double>(elements) * density);
}

/// Local. Bits of the (d − n_t)-th smallest magnitude; 0 keeps all.
inline std::uint32_t threshold(const std::vector<float>& tau, double density) {
  const std::size_t position = tau.size() - trim_rank(tau.size(), density);
  if (position == 0) return 0;
  std::vector<std::uint32_t> magnitudes;
  for (const float value : tau) magnitudes.push_back(magnitude_bits(value));
  std::sort(magnitudes.begin(), magnitudes.end());
  return magnitudes[position - 1];
}

/// Local. The sign that cancelling sums take: that of the majority of elected signs, 0 if balanced.
inline int majority_sign(const std::vector<TiesTask>& tasks) {
  std::int64_t balance = 0;
  for (std::size_t element = 0; element < tasks[0].tau.size(); ++element)
    balance += elected_sign(kept_values(tasks, element), 0);
  return balance > 0 ? 1 : balance < 0 ? -1 : 0;
}

}  // namespace mpimerge::test::reference
