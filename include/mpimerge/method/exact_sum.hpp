#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace mpimerge::method {

/// A sum of doubles without any rounding, so that it does not depend on their order: a fixed-point
/// number that has room for products of two float32 of any size, in digits of 32 bits with 31 bits
/// to spare for carries.
///
/// Source: Kulisch, Computer Arithmetic and Validity, 2013, chapter 8 (the long accumulator).
class ExactSum {
 public:
  /// Digits: from 2^-320, below the smallest product's last bit, to 2^384.
  static constexpr std::size_t kDigits = 22;

  /// Local. Adds a number: exactly, if it is a multiple of 2^-320 below 2^320, as sums of up to 2^60
  /// products of two float32 are. Infinity and NaN make the whole sum NaN.
  void add(double value) noexcept;
  /// Local. Adds another sum.
  void add(const ExactSum& other) noexcept;
  /// Local. The sum, rounded once, towards zero in the last place at most.
  [[nodiscard]] double value() const noexcept;

  /// Local. What an Allreduce adds up, at most 2^31 ranks' of them: kNumbers numbers.
  static constexpr std::size_t kNumbers = kDigits + 1;
  void store(std::span<std::int64_t, kNumbers> numbers) const noexcept;
  void load(std::span<const std::int64_t, kNumbers> numbers) noexcept;
  /// Local. Whether numbers from outside are such as `store` makes.
  static bool is_stored(std::span<const std::int64_t, kNumbers> numbers) noexcept;

 private:
  void carry() noexcept;

  std::array<std::int64_t, kDigits> digits_{};
  std::int64_t not_finite_ = 0;  ///< numbers that were infinite or NaN
  std::uint32_t pending_ = 0;    ///< additions since the last carry
};

}  // namespace mpimerge::method
