#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "method/run_in_memory.hpp"

namespace mpimerge::test {

/// Three models of one tensor whose sums are exact in float32. What published programs made of them
/// stands in the tests.
inline const std::vector<float> kGoldenBase{1, -2, 0.5F, 4, -1, 0.25F, 3, -0.5F};
inline const std::vector<std::vector<float>> kGoldenDeltas{
    {0.5F, -0.25F, 0, -1, -0.125F, 0.3125F, 0.1875F, -1.125F},
    {-0.5F, -0.4375F, 1, 0.5625F, 0.25F, 0.0625F, -1.25F, -0.125F},
    {0.1875F, 0.625F, -0.25F, 0.0625F, -2, 0.125F, 0.5F, 0}};

inline TensorValues golden_tensor(std::size_t models, bool with_base) {
  TensorValues tensor{.name = "golden", .shape = {2, 4}, .models = {}};
  for (std::size_t model = 0; model < models; ++model) {
    tensor.models.push_back(kGoldenBase);
    for (std::size_t i = 0; i < kGoldenBase.size(); ++i)
      tensor.models.back()[i] += kGoldenDeltas[model][i];
  }
  if (with_base) tensor.base = kGoldenBase;
  return tensor;
}

/// Tensors of several shapes whose values look random, none of them a multiple of the cuts.
inline std::vector<TensorValues> assorted_tensors(std::size_t models, bool with_base,
                                                  bool with_files = false) {
  std::vector<TensorValues> tensors;
  std::uint32_t state = 12345;
  const auto next = [&state] {
    state = state * 1664525U + 1013904223U;
    return static_cast<float>(state >> 8) * 0x1p-24F - 0.5F;
  };
  const std::vector<std::vector<std::uint64_t>> shapes{{7, 41}, {33}, {3, 5, 19}, {1}, {90, 6}};
  for (const auto& shape : shapes) {
    std::size_t elements = 1;
    for (const std::uint64_t extent : shape) elements *= extent;
    TensorValues tensor{
        .name = "tensor." + std::to_string(tensors.size()), .shape = shape, .models = {}};
    std::vector<float> base(elements);
    for (float& value : base) value = next();
    for (std::size_t model = 0; model < models; ++model) {
      tensor.models.push_back(base);
      const float size = 0.1F * static_cast<float>(model + 1);
      for (float& value : tensor.models.back()) value += size * next();
      if (!with_files) continue;
      tensor.files.emplace_back(elements);
      for (float& value : tensor.files.back()) value = std::abs(next());
    }
    if (with_base) tensor.base = base;
    tensors.push_back(tensor);
  }
  return tensors;
}

inline void expect_near(const std::vector<float>& actual, const std::vector<double>& expected,
                        double relative) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i)
    EXPECT_NEAR(actual[i], expected[i], relative * std::max(1.0, std::abs(expected[i])))
        << "element " << i;
}

}  // namespace mpimerge::test
