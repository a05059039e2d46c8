#include "method/row_ranks.hpp"

#include <array>
#include <bit>

namespace mpimerge::method {

void RowRanks::rank(const float* values, std::size_t elements, double* places) {
  items_.resize(elements);
  other_.resize(elements);
  for (std::size_t i = 0; i < elements; ++i)
    items_[i] = {std::bit_cast<std::uint32_t>(values[i]) & 0x7fffffffu, i};
  // Sorted digit by digit, from the last on: each step keeps the order of equal digits.
  for (unsigned shift = 0; shift < 32; shift += 8) {
    std::array<std::size_t, 257> begin{};
    for (const Item& item : items_) ++begin[((item.magnitude >> shift) & 0xffu) + 1];
    for (std::size_t digit = 1; digit < begin.size(); ++digit) begin[digit] += begin[digit - 1];
    for (const Item& item : items_) other_[begin[(item.magnitude >> shift) & 0xffu]++] = item;
    items_.swap(other_);
  }
  for (std::size_t rank = 0; rank < elements; ++rank)
    places[items_[rank].element] = place(rank, elements);
}

}  // namespace mpimerge::method
