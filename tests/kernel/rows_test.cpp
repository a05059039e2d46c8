#include "mpimerge/kernel/rows.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "mpimerge/kernel/choose.hpp"

namespace mpimerge::kernel {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Values of all kinds, elsewhere for each seed; a length that is no multiple of any vector's.
std::vector<float> some(std::uint32_t seed) {
  std::uint32_t state = seed;
  std::vector<float> values{0, -0.0F, 1, -1, kNaN, kInfinity, -kInfinity, 1e-40F};
  while (values.size() < 203) {
    state = state * 1664525U + 1013904223U;
    const auto number = static_cast<float>(static_cast<std::int32_t>(state) >> 28);
    values.push_back(number / 4);
  }
  std::rotate(values.begin(), values.end() - 3 * static_cast<std::ptrdiff_t>(seed), values.end());
  return values;
}

std::vector<std::uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits;
  for (const float value : values)
    bits.push_back(std::isnan(value) ? 0x7fc00000u : std::bit_cast<std::uint32_t>(value));
  return bits;
}

// The row that a kernel makes of rows that begin at an odd float, against one made by elements.
template <class Kernel, class Element>
void expect_each(Kernel kernel, Element element) {
  const std::vector<float> a = some(1);
  const std::vector<float> b = some(2);
  for (const std::size_t count : {0U, 1U, 7U, 64U, 203U}) {
    std::vector<float> memory(count + 2, 77.0F);
    std::vector<float> expected = memory;
    for (std::size_t i = 0; i < count; ++i) {
      memory[i + 1] = a[i];
      expected[i + 1] = element(a[i], b[i], i);
    }
    kernel(b.data(), count, memory.data() + 1);
    ASSERT_EQ(bits_of(memory), bits_of(expected)) << count << " elements";
  }
}

TEST(Choose, TakesOneOfTwo) {
  EXPECT_EQ(choose(true, 1, 2), 1);
  EXPECT_EQ(choose(false, 1, 2), 2);
  EXPECT_EQ(choose(false, kNaN, 2), 2);
  EXPECT_EQ(only_if(true, -3), -3);
  EXPECT_FALSE(std::signbit(only_if(false, -3)));
}

TEST(Rows, KeepWhatIsInTheRange) {
  const Kept kept{.low = std::bit_cast<std::uint32_t>(0.5F),
                  .high = std::bit_cast<std::uint32_t>(1.5F),
                  .scale = 3,
                  .weight = 0.7F};
  const std::vector<float> base = some(3);
  expect_each([&](const float* values, std::size_t count,
                  float* row) { keep_range(kept, values, base.data(), count, row); },
              [&](float, float value, std::size_t i) {
                const float delta = value - base[i];
                const bool keeps = std::abs(delta) >= 0.5F && std::abs(delta) <= 1.5F;
                return keeps ? 0.7F * (3 * delta) : 0.0F;
              });
}

TEST(Rows, KeepEverythingByDefault) {
  const std::vector<float> base = some(3);
  expect_each([&](const float* values, std::size_t count,
                  float* row) { keep_range({}, values, base.data(), count, row); },
              [&](float, float value, std::size_t i) { return value - base[i]; });
}

TEST(Rows, KeepWhereTheRandomNumberIsBelow) {
  const std::vector<float> base = some(3);
  const std::vector<float> random = some(4);
  expect_each(
      [&](const float* values, std::size_t count, float* row) {
        keep_below(0.25F, random.data(), {.scale = 3, .weight = 0.7F}, values, base.data(), count,
                   row);
      },
      [&](float, float value, std::size_t i) {
        return random[i] < 0.25F ? 0.7F * (3 * (value - base[i])) : 0.0F;
      });
}

TEST(Rows, AddUp) {
  expect_each(add_row, [](float sum, float value, std::size_t) { return sum + value; });
}

TEST(Rows, HaveSigns) {
  for (const float tie : {-1.0F, 0.0F, 1.0F}) {
    expect_each([&](const float* values, std::size_t count,
                    float* signs) { signs_of(values, tie, count, signs); },
                [&](float, float value, std::size_t) {
                  return value > 0 ? 1.0F : value < 0 ? -1.0F : tie;
                });
  }
}

TEST(Rows, CountSigns) {
  const std::vector<float> values = some(4);
  for (const std::size_t count : {0U, 1U, 7U, 64U, 203U}) {
    std::int64_t expected = 0;
    for (std::size_t i = 0; i < count; ++i)
      expected += (values[i] > 0 ? 1 : 0) - (values[i] < 0 ? 1 : 0);
    EXPECT_EQ(sum_signs(values.data(), count), expected) << count;
  }
}

TEST(Rows, HaveAVariance) {
  const std::vector<float> base = some(3);
  const std::vector<std::vector<float>> rows{some(1), some(2), some(4), some(5), some(6)};
  std::vector<const float*> models;
  for (const auto& row : rows) {
    models.push_back(row.data());
    const auto count = static_cast<double>(models.size());
    for (const std::size_t elements : {0U, 1U, 7U, 64U, 203U}) {
      std::vector<float> found(elements + 1, 77.0F);
      std::vector<float> expected = found;
      variances(models, base.data(), elements, found.data());
      for (std::size_t i = 0; i < elements; ++i) {
        double mean = 0;
        double squares = 0;
        for (const float* const model : models) mean += static_cast<double>(model[i] - base[i]);
        mean /= count;
        for (const float* const model : models) {
          const double distance = static_cast<double>(model[i] - base[i]) - mean;
          squares += distance * distance;
        }
        expected[i] = static_cast<float>(squares / count);
      }
      EXPECT_EQ(bits_of(found), bits_of(expected)) << count << " models, " << elements;
    }
  }
}

TEST(Rows, AddWhatAgrees) {
  std::vector<float> signs(203);
  signs_of(some(5).data(), 0, signs.size(), signs.data());
  const auto agrees = [&](float value, std::size_t i) {
    return signs[i] > 0 ? value > 0 : value < 0;
  };
  std::vector<float> weights(203);
  expect_each(
      [&](const float* row, std::size_t count, float* sum) {
        weights.assign(203, 1);
        add_agreeing(row, 0.3F, signs.data(), count, sum, weights.data());
      },
      [&](float sum, float value, std::size_t i) {
        return sum + (agrees(value, i) ? value : 0.0F);
      });
  const std::vector<float> row = some(2);
  for (std::size_t i = 0; i < row.size(); ++i)
    EXPECT_EQ(weights[i], agrees(row[i], i) ? 1.3F : 1.0F) << i;
}

TEST(Rows, AreDividedByWhatIsNotZero) {
  expect_each(divide_rows, [](float sum, float weights, std::size_t) {
    return weights == 0 ? sum : sum / weights;
  });
}

TEST(Rows, AreAppliedToTheBase) {
  const std::vector<float> base = some(3);
  expect_each([&](const float* sum, std::size_t count,
                  float* values) { apply(base.data(), 0.3F, sum, count, values); },
              [&](float value, float sum, std::size_t i) {
                const float scaled = 0.3F * (std::isnan(sum) ? sum : value);
                return base[i] + scaled;
              });
}

}  // namespace
}  // namespace mpimerge::kernel
