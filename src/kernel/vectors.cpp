#include "mpimerge/kernel/vectors.hpp"

#include <algorithm>
#include <atomic>

namespace mpimerge::kernel {
namespace {

Vectors of_processor() {
#if defined(__x86_64__) && defined(__GNUC__)
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (has_avx512) return Vectors::avx512;
  if (__builtin_cpu_supports("avx2")) return Vectors::avx2;
#endif
  return Vectors::any;
}

std::atomic<Vectors>& chosen() {
  static std::atomic<Vectors> vectors{of_processor()};
  return vectors;
}

}  // namespace

Vectors vectors() noexcept { return chosen().load(std::memory_order_relaxed); }

void limit_vectors(Vectors most) noexcept { chosen() = std::min(most, of_processor()); }

}  // namespace mpimerge::kernel
