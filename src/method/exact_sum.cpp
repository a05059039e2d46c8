#include "mpimerge/method/exact_sum.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace mpimerge::method {
namespace {

constexpr int kLowest = -320;  // exponent of digit 0's last bit
constexpr int kDigitBits = 32;
constexpr std::int64_t kDigit = std::int64_t{1} << kDigitBits;
// Each addition changes a digit by less than 2^33.
constexpr std::uint32_t kMostPending = std::uint32_t{1} << 28;

}  // namespace

void ExactSum::add(double value) noexcept {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  const auto biased = static_cast<int>((bits >> 52) & 0x7ffu);
  if (biased == 0x7ff) {
    ++not_finite_;
    return;
  }
  // value = ±mantissa · 2^(biased − 1075); subnormals lie far below the last digit.
  const int shift = biased - 1075 - kLowest;
  std::uint64_t mantissa = (bits & 0xfffffffffffffu) | (biased == 0 ? 0 : std::uint64_t{1} << 52);
  if (shift <= -64) return;
  std::size_t digit = 0;
  unsigned within = 0;
  if (shift < 0) {
    mantissa >>= -shift;
  } else {
    digit = static_cast<std::size_t>(shift / kDigitBits);
    within = static_cast<unsigned>(shift % kDigitBits);
  }
  if (digit + 2 >= kDigits) {
    ++not_finite_;
    return;
  }
  const std::uint64_t low = (mantissa & 0xffffffffu) << within;
  const std::uint64_t high = (mantissa >> kDigitBits) << within;
  const std::uint64_t middle = (low >> kDigitBits) + (high & 0xffffffffu);
  const std::int64_t sign = (bits >> 63) != 0 ? -1 : 1;
  digits_[digit] += sign * static_cast<std::int64_t>(low & 0xffffffffu);
  digits_[digit + 1] += sign * static_cast<std::int64_t>(middle);
  digits_[digit + 2] += sign * static_cast<std::int64_t>(high >> kDigitBits);
  if (++pending_ == kMostPending) carry();
}

void ExactSum::add(const ExactSum& other) noexcept {
  ExactSum carried = other;
  carried.carry();
  for (std::size_t digit = 0; digit < kDigits; ++digit) digits_[digit] += carried.digits_[digit];
  not_finite_ += other.not_finite_;
  if (++pending_ == kMostPending) carry();
}

void ExactSum::carry() noexcept {
  // Every digit but the last comes into [0, 2^32): the form is one for every value.
  for (std::size_t digit = 0; digit + 1 < kDigits; ++digit) {
    const std::int64_t over = digits_[digit] >> kDigitBits;
    digits_[digit] -= over * kDigit;
    digits_[digit + 1] += over;
  }
  pending_ = 0;
}

double ExactSum::value() const noexcept {
  if (not_finite_ != 0) return std::numeric_limits<double>::quiet_NaN();
  ExactSum sum = *this;
  sum.carry();
  const bool negative = sum.digits_[kDigits - 1] < 0;
  if (negative) {
    for (std::int64_t& digit : sum.digits_) digit = -digit;
    sum.carry();
  }
  std::size_t top = kDigits;
  while (top > 0 && sum.digits_[top - 1] == 0) --top;
  if (top == 0) return 0;
  // The leading digits hold at least 65 bits, as far as there are any: more than a double can.
  double value = 0;
  const std::size_t lowest = top > 3 ? top - 3 : 0;
  for (std::size_t digit = lowest; digit < top; ++digit) {
    value += std::ldexp(static_cast<double>(sum.digits_[digit]),
                        kLowest + kDigitBits * static_cast<int>(digit));
  }
  return negative ? -value : value;
}

void ExactSum::store(std::span<std::int64_t, kNumbers> numbers) const noexcept {
  ExactSum sum = *this;
  sum.carry();
  std::copy(sum.digits_.begin(), sum.digits_.end(), numbers.begin());
  numbers[kDigits] = not_finite_;
}

bool ExactSum::is_stored(std::span<const std::int64_t, kNumbers> numbers) noexcept {
  constexpr std::int64_t kMostOfLast = std::int64_t{1} << 62;
  const std::int64_t last = numbers[kDigits - 1];
  return std::ranges::all_of(numbers.first<kDigits - 1>(),
                             [](std::int64_t digit) { return digit >= 0 && digit < kDigit; }) &&
         last > -kMostOfLast && last < kMostOfLast && numbers[kDigits] >= 0 &&
         numbers[kDigits] < kMostOfLast;
}

void ExactSum::load(std::span<const std::int64_t, kNumbers> numbers) noexcept {
  std::copy_n(numbers.begin(), kDigits, digits_.begin());
  not_finite_ = numbers[kDigits];
  carry();
}

}  // namespace mpimerge::method
