#pragma once

#include <cstdint>
#include <functional>

#include "mpimerge/base/index.hpp"

namespace mpimerge::output {

/// Called now and then in work of hours that communicates nothing: it goes on.
using GoesOn = std::function<void()>;

/// A stretch of one dataset of the output that has been written, and the checksum of its bytes.
struct Slab {
  std::uint64_t dataset = 0;  ///< its position in the layout
  base::ElementRange range;
  std::uint64_t checksum = 0;  ///< XXH3, 64 bits

  bool operator==(const Slab&) const = default;

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& dataset& range& checksum;
  }
};

}  // namespace mpimerge::output
