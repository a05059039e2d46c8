#include "method/rows.hpp"

#include <cmath>

#include "mpimerge/kernel/choose.hpp"
#include "mpimerge/kernel/rows.hpp"
#include "mpimerge/kernel/vectors.hpp"

namespace mpimerge::method {
namespace {

using kernel::choose;

// Puts the smaller value of each pair first. A NaN goes nowhere.
void order(float* smaller, float* larger, std::size_t elements) {
  kernel::with_vectors([=] {
    for (std::size_t i = 0; i < elements; ++i) {
      const float a = smaller[i];
      const float b = larger[i];
      smaller[i] = choose(b < a, b, a);
      larger[i] = choose(b < a, a, b);
    }
  });
}

}  // namespace

void sum_rows(std::span<float* const> rows, std::size_t elements, float* sum) {
  std::fill_n(sum, elements, 0.0F);
  for (const float* const row : rows) kernel::add_row(row, elements, sum);
}

void median_of_rows(std::span<float* const> rows, std::size_t elements, float* median) {
  std::fill_n(median, elements, 0.0F);
  for (const float* const row : rows) {
    kernel::with_vectors([=] {
      for (std::size_t i = 0; i < elements; ++i)
        median[i] = choose(row[i] == row[i], median[i], row[i]);
    });
  }
  // Odd-even transposition: as many rounds as rows, each over whole rows.
  for (std::size_t round = 0; round < rows.size(); ++round) {
    for (std::size_t row = round % 2; row + 1 < rows.size(); row += 2)
      order(rows[row], rows[row + 1], elements);
  }
  const float* const middle = rows[(rows.size() - 1) / 2];
  kernel::with_vectors([=] {
    for (std::size_t i = 0; i < elements; ++i)
      median[i] = choose(median[i] == median[i], middle[i], median[i]);
  });
}

void largest_of_rows(std::span<float* const> rows, std::size_t elements, float* largest) {
  std::copy_n(rows.front(), elements, largest);
  for (const float* const row : rows.subspan(1)) {
    kernel::with_vectors([=] {
      for (std::size_t i = 0; i < elements; ++i) {
        const float value = row[i];
        const float so_far = largest[i];
        // A NaN is larger than nothing, and nothing is larger than it.
        const float either = choose(std::abs(value) > std::abs(so_far), value, so_far);
        largest[i] = choose(value == value, either, value);
      }
    });
  }
}

}  // namespace mpimerge::method
