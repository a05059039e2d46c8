#include "mpimerge/kernel/uniform.hpp"

#include <algorithm>

#include <xxhash.h>

// Highway compiles this file once for every generation of vector units.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/uniform.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace mpimerge::kernel {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Words = hn::ScalableTag<std::uint32_t>;
using Floats = hn::ScalableTag<float>;
using WordVector = hn::Vec<Words>;

constexpr Words kWords;
constexpr Floats kFloats;

#if HWY_TARGET == HWY_SCALAR
// One lane is what Uniform::at does.
std::size_t fill_blocks(std::array<std::uint32_t, 2> /*key*/,
                        std::array<std::uint32_t, 2> /*tensor*/, std::uint64_t /*block*/,
                        float* /*numbers*/, std::size_t /*count*/) {
  return 0;
}
#else
// The upper and the lower halves of the products of all lanes. Only even lanes multiply to 64 bits.
HWY_INLINE void multiply(WordVector a, WordVector b, WordVector& high, WordVector& low) {
  const WordVector even = hn::BitCast(kWords, hn::MulEven(a, b));
  const WordVector odd = hn::BitCast(kWords, hn::MulEven(hn::Shuffle2301(a), hn::Shuffle2301(b)));
  low = hn::OddEven(hn::Shuffle2301(odd), even);
  high = hn::OddEven(odd, hn::Shuffle2301(even));
}

HWY_INLINE hn::Vec<Floats> to_uniform(WordVector word) {
  // 24 bits, which a float holds: signed conversion is one instruction everywhere.
  const hn::RebindToSigned<Words> integers;
  const auto bits = hn::BitCast(integers, hn::ShiftRight<8>(word));
  return hn::Mul(hn::ConvertTo(kFloats, bits), hn::Set(kFloats, 0x1p-24F));
}

// Whole vectors of counters, four numbers of each. Returns how many numbers were made.
std::size_t fill_blocks(std::array<std::uint32_t, 2> key, std::array<std::uint32_t, 2> tensor,
                        std::uint64_t block, float* numbers, std::size_t count) {
  const std::size_t lanes = hn::Lanes(kWords);
  const WordVector first_factor = hn::Set(kWords, 0xD2511F53u);
  const WordVector second_factor = hn::Set(kWords, 0xCD9E8D57u);
  std::size_t made = 0;
  for (; made + 4 * lanes <= count; made += 4 * lanes, block += lanes) {
    const auto low = static_cast<std::uint32_t>(block);
    const WordVector from = hn::Set(kWords, low);
    WordVector c0 = hn::Add(from, hn::Iota(kWords, 0));
    // The lower word overflows within a vector once in 2^32 blocks.
    const auto wrapped = hn::Lt(c0, from);
    WordVector c1 = hn::Set(kWords, static_cast<std::uint32_t>(block >> 32));
    c1 = hn::Sub(c1, hn::VecFromMask(kWords, wrapped));
    WordVector c2 = hn::Set(kWords, tensor[0]);
    WordVector c3 = hn::Set(kWords, tensor[1]);
    std::uint32_t k0 = key[0];
    std::uint32_t k1 = key[1];
    for (int round = 0; round < 10; ++round) {
      WordVector high0, low0, high1, low1;
      multiply(c0, first_factor, high0, low0);
      multiply(c2, second_factor, high1, low1);
      c0 = hn::Xor(hn::Xor(high1, c1), hn::Set(kWords, k0));
      c1 = low1;
      c2 = hn::Xor(hn::Xor(high0, c3), hn::Set(kWords, k1));
      c3 = low0;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    hn::StoreInterleaved4(to_uniform(c0), to_uniform(c1), to_uniform(c2), to_uniform(c3), kFloats,
                          numbers + made);
  }
  return made;
}
#endif

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mpimerge::kernel
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mpimerge::kernel {
namespace {

HWY_EXPORT(fill_blocks);

constexpr std::uint32_t lower(std::uint64_t bits) { return static_cast<std::uint32_t>(bits); }
constexpr std::uint32_t upper(std::uint64_t bits) { return static_cast<std::uint32_t>(bits >> 32); }

}  // namespace

Uniform::Uniform(std::uint64_t seed, std::uint64_t model, std::string_view tensor) noexcept {
  const auto words = philox({lower(model), upper(model), 0, 0}, {lower(seed), upper(seed)});
  key_ = {words[0], words[1]};
  const std::uint64_t hash = XXH3_64bits(tensor.data(), tensor.size());
  tensor_ = {lower(hash), upper(hash)};
}

float Uniform::at(std::uint64_t element) const noexcept {
  const std::uint64_t block = element / 4;
  const auto words = philox({lower(block), upper(block), tensor_[0], tensor_[1]}, key_);
  return static_cast<float>(words[element % 4] >> 8) * 0x1p-24F;
}

void Uniform::fill(std::uint64_t first, std::span<float> numbers) const noexcept {
  std::size_t done = 0;
  for (; done < numbers.size() && (first + done) % 4 != 0; ++done) numbers[done] = at(first + done);
  done += HWY_DYNAMIC_DISPATCH(fill_blocks)(key_, tensor_, (first + done) / 4,
                                            numbers.data() + done, numbers.size() - done);
  for (; done < numbers.size(); ++done) numbers[done] = at(first + done);
}

}  // namespace mpimerge::kernel
#endif  // HWY_ONCE
