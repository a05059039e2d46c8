#pragma once

#include <compare>
#include <concepts>
#include <cstdint>

namespace mpimerge::base {

/// A 64-bit count or position that does not mix with others: adding bytes to elements does not
/// compile. `value()` is the way out, at the border to the standard library, MPI and HDF5.
template <class Tag>
class Strong {
 public:
  constexpr Strong() noexcept = default;
  constexpr explicit Strong(std::uint64_t value) noexcept : value_(value) {}

  /// Local. Free.
  [[nodiscard]] constexpr std::uint64_t value() const noexcept { return value_; }

  constexpr auto operator<=>(const Strong&) const noexcept = default;
  constexpr Strong& operator+=(Strong other) noexcept { return value_ += other.value_, *this; }
  constexpr Strong& operator-=(Strong other) noexcept { return value_ -= other.value_, *this; }
  friend constexpr Strong operator+(Strong a, Strong b) noexcept { return a += b; }
  friend constexpr Strong operator-(Strong a, Strong b) noexcept { return a -= b; }

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& value_;
  }

 private:
  std::uint64_t value_ = 0;
};

/// A number of elements, or the position of one, in a tensor, a shard or the whole model.
using Elements = Strong<struct ElementsTag>;
/// A number of bytes, or a position in a file.
using Bytes = Strong<struct BytesTag>;

/// Half-open: `begin` belongs to it, `end` does not.
template <class Index>
struct Range {
  Index begin{};
  Index end{};

  /// Local. Free.
  [[nodiscard]] constexpr Index count() const noexcept { return end - begin; }
  [[nodiscard]] constexpr bool empty() const noexcept { return begin == end; }
  constexpr bool operator==(const Range&) const noexcept = default;

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& begin& end;
  }
};

using ElementRange = Range<Elements>;

/// Local. What two ranges share; an empty range where they share nothing.
template <class Index>
[[nodiscard]] constexpr Range<Index> intersect(Range<Index> a, Range<Index> b) noexcept {
  const Index begin = a.begin < b.begin ? b.begin : a.begin;
  const Index end = a.end < b.end ? a.end : b.end;
  return begin < end ? Range<Index>{begin, end} : Range<Index>{begin, begin};
}

}  // namespace mpimerge::base
