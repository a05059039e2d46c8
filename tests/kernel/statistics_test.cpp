#include "mpimerge/kernel/statistics.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "mpimerge/kernel/convert.hpp"

namespace mpimerge::kernel {
namespace {

// Some models, with many equal values, zeros of both signs and tiny ones, as the kernel takes them.
struct Models {
  base::Dtype dtype;
  std::vector<std::vector<std::byte>> raw;  // the base, then the tasks
  std::vector<std::vector<float>> values;
  std::vector<float> merged;

  Models(base::Dtype of, std::size_t tasks, std::size_t elements) : dtype(of) {
    std::mt19937 random(static_cast<unsigned>(tasks * 1000 + elements));
    for (std::size_t model = 0; model <= tasks; ++model) {
      std::vector<float> row;
      for (std::size_t i = 0; i < elements; ++i) {
        const auto step = static_cast<float>(random() % 9) - 4;
        const float value = (random() % 3 == 0 ? 0.0F : step) / 8;
        row.push_back(model == 0 ? step
                                 : values[0][i] + (random() % 17 == 0 ? value * 1e-3F : value));
      }
      raw.emplace_back(elements * base::element_bytes(dtype).value());
      from_f32(dtype, row, raw.back());
      to_f32(dtype, raw.back(), row);
      values.push_back(row);
    }
    for (std::size_t i = 0; i < elements; ++i)
      merged.push_back(values[0][i] + static_cast<float>(i % 5) / 3);
  }

