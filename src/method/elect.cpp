#include "method/elect.hpp"

#include <algorithm>
#include <cmath>

#include "mpimerge/kernel/choose.hpp"
#include "mpimerge/kernel/rows.hpp"
#include "mpimerge/kernel/vectors.hpp"

#include "method/rows.hpp"

namespace mpimerge::method {
namespace {

using kernel::choose;
using kernel::only_if;

float sign_of(float value) { return choose(value > 0, 1, only_if(value < 0, -1)); }

// The sign of the value whose square is the largest share of its task vector's squared norm, the
// first of equal ones.
void elect_largest_share(const Ballot& ballot, float* winners) {
  std::fill_n(ballot.scratch, ballot.elements, -1.0F);
  for (std::size_t model = 0; model < ballot.rows.size(); ++model) {
    const float* const row = ballot.rows[model];
    const float norm = ballot.norms[model];
    kernel::with_vectors([=, shares = ballot.scratch, elements = ballot.elements] {
      for (std::size_t i = 0; i < elements; ++i) {
        const float value = row[i];
        const float share = value * value / norm;
        const bool larger = share > shares[i];
        shares[i] = choose(larger, share, shares[i]);
        winners[i] = choose(larger, value, winners[i]);
      }
    });
  }
}

// Σ of the selected values and of their weights: where nothing was elected, all that are not zero.
void sum_selected(std::span<float* const> rows, std::span<const float> weights, const float* signs,
                  std::size_t elements, float* sum_of_weights, float* sum) {
  std::fill_n(sum, elements, 0.0F);
  std::fill_n(sum_of_weights, elements, 0.0F);
  for (std::size_t model = 0; model < rows.size(); ++model) {
    const float* const row = rows[model];
    const float weight = weights[model];
    if (signs != nullptr) {
      kernel::add_agreeing(row, weight, signs, elements, sum, sum_of_weights);
      continue;
    }
    kernel::with_vectors([=] {
      for (std::size_t i = 0; i < elements; ++i) {
        sum[i] += row[i];
        sum_of_weights[i] += only_if(row[i] != 0, weight);
      }
    });
  }
}

void take_largest(std::span<float* const> rows, const float* signs, std::size_t elements,
                  float* result) {
  std::fill_n(result, elements, 0.0F);
  for (const float* const row : rows) {
    kernel::with_vectors([=] {
      for (std::size_t i = 0; i < elements; ++i) {
        const float magnitude = choose(signs[i] > 0, row[i], -row[i]);
        result[i] = choose(magnitude > result[i], magnitude, result[i]);
      }
    });
  }
  kernel::with_vectors([=] {
    for (std::size_t i = 0; i < elements; ++i) result[i] *= signs[i];
  });
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
  kernel::with_vectors([=] {
    for (std::size_t i = 0; i < elements; ++i) result[i] /= divisor;
  });
}

}  // namespace

void elect(Elect rule, const Ballot& ballot, float tie, float* signs) {
  // A task vector of zeros has no shares, and no sign can be told from them.
  const bool by_share = rule == Elect::normfrac || rule == Elect::normmass;
  if (by_share && std::ranges::any_of(ballot.norms, [](float norm) { return norm == 0; })) {
    std::fill_n(signs, ballot.elements, tie);
    return;
  }
  std::fill_n(signs, ballot.elements, 0.0F);
  switch (rule) {
    case Elect::none: return;
    case Elect::mass: return kernel::signs_of(ballot.sum, tie, ballot.elements, signs);
    case Elect::normfrac: elect_largest_share(ballot, signs); break;
    case Elect::normmass:
      for (std::size_t model = 0; model < ballot.rows.size(); ++model) {
        const float* const row = ballot.rows[model];
        const float norm = ballot.norms[model];
        kernel::with_vectors([=, elements = ballot.elements] {
          for (std::size_t i = 0; i < elements; ++i)
            signs[i] += sign_of(row[i]) * (row[i] * row[i]) / norm;
        });
      }
      break;
    case Elect::count:
      for (const float* const row : ballot.rows) {
        kernel::with_vectors([=, elements = ballot.elements] {
          for (std::size_t i = 0; i < elements; ++i) signs[i] += sign_of(row[i]);
        });
      }
      break;
    case Elect::given:
      kernel::with_vectors(
          [=, given = ballot.given, base = ballot.base, elements = ballot.elements] {
            for (std::size_t i = 0; i < elements; ++i) signs[i] = given[i] - base[i];
          });
      break;
  }
  kernel::signs_of(signs, tie, ballot.elements, signs);
}

void aggregate(Aggregate rule, std::span<float* const> rows, std::span<const float> weights,
               const float* signs, std::size_t elements, float* scratch, float* result) {
  if (rule == Aggregate::disjoint_mean || rule == Aggregate::disjoint_sum) {
    sum_selected(rows, weights, signs, elements, scratch, result);
    if (rule == Aggregate::disjoint_mean) kernel::divide_rows(scratch, elements, result);
    return;
  }
  if (rule == Aggregate::disjoint_max && signs != nullptr)
    return take_largest(rows, signs, elements, result);
  combine_all(rule, rows, weights, elements, result);
  if (signs == nullptr) return;
  kernel::with_vectors([=] {
    for (std::size_t i = 0; i < elements; ++i) result[i] = std::abs(result[i]) * signs[i];
  });
}

}  // namespace mpimerge::method
