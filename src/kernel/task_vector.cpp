#include "mpimerge/kernel/task_vector.hpp"

#include <algorithm>
#include <cmath>

// Highway compiles this file once for every generation of vector units.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/task_vector.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace mpimerge::kernel {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
constexpr hn::ScalableTag<float> kFloats;

void subtract(float* HWY_RESTRICT task, const float* HWY_RESTRICT base, std::size_t elements) {
  std::size_t i = 0;
  for (; i + hn::Lanes(kFloats) <= elements; i += hn::Lanes(kFloats)) {
    hn::StoreU(hn::Sub(hn::LoadU(kFloats, task + i), hn::LoadU(kFloats, base + i)), kFloats,
               task + i);
  }
  for (; i < elements; ++i) task[i] -= base[i];
}

bool all_finite(const float* HWY_RESTRICT values, std::size_t elements) {
  auto finite = hn::FirstN(kFloats, hn::Lanes(kFloats));
  std::size_t i = 0;
  for (; i + hn::Lanes(kFloats) <= elements; i += hn::Lanes(kFloats)) {
    finite = hn::And(finite, hn::IsFinite(hn::LoadU(kFloats, values + i)));
  }
  bool rest = true;
  for (; i < elements; ++i) rest = rest && std::isfinite(values[i]);
  return rest && hn::AllTrue(kFloats, finite);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mpimerge::kernel
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mpimerge::kernel {
namespace {

HWY_EXPORT(subtract);
HWY_EXPORT(all_finite);

}  // namespace

void subtract_base(std::span<float> task, std::span<const float> base) noexcept {
  HWY_DYNAMIC_DISPATCH(subtract)(task.data(), base.data(), task.size());
}

std::optional<std::size_t> first_non_finite(std::span<const float> values) noexcept {
  if (HWY_DYNAMIC_DISPATCH(all_finite)(values.data(), values.size())) return std::nullopt;
  const auto found = std::find_if_not(values.begin(), values.end(),
                                      [](float value) { return std::isfinite(value); });
  return static_cast<std::size_t>(found - values.begin());
}

}  // namespace mpimerge::kernel
#endif  // HWY_ONCE
