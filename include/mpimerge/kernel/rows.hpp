#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace mpimerge::kernel {

/// Loops over rows: some neighbouring elements of each of several models, in float32. All local.
/// Every row has `elements`; results may be one of the operands but overlap none otherwise.

/// What of a task vector is kept, and how it is scaled.
struct Kept {
  std::uint32_t low = 0;             ///< bits of the smallest magnitude that is kept
  std::uint32_t high = 0x7fffffffu;  ///< and of the largest
  float scale = 1;
  float weight = 1;
};

/// row = weight·(scale·(values − base)) where |values − base| is in the range, else 0.
void keep_range(const Kept& kept, const float* values, const float* base, std::size_t elements,
                float* row) noexcept;

/// row = weight·(scale·(values − base)) where `random` is below the probability, else 0.
void keep_below(float probability, const float* random, const Kept& kept, const float* values,
                const float* base, std::size_t elements, float* row) noexcept;

/// sum += row.
void add_row(const float* row, std::size_t elements, float* sum) noexcept;

/// signs = 1, −1, or `tie` where a value is 0 or NaN.
void signs_of(const float* values, float tie, std::size_t elements, float* signs) noexcept;

/// How many more of the signs are positive than negative.
std::int64_t sum_signs(const float* signs, std::size_t elements) noexcept;

/// sum += row and weights += weight, where the row has the sign: a positive value where it is 1, a
/// negative one where it is 0 or −1.
void add_agreeing(const float* row, float weight, const float* signs, std::size_t elements,
                  float* sum, float* weights) noexcept;

/// sum /= weights, where these are not 0.
void divide_rows(const float* weights, std::size_t elements, float* sum) noexcept;

/// Doubles are added in so many lanes, an element in that of its place; then the lanes, in a fixed
/// order: every processor gives the same bits.
inline constexpr std::size_t kSumLanes = 8;

/// Σ a·b: products of float32 are exact in float64.
/// @param first_lane  of the first element
double sum_products(const float* a, const float* b, std::size_t elements,
                    std::size_t first_lane) noexcept;

/// Σ |a − b|, the difference in float32.
double sum_distances(const float* a, const float* b, std::size_t elements,
                     std::size_t first_lane) noexcept;

/// Σ |a|.
double sum_magnitudes(const float* a, std::size_t elements, std::size_t first_lane) noexcept;

/// The population variance of the models' differences from the base, in float64.
/// @param models  at least one, each [elements]
void variances(std::span<const float* const> models, const float* base, std::size_t elements,
               float* variance) noexcept;

/// values = base + lambda·values; where `sum` is NaN, base + lambda·sum.
void apply(const float* base, float lambda, const float* sum, std::size_t elements,
           float* values) noexcept;

}  // namespace mpimerge::kernel
