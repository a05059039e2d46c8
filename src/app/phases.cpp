#include "app/phases.hpp"

#include <utility>

#include <fmt/format.h>

#include "mpimerge/base/log.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/comm/collectives.hpp"

namespace mpimerge::app {

void Phases::add(std::string name, double seconds, base::Bytes bytes) {
  const double slowest = comm::all_reduce_max(comm_, seconds);
  const base::Bytes all{comm::all_reduce_sum(comm_, bytes.value())};
  if (all == base::Bytes{}) {
    base::log().info("{:<7} in {:8.3f} s", name, slowest);
  } else {
    const double rate = slowest > 0 ? static_cast<double>(all.value()) / slowest / 1e9 : 0;
    base::log().info("{:<7} in {:8.3f} s  {:>10}  {:6.2f} GB/s", name, slowest,
                     base::human_bytes(all), rate);
  }
  phases_.push_back({std::move(name), slowest, all});
}

}  // namespace mpimerge::app
