#include "mpimerge/kernel/bracket.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "mpimerge/kernel/convert.hpp"

namespace mpimerge::kernel {
namespace {

constexpr std::uint32_t kUnwritten = 0xeeeeeeeeU;

struct Found {
  BracketCount count;
  std::vector<std::uint32_t> list;
};

std::uint32_t magnitude(float value) { return std::bit_cast<std::uint32_t>(value) & 0x7fffffffU; }

// One element after another: what the kernel must equal.
Found count_plainly(const std::vector<float>& task, const std::vector<float>& base,
                    const Bracket& bracket) {
  Found found;
  for (std::size_t i = 0; i < task.size(); ++i) {
    const std::uint32_t bits = magnitude(task[i] - base[i]);
    found.count.largest = std::max(found.count.largest, bits);
    if (bits >= bracket.high) {
      ++found.count.above;
    } else if (bits >= bracket.low) {
      const auto end = bracket.atoms.begin() + static_cast<std::ptrdiff_t>(bracket.atom_count);
      const auto atom = std::find(bracket.atoms.begin(), end, bits);
      if (atom == end)
        found.list.push_back(bits);
      else
        ++found.count.atoms[static_cast<std::size_t>(atom - bracket.atoms.begin())];
    }
  }
  found.count.listed = found.list.size();
  return found;
}

// From odd bytes on; what stands behind the list's padding must stay.
Found count_by_kernel(base::Dtype dtype, const std::vector<float>& task,
                      const std::vector<float>& base, const Bracket& bracket) {
  std::vector<std::byte> task_bytes(1 + task.size() * base::element_bytes(dtype).value());
  std::vector<std::byte> base_bytes(3 + base.size() * base::element_bytes(dtype).value());
  const auto task_values = std::span(task_bytes).subspan(1);
  const auto base_values = std::span(base_bytes).subspan(3);
  from_f32(dtype, task, task_values);
  from_f32(dtype, base, base_values);
  std::vector<std::uint32_t> list(task.size() + kListPadding + 1, kUnwritten);
  Found found;
  found.count = count_bracket(dtype, task_values, base_values, bracket, list.data());
  EXPECT_EQ(list.back(), kUnwritten);
  list.resize(found.count.listed);
  found.list = list;
  return found;
}

// Lists have no order.
void expect_same(Found found, Found expected) {
  std::sort(found.list.begin(), found.list.end());
  std::sort(expected.list.begin(), expected.list.end());
  EXPECT_EQ(found.count.above, expected.count.above);
  EXPECT_EQ(found.count.atoms, expected.count.atoms);
  EXPECT_EQ(found.count.largest, expected.count.largest);
  EXPECT_EQ(found.list, expected.list);
}

std::vector<float> rounded(base::Dtype dtype, std::vector<float> values) {
  std::vector<std::byte> bytes(values.size() * base::element_bytes(dtype).value());
  from_f32(dtype, values, bytes);
  to_f32(dtype, bytes, values);
  return values;
}

std::vector<float> few_values(std::mt19937_64& random, std::size_t elements) {
  std::vector<float> values;
  for (std::size_t i = 0; i < elements; ++i)
    values.push_back(0.125F * (static_cast<float>(random() % 33) - 16.0F));
  return values;
}

Bracket bracket_of(std::uint32_t low, std::uint32_t high, std::vector<std::uint32_t> atoms) {
  Bracket bracket{low, high, {}, atoms.size()};
  std::copy(atoms.begin(), atoms.end(), bracket.atoms.begin());
  return bracket;
}

const std::vector<Bracket>& brackets() {
  static const std::vector<Bracket> list{
      bracket_of(0, Bracket::kEnd, {}), bracket_of(0, Bracket::kEnd, {0}),
      bracket_of(0, magnitude(1.0F), {}), bracket_of(0, 1, {}), bracket_of(0, 1, {0}),
      // Zeros just outside.
      bracket_of(1, Bracket::kEnd, {}), bracket_of(1, magnitude(1.0F), {magnitude(0.5F)}),
      bracket_of(magnitude(0.5F), magnitude(0.5F) + 1, {}),
      bracket_of(magnitude(0.5F), magnitude(0.5F) + 1, {magnitude(0.5F)}),
      bracket_of(magnitude(0.25F), magnitude(1.5F),
                 {magnitude(0.5F), magnitude(1.0F), magnitude(0.25F), magnitude(1.25F)}),
      bracket_of(magnitude(1.0F), Bracket::kEnd, {magnitude(2.0F)}),
      bracket_of(0x7f800000U, Bracket::kEnd, {0x7f800000U}),
      // An atom outside is never met.
      bracket_of(magnitude(0.5F), magnitude(1.0F), {magnitude(2.0F)})};
  return list;
}

class CountBracket : public testing::TestWithParam<base::Dtype> {};

TEST_P(CountBracket, EqualsPlainCountingForEveryLength) {
  std::mt19937_64 random(41);
  std::vector<std::size_t> lengths{255, 256, 257, 511, 512, 513};  // about whole vectors
  for (std::size_t elements = 0; elements < 700; elements += 1 + elements / 8)
    lengths.push_back(elements);
  for (const std::size_t elements : lengths) {
    const std::vector<float> base = rounded(GetParam(), few_values(random, elements));
    const std::vector<float> task = rounded(GetParam(), few_values(random, elements));
    for (const Bracket& bracket : brackets()) {
      SCOPED_TRACE(std::to_string(elements) + " elements, from " + std::to_string(bracket.low));
      expect_same(count_by_kernel(GetParam(), task, base, bracket),
                  count_plainly(task, base, bracket));
    }
  }
}

TEST_P(CountBracket, FindsWhatIsNotFinite) {
  std::vector<float> task(300, 1.0F);
  const std::vector<float> base(300, 0.5F);
  const Bracket bracket = brackets()[2];
  EXPECT_EQ(count_by_kernel(GetParam(), task, base, bracket).count.largest, magnitude(0.5F));
  task[299] = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(count_by_kernel(GetParam(), task, base, bracket).count.largest, 0x7f800000U);
  task[5] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_GT(count_by_kernel(GetParam(), task, base, bracket).count.largest, 0x7f800000U);
}

INSTANTIATE_TEST_SUITE_P(Types, CountBracket,
                         testing::Values(base::Dtype::f32, base::Dtype::bf16, base::Dtype::f16,
                                         base::Dtype::f64),
                         [](const auto& tested) { return std::string(base::name(tested.param)); });

TEST(CountListed, EqualsPlainCountingForEveryLength) {
  std::mt19937_64 random(3);
  for (const std::size_t elements : {0U, 1U, 127U, 255U, 256U, 257U, 1000U}) {
    std::vector<float> task = few_values(random, elements);
    if (elements > 200) task[elements / 2] = std::numeric_limits<float>::infinity();
    const std::vector<float> base(elements, 0.0F);
    for (const Bracket& bracket : brackets()) {
      SCOPED_TRACE(std::to_string(elements) + " elements, from " + std::to_string(bracket.low));
      std::vector<std::uint32_t> magnitudes;
      for (const float value : task) magnitudes.push_back(magnitude(value));
      magnitudes.resize(elements + kListPadding + 1, kUnwritten);
      std::vector<std::uint32_t> list(elements + kListPadding + 1, kUnwritten);
      Found found{count_listed(magnitudes.data(), elements, bracket, list.data()), {}};
      EXPECT_EQ(list.back(), kUnwritten);
      EXPECT_EQ(magnitudes.back(), kUnwritten);
      list.resize(found.count.listed);
      found.list = list;
      const Found expected = count_plainly(task, base, bracket);
      found.count.largest = expected.count.largest;  // not told
      expect_same(found, expected);
    }
  }
}

TEST(CountBracketByHand, CountsAboveInsideAndAtoms) {
  const std::vector<float> base(6, 10.0F);
  const std::vector<float> task{10, 11, 9, 12, 8.5F, 14};
  const Found found =
      count_by_kernel(base::Dtype::f32, task, base,
                      bracket_of(magnitude(1.0F), magnitude(2.0F), {magnitude(1.0F)}));
  EXPECT_EQ(found.count.above, 2U);
  EXPECT_EQ(found.count.atoms[0], 2U);
  EXPECT_EQ(found.list, std::vector<std::uint32_t>{magnitude(1.5F)});
  EXPECT_EQ(found.count.largest, magnitude(4.0F));
}

}  // namespace
}  // namespace mpimerge::kernel
