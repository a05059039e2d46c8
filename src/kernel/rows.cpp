#include "mpimerge/kernel/rows.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "mpimerge/kernel/choose.hpp"

// Highway compiles this file once for every generation of vector units. The loops are plain: the
// compiler makes vectors of them.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/rows.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace mpimerge::kernel {
namespace HWY_NAMESPACE {
namespace {

void keep_range(const Kept& kept, const float* values, const float* base, std::size_t elements,
                float* row) {
  // Magnitudes are not negative as integers, and signed comparisons are one instruction everywhere.
  const auto low = static_cast<std::int32_t>(kept.low);
  const auto high = static_cast<std::int32_t>(kept.high);
  const float scale = kept.scale;
  const float weight = kept.weight;
  for (std::size_t i = 0; i < elements; ++i) {
    const float delta = values[i] - base[i];
    const std::int32_t magnitude = std::bit_cast<std::int32_t>(delta) & 0x7fffffff;
    row[i] = only_if((magnitude >= low) & (magnitude <= high), weight * (scale * delta));
  }
}

void keep_below(float probability, const float* random, const Kept& kept, const float* values,
                const float* base, std::size_t elements, float* row) {
  const float scale = kept.scale;
  const float weight = kept.weight;
  for (std::size_t i = 0; i < elements; ++i) {
    const float delta = values[i] - base[i];
    row[i] = only_if(random[i] < probability, weight * (scale * delta));
  }
}

void add_row(const float* row, std::size_t elements, float* sum) {
  for (std::size_t i = 0; i < elements; ++i) sum[i] += row[i];
}

void signs_of(const float* values, float tie, std::size_t elements, float* signs) {
  for (std::size_t i = 0; i < elements; ++i) {
    const float value = values[i];
    signs[i] = choose(value > 0, 1.0F, choose(value < 0, -1.0F, tie));
  }
}

std::int64_t sum_signs(const float* signs, std::size_t elements) {
  // Of fewer elements than overflow 32 bits.
  constexpr std::size_t kPart = std::size_t{1} << 30;
  std::int64_t total = 0;
  for (std::size_t begin = 0; begin < elements; begin += kPart) {
    const std::size_t end = std::min(elements, begin + kPart);
    std::int32_t sum = 0;
    for (std::size_t i = begin; i < end; ++i)
      sum += static_cast<std::int32_t>(signs[i] > 0) - static_cast<std::int32_t>(signs[i] < 0);
    total += sum;
  }
  return total;
}

void add_agreeing(const float* row, float weight, const float* signs, std::size_t elements,
                  float* sum, float* weights) {
  for (std::size_t i = 0; i < elements; ++i) {
    const float value = row[i];
    // The value with its sign turned where a negative one is elected.
    const std::uint32_t turn = static_cast<std::uint32_t>(!(signs[i] > 0)) << 31;
    const bool agrees = std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) ^ turn) > 0;
    sum[i] += only_if(agrees, value);
    weights[i] += only_if(agrees, weight);
  }
}

void divide_rows(const float* weights, std::size_t elements, float* sum) {
  for (std::size_t i = 0; i < elements; ++i) {
    const float divisor = weights[i];
    sum[i] /= choose(divisor == 0, 1.0F, divisor);
  }
}

