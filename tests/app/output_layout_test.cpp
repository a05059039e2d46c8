#include "app/output_layout.hpp"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/checkpoint/catalog.hpp"
#include "mpimerge/plan/build.hpp"

namespace mpimerge::app {
namespace {

using base::Bytes;
using base::Dtype;
using base::Elements;
using testing::ElementsAre;

// A checkpoint of the given tensors of `elements` each, back to back in one file.
checkpoint::Catalog catalog_of(
    const std::vector<std::tuple<std::string, Dtype, std::uint64_t>>& tensors) {
  checkpoint::Catalog catalog;
  catalog.path = "base";
  catalog.files = {"base/model.safetensors"};
  Bytes end{100};
  for (const auto& [name, dtype, elements] : tensors) {
    const Bytes bytes{elements * base::element_bytes(dtype).value()};
    catalog.tensors.push_back({name, dtype, {elements}, Elements{elements}, 0, end, bytes});
    end += bytes;
  }
  return catalog;
}

plan::Plan plan_of(const checkpoint::Catalog& catalog, std::optional<Dtype> out_dtype = {}) {
  plan::Request request;
  request.ranks = 3;
  request.out_dtype = out_dtype;
  return plan::build_plan(request, catalog, {catalog});
}

TEST(LayOutOutput, KeepsTheOrderOfTheBaseAcrossTypes) {
  const checkpoint::Catalog base = catalog_of({{"z", Dtype::bf16, 4},
                                               {"none", Dtype::f16, 0},
                                               {"y", Dtype::f32, 3},
                                               {"ids", Dtype::i64, 2},
                                               {"x", Dtype::bf16, 5}});
  const OutputLayout output = lay_out_output(plan_of(base));
  std::vector<std::string> names;
  std::vector<std::uint64_t> offsets;
  for (const output::Hdf5Tensor& tensor : output.layout.tensors) {
    names.push_back(tensor.name);
    offsets.push_back(tensor.offset.value());
  }
  EXPECT_THAT(names, ElementsAre("z", "none", "y", "ids", "x"));
  EXPECT_THAT(offsets, ElementsAre(0, 0, 0, 0, 4));
}

TEST(LayOutOutput, GivesNoDatasetToAGroupWithoutElements) {
  const checkpoint::Catalog base =
      catalog_of({{"none", Dtype::f16, 0}, {"y", Dtype::f32, 3}, {"x", Dtype::bf16, 5}});
  const plan::Plan plan = plan_of(base);
  const OutputLayout output = lay_out_output(plan);
  ASSERT_EQ(output.layout.datasets.size(), 2U);
  ASSERT_EQ(output.dataset_of.size(), plan.groups.size());
  for (std::size_t group = 0; group < plan.groups.size(); ++group) {
    if (plan.groups[group].elements == Elements{}) continue;
    const output::Hdf5Dataset& dataset = output.layout.datasets[output.dataset_of[group]];
    EXPECT_EQ(dataset.dtype, plan.groups[group].dtype);
    EXPECT_EQ(dataset.elements, plan.groups[group].elements);
  }
}

TEST(LayOutOutput, NamesTheTypeOfTheOutput) {
  const checkpoint::Catalog base = catalog_of({{"y", Dtype::f32, 3}, {"x", Dtype::f64, 5}});
  const OutputLayout output = lay_out_output(plan_of(base, Dtype::bf16));
  ASSERT_EQ(output.layout.datasets.size(), 1U);
  for (const output::Hdf5Tensor& tensor : output.layout.tensors)
    EXPECT_EQ(tensor.dtype, Dtype::bf16);
}

}  // namespace
}  // namespace mpimerge::app
