#include "report/groups.hpp"

#include <cmath>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/example.hpp"

namespace mpimerge::report {
namespace {

using testing::DoubleEq;
using testing::ElementsAre;

Groups groups_of(const ordered_json& summary) {
  return group(read_document(summary.dump(), "merged.h5").report);
}

TEST(Group, AddsUpByKindAndTakesExpertsTogether) {
  const Groups groups = groups_of(full_summary());

  ASSERT_EQ(groups.kinds.size(), 3U);
  EXPECT_EQ(groups.kinds[0].name, "embed.weight");
  EXPECT_TRUE(groups.kinds[0].layers.empty());
  EXPECT_EQ(groups.kinds[1].rest, "up.weight");
  EXPECT_EQ(groups.kinds[1].all.elements, 20U);
  EXPECT_EQ(groups.kinds[1].all.conflicts_before_trim, 5U);
  EXPECT_THAT(groups.kinds[1].all.kept, ElementsAre(5, 9));
  ASSERT_EQ(groups.kinds[1].layers.size(), 2U);
  EXPECT_EQ(groups.kinds[1].layers[1].second.conflicts_before_trim, 1U);
  EXPECT_EQ(groups.kinds[2].name, "h.*.experts.*.w");
  EXPECT_EQ(groups.kinds[2].all.tensors, 2U);
  EXPECT_EQ(groups.kinds[2].all.elements, 10U);
}

TEST(Group, AddsUpByLayerAndOutsideOfLayers) {
  const Groups groups = groups_of(full_summary());

  EXPECT_THAT(groups.stacks, ElementsAre("h.*"));
  ASSERT_EQ(groups.layers.size(), 2U);
  const Sums& last = groups.layers[1].sums;
  EXPECT_EQ(last.tensors, 3U);
  EXPECT_EQ(last.conflicts_before_trim, 4U);
  EXPECT_THAT(last.kept, ElementsAre(5, 6));
  EXPECT_THAT(last.vector_squares, ElementsAre(DoubleEq(27), DoubleEq(48)));
  EXPECT_THAT(last.dots, ElementsAre(DoubleEq(12 * 0.5 + 12 - 12)));
  EXPECT_DOUBLE_EQ(*last.merged_square, 108);
  ASSERT_TRUE(groups.outside);
  EXPECT_EQ(groups.outside->elements, 10U);
  EXPECT_DOUBLE_EQ(groups.layers[0].sums.mean_kept_share(), 0.35);
}

TEST(Group, KeepsStacksApart) {
  ordered_json tensors = ordered_json::array();
  for (const char* stack : {"encoder.", "decoder."}) {
    for (const int layer : {1, 0})
      tensors.push_back(
          tensor(basic_row(10, {2, 5}, 4, 2), "x", layer, std::string(stack) + "*.up"));
  }
  const Groups groups = groups_of(summary_of("basic", basic_row(40, {8, 20}, 16, 8), tensors));

  EXPECT_THAT(groups.stacks, ElementsAre("encoder.*", "decoder.*"));
  ASSERT_EQ(groups.layers.size(), 4U);
  EXPECT_EQ(groups.layers[0].stack, "encoder.*");
  EXPECT_EQ(groups.layers[0].number, 0U);
  EXPECT_EQ(groups.layers[2].stack, "decoder.*");
  EXPECT_EQ(groups.kinds[0].layers[0].first, 0U);
}

TEST(Sums, OfNoElementsHaveNoShares) { EXPECT_TRUE(std::isnan(Sums{}.share(0))); }

}  // namespace
}  // namespace mpimerge::report