// In eight lanes whatever the vectors' length, so that all targets round alike. Elements before the
// first whole row of lanes and behind the last one go to the lanes that they have there.
template <class Value>
double sum_of(std::size_t elements, std::size_t first_lane, Value value) {
  std::array<double, kSumLanes> lanes{};
  std::size_t i = 0;
  for (std::size_t lane = first_lane % kSumLanes; lane != 0 && i < elements;
       ++i, lane = (lane + 1) % kSumLanes)
    lanes[lane] += value(i);
  for (; i + kSumLanes <= elements; i += kSumLanes) {
    for (std::size_t lane = 0; lane < kSumLanes; ++lane) lanes[lane] += value(i + lane);
  }
  for (std::size_t lane = 0; i < elements; ++i, ++lane) lanes[lane] += value(i);
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
         ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

double sum_products(const float* a, const float* b, std::size_t elements, std::size_t first_lane) {
  return sum_of(elements, first_lane, [=](std::size_t i) {
    return static_cast<double>(a[i]) * static_cast<double>(b[i]);
  });
}

double sum_distances(const float* a, const float* b, std::size_t elements, std::size_t first_lane) {
  return sum_of(elements, first_lane,
                [=](std::size_t i) { return static_cast<double>(std::abs(a[i] - b[i])); });
}

double sum_magnitudes(const float* a, std::size_t elements, std::size_t first_lane) {
  return sum_of(elements, first_lane,
                [=](std::size_t i) { return static_cast<double>(std::abs(a[i])); });
}

namespace hn = hwy::HWY_NAMESPACE;
using Doubles = hn::ScalableTag<double>;
using HalfFloats = hn::Rebind<float, Doubles>;
constexpr Doubles kDoubles;
constexpr HalfFloats kHalfFloats;

// x / count: the same, and much sooner, by a product where the inverse is exact.
HWY_INLINE hn::Vec<Doubles> divided(hn::Vec<Doubles> values, std::size_t count) {
  const auto divisor = static_cast<double>(count);
  if (std::has_single_bit(count)) return hn::Mul(values, hn::Set(kDoubles, 1 / divisor));
  return hn::Div(values, hn::Set(kDoubles, divisor));
}

// Of as many elements as a vector has doubles; `load` gives a row's.
template <class Load>
HWY_INLINE hn::Vec<HalfFloats> variance_of(std::size_t models, Load load) {
  hn::Vec<Doubles> mean = hn::Zero(kDoubles);
  for (std::size_t model = 0; model < models; ++model) mean = hn::Add(mean, load(model));
  mean = divided(mean, models);
  hn::Vec<Doubles> squares = hn::Zero(kDoubles);
  for (std::size_t model = 0; model < models; ++model) {
    const hn::Vec<Doubles> distance = hn::Sub(load(model), mean);
    squares = hn::Add(squares, hn::Mul(distance, distance));
  }
  return hn::DemoteTo(kHalfFloats, divided(squares, models));
}

void variances(std::span<const float* const> models, const float* base, std::size_t elements,
               float* variance) {
  const std::size_t lanes = hn::Lanes(kDoubles);
  std::size_t i = 0;
  for (; i + lanes <= elements; i += lanes) {
    const auto load = [&](std::size_t model) HWY_ATTR {
      return hn::PromoteTo(kDoubles, hn::Sub(hn::LoadU(kHalfFloats, models[model] + i),
                                             hn::LoadU(kHalfFloats, base + i)));
    };
    hn::StoreU(variance_of(models.size(), load), kHalfFloats, variance + i);
  }
  for (; i < elements; ++i) {
    const auto load = [&](std::size_t model) HWY_ATTR {
      return hn::Set(kDoubles, static_cast<double>(models[model][i] - base[i]));
    };
    variance[i] = hn::GetLane(variance_of(models.size(), load));
  }
}

void apply(const float* base, float lambda, const float* sum, std::size_t elements, float* values) {
  for (std::size_t i = 0; i < elements; ++i)
    values[i] = base[i] + lambda * choose(sum[i] == sum[i], values[i], sum[i]);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mpimerge::kernel
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mpimerge::kernel {
namespace {

HWY_EXPORT(keep_range);
HWY_EXPORT(keep_below);
HWY_EXPORT(add_row);
HWY_EXPORT(signs_of);
HWY_EXPORT(sum_signs);
HWY_EXPORT(add_agreeing);
HWY_EXPORT(divide_rows);
HWY_EXPORT(sum_products);
HWY_EXPORT(sum_distances);
HWY_EXPORT(sum_magnitudes);
HWY_EXPORT(variances);
HWY_EXPORT(apply);

}  // namespace

void keep_range(const Kept& kept, const float* values, const float* base, std::size_t elements,
                float* row) noexcept {
  HWY_DYNAMIC_DISPATCH(keep_range)(kept, values, base, elements, row);
}

void keep_below(float probability, const float* random, const Kept& kept, const float* values,
                const float* base, std::size_t elements, float* row) noexcept {
  HWY_DYNAMIC_DISPATCH(keep_below)(probability, random, kept, values, base, elements, row);
}

void add_row(const float* row, std::size_t elements, float* sum) noexcept {
  HWY_DYNAMIC_DISPATCH(add_row)(row, elements, sum);
}

void signs_of(const float* values, float tie, std::size_t elements, float* signs) noexcept {
  HWY_DYNAMIC_DISPATCH(signs_of)(values, tie, elements, signs);
}

std::int64_t sum_signs(const float* signs, std::size_t elements) noexcept {
  return HWY_DYNAMIC_DISPATCH(sum_signs)(signs, elements);
}

void add_agreeing(const float* row, float weight, const float* signs, std::size_t elements,
                  float* sum, float* weights) noexcept {
  HWY_DYNAMIC_DISPATCH(add_agreeing)(row, weight, signs, elements, sum, weights);
}

void divide_rows(const float* weights, std::size_t elements, float* sum) noexcept {
  HWY_DYNAMIC_DISPATCH(divide_rows)(weights, elements, sum);
}

double sum_products(const float* a, const float* b, std::size_t elements,
                    std::size_t first_lane) noexcept {
  return HWY_DYNAMIC_DISPATCH(sum_products)(a, b, elements, first_lane);
}

double sum_distances(const float* a, const float* b, std::size_t elements,
                     std::size_t first_lane) noexcept {
  return HWY_DYNAMIC_DISPATCH(sum_distances)(a, b, elements, first_lane);
}

double sum_magnitudes(const float* a, std::size_t elements, std::size_t first_lane) noexcept {
  return HWY_DYNAMIC_DISPATCH(sum_magnitudes)(a, elements, first_lane);
}

void variances(std::span<const float* const> models, const float* base, std::size_t elements,
               float* variance) noexcept {
  HWY_DYNAMIC_DISPATCH(variances)(models, base, elements, variance);
}

void apply(const float* base, float lambda, const float* sum, std::size_t elements,
           float* values) noexcept {
  HWY_DYNAMIC_DISPATCH(apply)(base, lambda, sum, elements, values);
}

}  // namespace mpimerge::kernel
#endif  // HWY_ONCE
