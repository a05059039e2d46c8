#pragma once

#include <concepts>
#include <limits>
#include <source_location>
#include <stdexcept>
#include <string>
#include <utility>

namespace mpimerge::base {

/// Local. `value` as the narrower type `To`; a value that does not fit throws std::out_of_range
/// with the place of the call. The one cast for the `int` counts of MPI and the sizes of HDF5.
template <std::integral To, std::integral From>
constexpr To narrow(From value, std::source_location where = std::source_location::current()) {
  if (!std::in_range<To>(value)) {
    throw std::out_of_range("the number " + std::to_string(value) + " does not fit at " +
                            where.file_name() + ":" + std::to_string(where.line()));
  }
  return static_cast<To>(value);
}

}  // namespace mpimerge::base
