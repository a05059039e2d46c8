// The exact thresholds of 10^8 elements that no rank holds whole, beside std::nth_element over all.
#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "mpimerge/select/threshold_search.hpp"

#include "support/hash.hpp"
#include "support/world.hpp"

namespace mpimerge::select {
namespace {

using test::hash;
using test::world;

constexpr std::uint64_t kElements = 100'000'000;

// Bell-shaped, and coarse enough that equal magnitudes abound.
float value(std::uint64_t index) {
  const std::uint64_t random = hash(1, index);
  const auto part = [&](unsigned shift) { return static_cast<int>((random >> shift) & 0xfffffU); };
  return 1e-9F * static_cast<float>(part(0) + part(20) + part(40) - 3 * 0x80000);
}

std::vector<std::uint32_t> search_sharded(const std::vector<std::uint64_t>& positions) {
  const auto rank = static_cast<std::uint64_t>(world().rank());
  const auto ranks = static_cast<std::uint64_t>(world().ranks());
  const std::uint64_t begin = kElements * rank * rank / (ranks * ranks);  // shards of unequal size
  const std::uint64_t end = kElements * (rank + 1) * (rank + 1) / (ranks * ranks);
  ThresholdSearch search(kElements, positions);
  std::vector<float> tile;
  const std::vector<float> base(4096);
  std::vector<std::uint32_t> list(4096 + kernel::kListPadding);
  while (!search.done()) {
    for (std::uint64_t at = search.needs_values() ? begin : end; at < end; at += tile.size()) {
      tile.resize(std::min<std::uint64_t>(4096, end - at));
      for (std::size_t i = 0; i < tile.size(); ++i) tile[i] = value(at + i);
      for (std::size_t task = 0; task < positions.size(); ++task) {
        const kernel::BracketCount count = kernel::count_bracket(
            base::Dtype::f32, std::as_bytes(std::span(tile)),
            std::as_bytes(std::span(base).first(tile.size())), search.bracket(task), list.data());
        search.add(task, count, std::span(list).first(count.listed));
      }
    }
    search.advance(world());
  }
  return search.thresholds();
}

std::vector<std::uint32_t> search_whole(const std::vector<std::uint64_t>& positions) {
  std::vector<std::uint32_t> bits(kElements);
  for (std::uint64_t i = 0; i < kElements; ++i)
    bits[i] = std::bit_cast<std::uint32_t>(value(i)) & 0x7fffffffU;
  std::vector<std::uint32_t> found;
  for (const std::uint64_t position : positions) {
    const auto nth = bits.begin() + static_cast<std::ptrdiff_t>(position - 1);
    std::nth_element(bits.begin(), nth, bits.end());
    found.push_back(*nth);
  }
  return found;
}

TEST(LargeSearch, FindsTheExactThresholdsOf10To8Elements) {
  // Densities of 20 %, 1 % and 10^-8.
  const std::vector<std::uint64_t> positions{80'000'000, 99'000'000, 99'999'999};

  const std::vector<std::uint32_t> found = search_sharded(positions);

  if (world().is_root()) {
    EXPECT_EQ(found, search_whole(positions));
  }
}

}  // namespace
}  // namespace mpimerge::select