  [[nodiscard]] float tau(std::size_t task, std::size_t i) const {
    return values[task + 1][i] - values[0][i];
  }
};

struct Result {
  std::vector<std::uint64_t> counts;
  std::vector<std::uint32_t> largest;
  std::vector<double> sums;
};

constexpr std::uint32_t kThreshold = 0x3e400000u;  // 0.1875

Result count(const Models& models, bool merged, bool in_detail = true) {
  const std::size_t tasks = models.raw.size() - 1;
  StatisticsKernel kernel(tasks);
  const StatisticsLayout& layout = kernel.layout();
  Result result{std::vector<std::uint64_t>(layout.counts()), std::vector<std::uint32_t>(tasks),
                std::vector<double>(layout.sums(), 77)};
  std::vector<TiesTask> parts(tasks);
  for (std::size_t task = 0; task < tasks; ++task)
    parts[task] = {models.raw[task + 1].data(), kThreshold, 1, 0};
  kernel.add(models.dtype, models.raw[0], parts, merged ? models.merged.data() : nullptr, in_detail,
             result.counts, result.largest, result.sums);
  return result;
}

std::size_t class_of(std::size_t positive, std::size_t negative) {
  const std::size_t nonzero = positive + negative;
  if (nonzero == 0) return kAgreementClasses - 1;
  return 10 * (positive > negative ? positive - negative : negative - positive) / nonzero;
}

std::size_t bin_of(float tau) {
  std::size_t bin = 0;
  while (bin + 1 < kMagnitudeBins && std::abs(tau) >= magnitude_bin_begin(bin + 1)) ++bin;
  return bin;
}

// The same, by its definition.
Result expected(const Models& models, bool merged) {
  const std::size_t tasks = models.raw.size() - 1;
  const StatisticsLayout layout{tasks};
  Result result{std::vector<std::uint64_t>(layout.counts()), std::vector<std::uint32_t>(tasks),
                std::vector<double>(layout.sums())};
  for (std::size_t i = 0; i < models.values[0].size(); ++i) {
    std::array<std::size_t, 2> before{};
    std::array<std::size_t, 2> after{};
    float total = 0;
    for (std::size_t task = 0; task < tasks; ++task) {
      const float tau = models.tau(task, i);
      const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(tau) & 0x7fffffffu;
      const bool kept = magnitude >= kThreshold;
      total += tau;
      if (tau != 0) ++before[tau > 0 ? 0 : 1];
      if (tau != 0 && kept) ++after[tau > 0 ? 0 : 1];
      result.counts[layout.nonzero(task)] += tau != 0;
      result.counts[layout.conflicts_before(task)] += before[0] > 0 && before[1] > 0;
      result.counts[layout.conflicts_after(task)] += after[0] > 0 && after[1] > 0;
      ++result.counts[layout.bin(task, bin_of(tau))];
      result.largest[task] = std::max(result.largest[task], magnitude);
      const auto wide = static_cast<double>(tau);
      result.sums[layout.magnitude(task)] += std::abs(wide);
      result.sums[layout.square(task)] += wide * wide;
      if (kept) result.sums[layout.kept_square(task)] += wide * wide;
    }
    const std::size_t of = class_of(before[0], before[1]);
    ++result.counts[layout.agreement_before(of)];
    ++result.counts[layout.detailed(of)];
    ++result.counts[layout.agreement_after(class_of(after[0], after[1]))];
    result.sums[layout.total_square()] += static_cast<double>(total) * static_cast<double>(total);
    result.sums[layout.total_magnitude(of)] += std::abs(static_cast<double>(total));
    if (merged) {
      const auto moved = static_cast<double>(models.merged[i] - models.values[0][i]);
      result.sums[layout.merged_square()] += moved * moved;
      result.sums[layout.merged_magnitude(of)] += std::abs(moved);
    }
    for (std::size_t a = 0; a < layout.paired(); ++a) {
      for (std::size_t b = a + 1; b < layout.paired(); ++b) {
        const double product =
            static_cast<double>(models.tau(a, i)) * static_cast<double>(models.tau(b, i));
        result.sums[layout.product(layout.pair(a, b))] += product;
        result.counts[layout.both_nonzero(layout.pair(a, b))] += product != 0;
        result.counts[layout.same_sign(layout.pair(a, b))] += product > 0;
      }
    }
  }
  return result;
}

// Magnitudes by class: each may be off by half of 2^-20 of the largest. Others nearly exact.
void expect_close(const StatisticsLayout& layout, const std::vector<double>& found,
                  const std::vector<double>& wanted, std::size_t elements) {
  ASSERT_EQ(found.size(), wanted.size());
  for (std::size_t sum = 0; sum < found.size(); ++sum) {
    const bool is_exact = sum < layout.merged_magnitude(0);
    double tolerance = is_exact ? 1e-14 * std::abs(wanted[sum]) : 20 * 0x1p-21;
    // From squares and products, where these are known of all tasks; else from rounded totals.
    if (sum == layout.total_square()) tolerance = 1e-6 * wanted[sum] + 1e-9;
    EXPECT_NEAR(found[sum], wanted[sum], tolerance * static_cast<double>(elements))
        << "sum " << sum;
  }
}

TEST(Statistics, EqualThoseByTheirDefinitionOnEveryProcessor) {
  static std::map<std::array<std::size_t, 3>, std::vector<double>> of_first_target;
  for (const base::Dtype dtype : {base::Dtype::bf16, base::Dtype::f16, base::Dtype::f32}) {
    for (const std::size_t tasks : {1U, 2U, 4U, 5U, 9U, 17U}) {
      for (const std::size_t elements : {1U, 7U, 63U, 200U, 1024U}) {
        SCOPED_TRACE(testing::Message() << tasks << " tasks, " << elements << " elements");
        const Models models(dtype, tasks, elements);
        const Result found = count(models, true);
        const Result wanted = expected(models, true);
        EXPECT_EQ(found.counts, wanted.counts);
        EXPECT_EQ(found.largest, wanted.largest);
        expect_close(StatisticsLayout{tasks}, found.sums, wanted.sums, elements);
        const auto [first, is_first] = of_first_target.emplace(
            std::array{static_cast<std::size_t>(dtype), tasks, elements}, found.sums);
        EXPECT_EQ(found.sums, first->second) << "another target has other bits";
      }
    }
  }
}

TEST(Statistics, WithoutDetailHaveNoBinsAndNoMagnitudesByClass) {
  const Models models(base::Dtype::bf16, 4, 300);
  const Result found = count(models, true, false);
  Result wanted = count(models, true);
  const StatisticsLayout layout{4};
  std::fill(wanted.counts.begin() + static_cast<std::ptrdiff_t>(layout.detailed(0)),
            wanted.counts.end(), 0);
  std::fill(wanted.sums.begin() + static_cast<std::ptrdiff_t>(layout.merged_magnitude(0)),
            wanted.sums.end(), 0);
  EXPECT_EQ(found.counts, wanted.counts);
  EXPECT_EQ(found.sums, wanted.sums);
}

TEST(Statistics, WithoutAMergedVectorHaveNothingOfIt) {
  const Models models(base::Dtype::f32, 3, 100);
  const Result found = count(models, false);
  const Result wanted = expected(models, false);
  EXPECT_EQ(found.counts, wanted.counts);
  expect_close(StatisticsLayout{3}, found.sums, wanted.sums, 100);
}

TEST(Statistics, GrowFromStretchToStretchAndForgetTheRowsOfLongerOnes) {
  const Models longer(base::Dtype::f32, 3, 1000);
  const Models shorter(base::Dtype::f32, 3, 10);
  StatisticsKernel kernel(3);
  const StatisticsLayout& layout = kernel.layout();
  Result both{std::vector<std::uint64_t>(layout.counts()), std::vector<std::uint32_t>(3),
              std::vector<double>(layout.sums())};
  for (const Models* models : {&longer, &shorter}) {
    std::vector<TiesTask> parts(3);
    for (std::size_t task = 0; task < 3; ++task)
      parts[task] = {models->raw[task + 1].data(), kThreshold, 1, 0};
    kernel.add(base::Dtype::f32, models->raw[0], parts, models->merged.data(), true, both.counts,
               both.largest, both.sums);
  }
  const Result of_longer = expected(longer, true);
  const Result of_shorter = expected(shorter, true);
  for (std::size_t place = 0; place < layout.counts(); ++place)
    ASSERT_EQ(both.counts[place], of_longer.counts[place] + of_shorter.counts[place]) << place;
  expect_close(layout, both.sums, of_shorter.sums, 10);
}

TEST(Statistics, HaveNaNInSumsAndNoSignWhereAValueIsNaN) {
  Models models(base::Dtype::f32, 2, 50);
  const std::uint32_t nan = 0x7fc00000u;
  std::memcpy(models.raw[1].data() + 40, &nan, sizeof(nan));
  const Result found = count(models, false);
  const StatisticsLayout layout{2};
  EXPECT_TRUE(std::isnan(found.sums[layout.square(0)]));
  EXPECT_FALSE(std::isnan(found.sums[layout.square(1)]));
  EXPECT_GE(found.largest[0], 0x7f800000u);
}

TEST(Statistics, CountNoAgreementOfMoreTasksThanTheirCountersHold) {
  const Models models(base::Dtype::bf16, kMostAgreeing + 2, 70);
  const Result found = count(models, true);
  const StatisticsLayout layout{kMostAgreeing + 2};
  double magnitude = 0;
  for (std::size_t of = 0; of < kAgreementClasses; ++of) {
    EXPECT_EQ(found.counts[layout.agreement_before(of)], 0U);
    magnitude += found.sums[layout.merged_magnitude(of)];
  }
  double wanted = 0;
  for (std::size_t i = 0; i < 70; ++i)
    wanted += std::abs(static_cast<double>(models.merged[i] - models.values[0][i]));
  EXPECT_NEAR(magnitude, wanted, 1e-6 * wanted);
}

TEST(Statistics, BinsBeginAtQuarterOctaves) {
  EXPECT_EQ(magnitude_bin_begin(0), 0);
  EXPECT_EQ(magnitude_bin_begin(1), 0x1.4p-50);
  EXPECT_EQ(magnitude_bin_begin(4), 0x1p-49);
  EXPECT_EQ(magnitude_bin_begin(200), 1);
  EXPECT_EQ(magnitude_bin_begin(kMagnitudeBins), 0x1p14);
}

}  // namespace
}  // namespace mpimerge::kernel
