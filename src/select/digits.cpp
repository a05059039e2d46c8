#include "select/digits.hpp"

#include <bit>

// Highway compiles this file once for every generation of vector units.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "select/digits.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace mpimerge::select {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
constexpr hn::ScalableTag<std::uint32_t> kWords;

std::size_t find(const float* HWY_RESTRICT values, std::size_t elements, std::uint32_t digit,
                 std::uint32_t* HWY_RESTRICT found) {
  constexpr int kShift = static_cast<int>(kDigits[0].shift);
  const auto sought = hn::Set(kWords, digit);
  const auto sign_off = hn::Set(kWords, 0x7fffffffu);
  const hn::ScalableTag<float> floats;
  std::size_t count = 0;
  std::size_t i = 0;
  for (; i + hn::Lanes(kWords) <= elements; i += hn::Lanes(kWords)) {
    const auto magnitude = hn::And(hn::BitCast(kWords, hn::LoadU(floats, values + i)), sign_off);
    const auto has_digit = hn::Eq(hn::ShiftRight<kShift>(magnitude), sought);
    if (hn::AllFalse(kWords, has_digit)) continue;
    count += hn::CompressStore(magnitude, has_digit, kWords, found + count);
  }
  for (; i < elements; ++i) {
    const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(values[i]) & 0x7fffffffu;
    if ((magnitude >> kShift) == digit) found[count++] = magnitude;
  }
  return count;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mpimerge::select
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mpimerge::select {

HWY_EXPORT(find);

std::size_t find_first_digit(std::span<const float> values, std::uint32_t digit,
                             std::uint32_t* found) noexcept {
  return HWY_DYNAMIC_DISPATCH(find)(values.data(), values.size(), digit, found);
}

}  // namespace mpimerge::select
#endif  // HWY_ONCE
