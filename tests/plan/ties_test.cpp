#include "mpimerge/plan/ties.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/plan/build.hpp"

#include "plan/catalogs.hpp"

namespace mpimerge::plan {
namespace {

using base::Dtype;
using checkpoint::Catalog;
using checkpoint::TensorInfo;
using test::catalog;
using test::tensor;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

constexpr auto kEmbeddings = "model.embed_tokens.weight";
constexpr auto kHead = "lm_head.weight";

Catalog with_head(const std::string& path) {
  return catalog(path,
                 {tensor(kHead, Dtype::f32, {10, 4}), tensor(kEmbeddings, Dtype::f32, {10, 4}),
                  tensor("model.norm.weight", Dtype::f32, {4})});
}

Catalog without_head(const std::string& path) {
  return catalog(path, {tensor(kEmbeddings, Dtype::f32, {10, 4}),
                        tensor("model.norm.weight", Dtype::f32, {4})});
}

Catalog tied(Catalog model) {
  model.tied = {{kHead, kEmbeddings}};
  return model;
}

const TensorInfo* find(const Catalog& model, const std::string& name) {
  const auto found = std::ranges::find(model.tensors, name, &TensorInfo::name);
  return found == model.tensors.end() ? nullptr : &*found;
}

// Whether the head is read where the embeddings lie.
bool head_is_the_embeddings(const Catalog& model) {
  const TensorInfo* const head = find(model, kHead);
  return head != nullptr && head->offset == find(model, kEmbeddings)->offset &&
         model.tied.contains(kHead);
}

TEST(ResolveTies, LeavesModelsWithoutTiesAlone) {
  for (const bool has_head : {true, false}) {
    const auto make = has_head ? with_head : without_head;
    std::vector<Catalog> models{make("base"), make("a")};
    EXPECT_THAT(resolve_ties(models), IsEmpty());
    for (const Catalog& model : models) {
      EXPECT_THAT(model.tied, IsEmpty());
      EXPECT_EQ(model.tensors.size(), has_head ? 3U : 2U);
      EXPECT_EQ(model.tensors[0].name, has_head ? kHead : kEmbeddings);
    }
  }
}

TEST(ResolveTies, MergesATiedHeadAsTheEmbeddings) {
  std::vector<Catalog> models{tied(with_head("base")), without_head("a"), tied(with_head("b"))};
  EXPECT_THAT(resolve_ties(models), ElementsAre(HasSubstr("counted once")));
  for (const Catalog& model : models) EXPECT_TRUE(head_is_the_embeddings(model)) << model.path;
  const Plan plan = build_plan({}, models[0], {models[1], models[2]});
  EXPECT_EQ(plan.merged, base::Elements{44});
  EXPECT_FALSE(unties_head(models[0], plan));
}

TEST(ResolveTies, LeavesATiedHeadOutThatTheFirstModelLacks) {
  std::vector<Catalog> models{without_head("base"), tied(with_head("a"))};
  EXPECT_THAT(resolve_ties(models), ElementsAre(HasSubstr("`lm_head.weight` of a is left out")));
  EXPECT_EQ(find(models[1], kHead), nullptr);
  EXPECT_THAT(models[1].tied, IsEmpty());
  EXPECT_EQ(build_plan({}, models[0], {models[1]}).tensors.size(), 2U);
}

TEST(ResolveTies, AHeadOfItsOwnInOneModelIsTheEmbeddingsInTheOthers) {
  std::vector<Catalog> models{without_head("base"), with_head("a"), tied(with_head("b"))};
  EXPECT_THAT(resolve_ties(models),
              ElementsAre("`lm_head.weight` is one of its own in a; the other models count with "
                          "`model.embed_tokens.weight`"));
  EXPECT_TRUE(head_is_the_embeddings(models[0]));
  EXPECT_FALSE(head_is_the_embeddings(models[1]));
  EXPECT_TRUE(head_is_the_embeddings(models[2]));
  const Plan plan = build_plan({}, models[0], {models[1], models[2]});
  EXPECT_EQ(plan.merged, base::Elements{84});
  EXPECT_TRUE(unties_head(models[0], plan));
}

TEST(ResolveTies, MakesNoHeadWhereTheConfigurationSaysThatItIsOneOfItsOwn) {
  std::vector<Catalog> models{with_head("base"), without_head("a")};
  models[1].ties_embeddings = false;
  EXPECT_THAT(resolve_ties(models), IsEmpty());
  EXPECT_EQ(find(models[1], kHead), nullptr);
}

TEST(ResolveTies, SuppliesWhatOneModelHasTwiceAndAnotherOnce) {
  const auto make = [](const std::string& path, bool twice) {
    Catalog made = catalog(
        path, {tensor("shared.weight", Dtype::f32, {10, 4}), tensor("norm", Dtype::f32, {4})});
    if (!twice) return made;
    made.tensors.insert(made.tensors.begin(), made.tensors[0]);
    made.tensors[0].name = "encoder.embed_tokens.weight";
    made.tied = {{"encoder.embed_tokens.weight", "shared.weight"}};
    return made;
  };
  std::vector<Catalog> models{make("base", true), make("a", false)};
  resolve_ties(models);
  EXPECT_THAT(models[1].tied, ElementsAre(Pair("encoder.embed_tokens.weight", "shared.weight")));
  EXPECT_EQ(build_plan({}, models[0], {models[1]}).merged, base::Elements{44});
}

}  // namespace
}  // namespace mpimerge::plan
