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
// Numbers of 32 bits in lanes of 64, whose upper halves are anything: products are of 64 bits.
using Pairs = hn::ScalableTag<std::uint64_t>;
using PairVector = hn::Vec<Pairs>;
constexpr Pairs kPairs;

HWY_INLINE PairVector multiply(PairVector a, WordVector factor) {
  return hn::MulEven(hn::BitCast(kWords, a), factor);
}

HWY_INLINE hn::Vec<Floats> to_uniform(PairVector words) {
  // 24 bits, which a float holds: signed conversion is one instruction everywhere.
  const hn::RebindToSigned<Words> integers;
  const auto bits = hn::BitCast(integers, hn::ShiftRight<8>(hn::BitCast(kWords, words)));
  return hn::Mul(hn::ConvertTo(kFloats, bits), hn::Set(kFloats, 0x1p-24F));
}

// Two numbers of 32 bits in each lane: the lower one first.
HWY_INLINE PairVector paired(PairVector low, PairVector high) {
  const auto lower = hn::And(low, hn::Set(kPairs, std::uint64_t{0xffffffffu}));
  return hn::Or(lower, hn::ShiftLeft<32>(high));
}

// Whole vectors of counters, four numbers of each. Returns how many numbers were made.
std::size_t fill_blocks(std::array<std::uint32_t, 2> key, std::array<std::uint32_t, 2> tensor,
                        std::uint64_t block, float* numbers, std::size_t count) {
  const std::size_t lanes = hn::Lanes(kPairs);
  const WordVector first_factor = hn::Set(kWords, 0xD2511F53u);
  const WordVector second_factor = hn::Set(kWords, 0xCD9E8D57u);
  // Even lanes have the first counters, odd ones those behind: two neighbours' results then make up
  // 128 bits each of two vectors of numbers that are in order.
  HWY_ALIGN std::uint64_t places[HWY_LANES(std::uint64_t)];
  for (std::size_t lane = 0; lane < lanes; ++lane) places[lane] = lane / 2 + lane % 2 * (lanes / 2);
  const PairVector place = hn::Load(kPairs, places);
  std::size_t made = 0;
  for (; made + 4 * lanes <= count; made += 4 * lanes, block += lanes) {
    PairVector c0 = hn::Add(hn::Set(kPairs, block), place);
    PairVector c1 = hn::ShiftRight<32>(c0);
    PairVector c2 = hn::Set(kPairs, std::uint64_t{tensor[0]});
    PairVector c3 = hn::Set(kPairs, std::uint64_t{tensor[1]});
    std::uint32_t k0 = key[0];
    std::uint32_t k1 = key[1];
    for (int round = 0; round < 10; ++round) {
      const PairVector first = multiply(c0, first_factor);
      const PairVector second = multiply(c2, second_factor);
      c0 = hn::Xor3(hn::ShiftRight<32>(second), c1, hn::Set(kPairs, std::uint64_t{k0}));
      c1 = second;
      c2 = hn::Xor3(hn::ShiftRight<32>(first), c3, hn::Set(kPairs, std::uint64_t{k1}));
      c3 = first;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    const PairVector first_words = paired(c0, c1);
    const PairVector last_words = paired(c2, c3);
    const PairVector even = hn::InterleaveLower(kPairs, first_words, last_words);
    const PairVector odd = hn::InterleaveUpper(kPairs, first_words, last_words);
    hn::StoreU(to_uniform(even), kFloats, numbers + made);
    hn::StoreU(to_uniform(odd), kFloats, numbers + made + 2 * lanes);
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
