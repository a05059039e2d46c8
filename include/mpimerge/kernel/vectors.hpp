#pragma once

#include <cstdint>

namespace mpimerge::kernel {

/// Vector units that loops are compiled for; a later one has those before it.
enum class Vectors : std::uint8_t {
  any,     ///< what every processor of the architecture has
  avx2,    ///< 256 bits
  avx512,  ///< 512 bits: the AVX-512 of servers
};

/// Local. The best that this processor has.
[[nodiscard]] Vectors vectors() noexcept;

/// Local. Takes no better ones from here on, for tests; what the processor lacks stays out.
void limit_vectors(Vectors most) noexcept;

#if defined(__x86_64__) && defined(__GNUC__)
// `flatten` brings the body, and what it calls, into a function that may use these instructions.
template <class Body>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl"), gnu::flatten, gnu::noinline]] void run_avx512(
    const Body& body) {
  body();
}
template <class Body>
[[gnu::target("avx2"), gnu::flatten, gnu::noinline]] void run_avx2(const Body& body) {
  body();
}
#endif

/// Local. Runs `body`, a function object of plain loops, compiled for the vector units that this
/// processor has. Without fused multiply-add and reordering, which the build rules out, the bits are
/// the same for all of them.
///
///     kernel::with_vectors([=] {  // copies of pointers and numbers: compilers know them as constant
///       for (std::size_t i = 0; i < elements; ++i) sum[i] += weight * row[i];
///     });
template <class Body>
void with_vectors(const Body& body) {
#if defined(__x86_64__) && defined(__GNUC__)
  switch (vectors()) {
    case Vectors::avx512: return run_avx512(body);
    case Vectors::avx2: return run_avx2(body);
    case Vectors::any: break;
  }
#endif
  body();
}

}  // namespace mpimerge::kernel
