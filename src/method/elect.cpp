#include "method/elect.hpp"

#include <algorithm>
#include <cmath>

#include "method/rows.hpp"

namespace mpimerge::method {
namespace {

// The sign of the value whose square is the largest share of its task vector's squared norm, the
// first of equal ones.
void elect_largest_share(const Ballot& ballot, float* signs) {
  std::fill_n(ballot.scratch, ballot.elements, -1.0F);
  for (std::size_t model = 0; model < ballot.rows.size(); ++model) {
    const float* const row = ballot.rows[model];
    for (std::size_t i = 0; i < ballot.elements; ++i) {
      const float share = row[i] * row[i] / ballot.norms[model];
      const bool larger = share > ballot.scratch[i];
      ballot.scratch[i] = larger ? share : ballot.scratch[i];
      signs[i] = larger ? sign_of(row[i]) : signs[i];
    }
  }
}

// Σ sign(v) v² / ‖v‖².
void elect_sum_of_shares(const Ballot& ballot, float* signs) {
  std::fill_n(signs, ballot.elements, 0.0F);
  for (std::size_t model = 0; model < ballot.rows.size(); ++model) {
    const float* const row = ballot.rows[model];
    for (std::size_t i = 0; i < ballot.elements; ++i)
      signs[i] += sign_of(row[i]) * (row[i] * row[i]) / ballot.norms[model];
  }
  for (std::size_t i = 0; i < ballot.elements; ++i) signs[i] = sign_of(signs[i]);
}

// Σ of the selected values and of their weights, divided where a mean is wanted. `is_selected`
// tells by value and element.
template <class IsSelected>
void sum_selected(bool divides, std::span<float* const> rows, std::span<const float> weights,
                  std::size_t elements, IsSelected is_selected, float* divisor, float* result) {
  std::fill_n(result, elements, 0.0F);
  std::fill_n(divisor, elements, 0.0F);
  for (std::size_t model = 0; model < rows.size(); ++model) {
    const float* const row = rows[model];
    const float weight = weights[model];
    for (std::size_t i = 0; i < elements; ++i) {
      const bool selected = is_selected(row[i], i);
      result[i] += selected ? row[i] : 0.0F;
      divisor[i] += selected ? weight : 0.0F;
    }
  }
  if (!divides) return;
  for (std::size_t i = 0; i < elements; ++i) result[i] /= divisor[i] == 0 ? 1.0F : divisor[i];
}

void take_largest(std::span<float* const> rows, const float* signs, std::size_t elements,
                  float* result) {
  std::fill_n(result, elements, 0.0F);
  for (const float* const row : rows) {
    for (std::size_t i = 0; i < elements; ++i) {
      const float magnitude = signs[i] > 0 ? row[i] : -row[i];
      result[i] = magnitude > result[i] ? magnitude : result[i];
    }
  }
  for (std::size_t i = 0; i < elements; ++i) result[i] *= signs[i];
}

float sum_of(std::span<const float> weights) {
  float sum = 0;
  for (const float weight : weights) sum += weight;
  return sum;
}

void combine_all(Aggregate rule, std::span<float* const> rows, std::span<const float> weights,
                 std::size_t elements, float* result) {
  if (rule == Aggregate::median) return median_of_rows(rows, elements, result);
  if (rule == Aggregate::magnitude || rule == Aggregate::disjoint_max)
    return largest_of_rows(rows, elements, result);
  sum_rows(rows, elements, result);
  if (rule == Aggregate::sum) return;
  constexpr float kLeastDivisor = 1e-8F;
  const float sum = sum_of(weights);
  const float divisor = std::abs(sum) < kLeastDivisor ? 1.0F : sum;
  for (std::size_t i = 0; i < elements; ++i) result[i] /= divisor;
}

}  // namespace

void elect(Elect rule, const Ballot& ballot, float* signs) {
  // A task vector of zeros has no shares, and no sign can be told from them.
  const bool by_share = rule == Elect::normfrac || rule == Elect::normmass;
  if (by_share && std::ranges::any_of(ballot.norms, [](float norm) { return norm == 0; })) {
    std::fill_n(signs, ballot.elements, 0.0F);
    return;
  }
  switch (rule) {
    case Elect::mass:
      for (std::size_t i = 0; i < ballot.elements; ++i) signs[i] = sign_of(ballot.sum[i]);
      break;
    case Elect::count:
      std::fill_n(signs, ballot.elements, 0.0F);
      for (const float* const row : ballot.rows) {
        for (std::size_t i = 0; i < ballot.elements; ++i) signs[i] += sign_of(row[i]);
      }
      for (std::size_t i = 0; i < ballot.elements; ++i) signs[i] = sign_of(signs[i]);
      break;
    case Elect::normfrac: elect_largest_share(ballot, signs); break;
    case Elect::normmass: elect_sum_of_shares(ballot, signs); break;
    case Elect::given:
      for (std::size_t i = 0; i < ballot.elements; ++i)
        signs[i] = sign_of(ballot.given[i] - ballot.base[i]);
      break;
    case Elect::none: break;
  }
}

void aggregate(Aggregate rule, std::span<float* const> rows, std::span<const float> weights,
               const float* signs, std::size_t elements, float* scratch, float* result) {
  const bool divides = rule == Aggregate::disjoint_mean;
  if (divides || rule == Aggregate::disjoint_sum) {
    if (signs == nullptr) {
      const auto is_selected = [](float value, std::size_t) { return value != 0; };
      sum_selected(divides, rows, weights, elements, is_selected, scratch, result);
    } else {
      const auto is_selected = [signs](float value, std::size_t i) {
        return (signs[i] > 0 ? value : -value) > 0;
      };
      sum_selected(divides, rows, weights, elements, is_selected, scratch, result);
    }
    return;
  }
  if (rule == Aggregate::disjoint_max && signs != nullptr)
    return take_largest(rows, signs, elements, result);
  combine_all(rule, rows, weights, elements, result);
  if (signs == nullptr) return;
  for (std::size_t i = 0; i < elements; ++i) result[i] = std::abs(result[i]) * signs[i];
}

}  // namespace mpimerge::method
