#include "mpimerge/plan/build.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/plan/read_plan.hpp"

#include "plan/catalogs.hpp"

namespace mpimerge::plan {
namespace {

using base::Bytes;
using base::Dtype;
using base::Elements;
using checkpoint::Catalog;
using test::catalog;
using test::Shape;
using test::tensor;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> names(const Plan& plan, std::size_t group) {
  std::vector<std::string> list;
  for (auto at = plan.groups[group].first_tensor; at < plan.groups[group].last_tensor; ++at)
    list.push_back(plan.tensors[at].name);
  return list;
}

std::vector<std::uint64_t> offsets(const Plan& plan, std::size_t group) {
  std::vector<std::uint64_t> list;
  for (auto at = plan.groups[group].first_tensor; at < plan.groups[group].last_tensor; ++at)
    list.push_back(plan.tensors[at].offset.value());
  return list;
}

// Types alternate, so that grouping has to reorder.
Catalog mixed_base() {
  return catalog("base", {tensor("embed", Dtype::bf16, {10, 4}), tensor("ids", Dtype::i64, {3}),
                          tensor("norm", Dtype::f32, {4}), tensor("head", Dtype::bf16, {4, 10}),
                          tensor("scale", Dtype::f32, {}), tensor("none", Dtype::bf16, {0, 4}),
                          tensor("mask", Dtype::boolean, {7})});
}

Catalog renamed(Catalog model, const std::string& path) {
  model.path = path;
  return model;
}

TEST(BuildPlan, GroupsTensorsByTypeInTheOrderOfTheBase) {
  const Plan plan = build_plan({}, mixed_base(), {renamed(mixed_base(), "task")});

  ASSERT_EQ(plan.groups.size(), 4U);
  EXPECT_EQ(plan.groups[0].dtype, Dtype::bf16);
  EXPECT_EQ(plan.groups[1].dtype, Dtype::i64);
  EXPECT_EQ(plan.groups[2].dtype, Dtype::f32);
  EXPECT_EQ(plan.groups[3].dtype, Dtype::boolean);
  EXPECT_THAT(names(plan, 0), ElementsAre("embed", "head", "none"));
  EXPECT_THAT(names(plan, 1), ElementsAre("ids"));
  EXPECT_THAT(names(plan, 2), ElementsAre("norm", "scale"));
  EXPECT_THAT(names(plan, 3), ElementsAre("mask"));
}

TEST(BuildPlan, LaysTensorsOfAGroupBackToBack) {
  const Plan plan = build_plan({}, mixed_base(), {renamed(mixed_base(), "task")});

  EXPECT_THAT(offsets(plan, 0), ElementsAre(0, 40, 80));
  EXPECT_THAT(offsets(plan, 2), ElementsAre(0, 4));
  EXPECT_EQ(plan.groups[0].elements, Elements{80});
  EXPECT_EQ(plan.groups[1].elements, Elements{3});
  EXPECT_EQ(plan.groups[2].elements, Elements{5});
  EXPECT_EQ(plan.groups[3].elements, Elements{7});
}

TEST(BuildPlan, GroupsFollowEachOtherAndHoldEveryTensor) {
  const Plan plan = build_plan({}, mixed_base(), {renamed(mixed_base(), "task")});

  std::uint64_t next = 0;
  for (const Group& group : plan.groups) {
    EXPECT_EQ(group.first_tensor, next);
    next = group.last_tensor;
  }
  EXPECT_EQ(next, plan.tensors.size());
  EXPECT_EQ(plan.tensors.size(), mixed_base().tensors.size());
}

TEST(BuildPlan, MergesFloatingTensorsAndCopiesTheRest) {
  const Plan plan = build_plan({}, mixed_base(), {renamed(mixed_base(), "task")});

  for (const Tensor& each : plan.tensors) {
    const bool copied = each.name == "ids" || each.name == "mask";
    EXPECT_EQ(each.role, copied ? Role::copy : Role::merge) << each.name;
  }
  EXPECT_EQ(plan.merged, Elements{85});
  EXPECT_TRUE(plan.merges(0));
  EXPECT_FALSE(plan.merges(1));
  EXPECT_TRUE(plan.merges(2));
  EXPECT_FALSE(plan.merges(3));
}

TEST(BuildPlan, KeepsShapes) {
  const Plan plan = build_plan({}, mixed_base(), {});

  EXPECT_THAT(plan.tensors[0].shape, ElementsAre(10, 4));
  EXPECT_THAT(plan.tensors[2].shape, ElementsAre(0, 4));
  EXPECT_EQ(plan.tensors[2].elements, Elements{0});
  EXPECT_TRUE(plan.tensors[5].shape.empty());
  EXPECT_EQ(plan.tensors[5].elements, Elements{1});
}

TEST(BuildPlan, OutDtypeGathersFloatingTensorsInOneGroup) {
  Request request;
  request.out_dtype = Dtype::f16;

  const Plan plan = build_plan(request, mixed_base(), {renamed(mixed_base(), "task")});

  ASSERT_EQ(plan.groups.size(), 3U);
  EXPECT_EQ(plan.groups[0].dtype, Dtype::f16);
  EXPECT_THAT(names(plan, 0), ElementsAre("embed", "norm", "head", "scale", "none"));
  EXPECT_THAT(offsets(plan, 0), ElementsAre(0, 40, 44, 84, 85));
  EXPECT_EQ(plan.groups[1].dtype, Dtype::i64);
  EXPECT_EQ(plan.groups[2].dtype, Dtype::boolean);
  EXPECT_EQ(plan.sources[0].extents[1].dtype, Dtype::f32) << "inputs keep their types";
}

TEST(BuildPlan, FindsEveryTensorInEverySourceWhateverItsOrder) {
  Catalog task = catalog("task", {tensor("b", Dtype::f16, {2}), tensor("a", Dtype::f32, {3, 5})});
  task.files.push_back("task/second");
  task.tensors[1].file = 1;
  task.tensors[1].offset = Bytes{8};
  const Catalog base =
      catalog("base", {tensor("a", Dtype::f32, {3, 5}), tensor("b", Dtype::f32, {2})});

  const Plan plan = build_plan({}, base, {task});

  ASSERT_EQ(plan.sources.size(), 2U);
  EXPECT_EQ(plan.sources[0].name, "base");
  EXPECT_EQ(plan.sources[1].name, "task");
  EXPECT_THAT(plan.sources[0].files, ElementsAre("base/model.safetensors"));
  EXPECT_THAT(plan.sources[1].files, ElementsAre("task/model.safetensors", "task/second"));
  const auto& in_base = plan.sources[0].extents;
  EXPECT_EQ(in_base[0].offset, Bytes{100});
  EXPECT_EQ(in_base[1].offset, Bytes{160});
  const auto& in_task = plan.sources[1].extents;
  EXPECT_EQ(in_task[0].file, 1U);
  EXPECT_EQ(in_task[0].offset, Bytes{8});
  EXPECT_EQ(in_task[0].dtype, Dtype::f32);
  EXPECT_EQ(in_task[1].file, 0U);
  EXPECT_EQ(in_task[1].offset, Bytes{100});
  EXPECT_EQ(in_task[1].dtype, Dtype::f16);
}

TEST(BuildPlan, LetsFloatingTypesDiffer) {
  const Dtype floating[] = {Dtype::f64, Dtype::f32, Dtype::f16, Dtype::bf16};
  for (const Dtype in_base : floating) {
    for (const Dtype in_task : floating) {
      EXPECT_NO_THROW(build_plan({}, catalog("base", {tensor("a", in_base, {4})}),
                                 {catalog("task", {tensor("a", in_task, {4})})}));
    }
  }
}

// The line that building the plan is refused with.
std::string refusal(const Catalog& base, const std::vector<Catalog>& tasks,
                    const Request& request = {}) {
  try {
    build_plan(request, base, tasks);
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), base::ErrorKind::input);
    EXPECT_THAT(error.what(), testing::Not(HasSubstr("\n")));
    return error.what();
  }
  ADD_FAILURE() << "was not refused";
  return {};
}

Catalog small(const std::string& path) {
  return catalog(path, {tensor("a", Dtype::f32, {2, 3}), tensor("b", Dtype::i64, {4}),
                        tensor("c", Dtype::bf16, {5})});
}

TEST(BuildPlan, RefusesAMissingTensor) {
  Catalog task = small("models/second");
  task.tensors.erase(task.tensors.begin() + 2);

  const std::string line = refusal(small("models/base"), {small("models/first"), task});

  EXPECT_THAT(line, HasSubstr("models/second"));
  EXPECT_THAT(line, HasSubstr("`c`"));
  EXPECT_THAT(line, HasSubstr("missing"));
}

TEST(BuildPlan, RefusesAnExtraTensor) {
  Catalog task = small("models/second");
  task.tensors.insert(task.tensors.begin() + 1, tensor("stray", Dtype::f32, {1}));

  const std::string line = refusal(small("models/base"), {small("models/first"), task});

  EXPECT_THAT(line, HasSubstr("models/second"));
  EXPECT_THAT(line, HasSubstr("`stray`"));
  EXPECT_THAT(line, HasSubstr("not in the base"));
}

TEST(BuildPlan, RefusesARenamedTensor) {
  Catalog task = small("task");
  task.tensors[0].name = "A";

  EXPECT_THAT(refusal(small("base"), {task}), HasSubstr("`a`"));
}

TEST(BuildPlan, RefusesAnotherShapeOfTheSameSize) {
  Catalog task = small("models/task");
  task.tensors[0].shape = {3, 2};

  const std::string line = refusal(small("base"), {task});

  EXPECT_THAT(line, HasSubstr("models/task: tensor `a` has shape [3, 2]"));
  EXPECT_THAT(line, HasSubstr("base has [2, 3]"));
}

TEST(BuildPlan, RefusesAnotherNumberOfDimensions) {
  Catalog task = small("models/task");
  task.tensors[0].shape = {2, 3, 1};

  EXPECT_THAT(refusal(small("base"), {task}), HasSubstr("[2, 3, 1]"));
}

TEST(BuildPlan, RefusesAnotherKindOfType) {
  struct Row {
    std::size_t tensor;
    Dtype found;
    const char* expected;
  };
  const Row table[] = {{0, Dtype::i32, "F32"},  {0, Dtype::f8_e4m3, "F32"},
                       {1, Dtype::f32, "I64"},  {1, Dtype::u64, "I64"},
                       {2, Dtype::i16, "BF16"}, {1, Dtype::f8_e5m2, "I64"}};
  for (const Row& row : table) {
    Catalog task = small("models/task");
    task.tensors[row.tensor].dtype = row.found;

    const std::string line = refusal(small("base"), {task});

    EXPECT_THAT(line, HasSubstr("models/task: tensor `" + task.tensors[row.tensor].name +
                                "` is of type " + std::string(base::name(row.found)) + ","));
    EXPECT_THAT(line, HasSubstr(std::string("but of type ") + row.expected + " in the base base;"));
  }
}

TEST(BuildPlan, RefusesABaseWithNothingToMerge) {
  const Catalog integers = catalog("models/base", {tensor("ids", Dtype::i64, {4})});
  EXPECT_THAT(refusal(integers, {renamed(integers, "task")}), HasSubstr("models/base"));

  const Catalog empty =
      catalog("models/base", {tensor("ids", Dtype::i64, {4}), tensor("none", Dtype::f32, {0})});
  EXPECT_THAT(refusal(empty, {renamed(empty, "task")}), HasSubstr("models/base"));

  EXPECT_THAT(refusal(catalog("models/base", {}), {}), HasSubstr("models/base"));
}

// A file can be one large hole; then headers may claim what no sum of 64 bits holds.
TEST(BuildPlan, RefusesMoreThanAnExbibyte) {
  const auto of = [](std::uint64_t elements) {
    return catalog("models/base",
                   {tensor("a", Dtype::u8, {elements}), tensor("b", Dtype::f64, {1})});
  };
  constexpr std::uint64_t kMost = std::uint64_t{1} << 60;
  EXPECT_NO_THROW(build_plan({}, of(kMost / 2 - 8), {renamed(of(kMost / 2 - 8), "task")}));
  EXPECT_THAT(refusal(of(kMost / 2 - 8), {renamed(of(kMost / 2 - 7), "task")}),
              HasSubstr("task: up to its tensor `b` the models hold more than 1.15 EB"));
  for (const std::uint64_t elements : {kMost, kMost * 8, UINT64_MAX}) {
    EXPECT_THAT(refusal(of(elements), {renamed(of(elements), "task")}),
                HasSubstr("models/base: up to its tensor"));
  }
}

TEST(BuildPlan, RefusalsShowStrangeNamesOnOneLine) {
  const auto with = [](const checkpoint::TensorInfo& strange) {
    Catalog model = small("model");
    model.tensors.push_back(strange);
    return model;
  };
  const Catalog strange = with(tensor("two\nlines", Dtype::f32, {4}));

  EXPECT_THAT(refusal(small("base"), {strange}), HasSubstr("two\\x0alines"));
  EXPECT_THAT(refusal(strange, {small("task")}), HasSubstr("two\\x0alines"));
  EXPECT_THAT(refusal(strange, {with(tensor("two\nlines", Dtype::f32, {2, 2}))}),
              HasSubstr("two\\x0alines"));
}

TEST(BuildPlan, CopiesWhatTheFiltersLeaveOutInItsOwnType) {
  Request request;
  request.out_dtype = Dtype::f16;
  request.include = {"e*", "norm", "head"};
  request.exclude = {"embed"};
  Catalog task = renamed(mixed_base(), "task");
  task.tensors[0].shape = {11, 4};  // nobody looks at what is left out

  const Plan plan = build_plan(request, mixed_base(), {task});

  for (std::size_t number = 0; number < plan.tensors.size(); ++number) {
    const Tensor& each = plan.tensors[number];
    const bool is_merged = each.name == "norm" || each.name == "head";
    EXPECT_EQ(each.role, is_merged ? Role::merge : Role::copy) << each.name;
    EXPECT_EQ(plan.sources[1].extents[number].is_absent(), !is_merged) << each.name;
    EXPECT_FALSE(plan.sources[0].extents[number].is_absent()) << each.name;
  }
  EXPECT_EQ(plan.merged, Elements{44});
  EXPECT_THAT(names(plan, 0), ElementsAre("embed", "none"));
  EXPECT_EQ(plan.groups[0].dtype, Dtype::bf16);
}

TEST(BuildPlan, TakesAModelsOtherTensorsWhereTheFiltersLeaveThemOut) {
  Request request;
  request.exclude = {"st?ay*"};
  Catalog base = small("base");
  base.tensors.push_back(tensor("stray", Dtype::f32, {1}));
  Catalog task = small("task");
  task.tensors.push_back(tensor("stray.too", Dtype::f32, {2}));

  EXPECT_EQ(build_plan(request, base, {task}).tensors.size(), 4U);
}

TEST(BuildPlan, RefusesAFilterThatFitsNothing) {
  for (const std::string filter : {"lm_haed", "A", "??", "*b*b"}) {
    Request request;
    request.exclude = {"a", filter};
    try {
      build_plan(request, small("models/base"), {small("task")});
      ADD_FAILURE() << filter;
    } catch (const base::Error& error) {
      EXPECT_THAT(error.what(),
                  HasSubstr("models/base: no tensor fits the filter `" + filter + "` of exclude"));
    }
  }
}

Catalog without(Catalog model, std::size_t number) {
  model.tensors.erase(model.tensors.begin() + static_cast<std::ptrdiff_t>(number));
  return model;
}

TEST(BuildPlan, LeavesAModelOutOfATensorThatItLacks) {
  Request request;
  request.missing = Missing::skip;

  const Plan plan =
      build_plan(request, small("base"), {without(small("first"), 2), small("second")});

  EXPECT_EQ(plan.tensors[2].name, "c");
  EXPECT_EQ(plan.tensors[2].role, Role::merge);
  EXPECT_TRUE(plan.sources[1].extents[2].is_absent());
  EXPECT_FALSE(plan.sources[2].extents[2].is_absent());
  EXPECT_FALSE(plan.sources[1].extents[0].is_absent());
}

TEST(BuildPlan, CopiesTheBasesTensorThatAllModelsLack) {
  Request request;
  request.missing = Missing::skip;
  request.out_dtype = Dtype::f32;
  const std::vector<Catalog> tasks = {without(small("first"), 2), without(small("second"), 2)};

  const Plan plan = build_plan(request, small("base"), tasks);
  EXPECT_EQ(plan.tensors[2].role, Role::copy);
  EXPECT_EQ(plan.groups[2].dtype, Dtype::bf16);
  EXPECT_EQ(plan.merged, Elements{6});

  request.has_base = false;  // then the first model is merged, be it alone
  EXPECT_EQ(build_plan(request, small("base"), tasks).merged, Elements{11});
}

TEST(BuildPlan, GivesAModelTheBasesValuesOfATensorThatItLacks) {
  Request request;
  request.missing = Missing::base;
  Catalog base = small("base");
  base.files.insert(base.files.begin(), "base/first");
  for (auto& each : base.tensors) each.file = 1;

  const Plan plan = build_plan(request, base, {without(without(small("task"), 2), 0)});

  EXPECT_THAT(plan.sources[1].files,
              ElementsAre("task/model.safetensors", "base/model.safetensors"));
  for (std::size_t number = 0; number < 3; ++number) {
    const std::uint32_t file = plan.tensors[number].name == "b" ? 0 : 1;
    EXPECT_EQ(plan.sources[1].extents[number].file, file) << number;
    if (file == 1) {
      EXPECT_EQ(plan.sources[1].extents[number].offset, plan.sources[0].extents[number].offset);
      EXPECT_EQ(plan.sources[1].extents[number].dtype, plan.sources[0].extents[number].dtype);
    }
  }
}

// Each has embeddings of so many rows of 4, and a head with its bias.
Catalog vocabulary(const std::string& path, std::uint64_t rows) {
  return catalog(path, {tensor("model.embed_tokens.weight", Dtype::bf16, {rows, 4}),
                        tensor("model.norm.weight", Dtype::bf16, {4}),
                        tensor("lm_head.weight", Dtype::bf16, {rows, 4}),
                        tensor("lm_head.bias", Dtype::bf16, {rows})});
}

TEST(BuildPlan, MergesTheRowsOfEmbeddingsThatAllModelsHaveAndCopiesTheOthersOfTheBase) {
  Request request;
  request.common_rows = true;
  request.out_dtype = Dtype::f32;
  const Plan plan =
      build_plan(request, vocabulary("base", 10), {vocabulary("a", 12), vocabulary("b", 7)});

  EXPECT_THAT(names(plan, 0), ElementsAre("model.embed_tokens.weight", "model.embed_tokens.weight",
                                          "model.norm.weight", "lm_head.weight", "lm_head.weight",
                                          "lm_head.bias", "lm_head.bias"));
  EXPECT_THAT(offsets(plan, 0), ElementsAre(0, 28, 40, 44, 72, 84, 91));
  EXPECT_EQ(plan.merged, Elements{28 + 4 + 28 + 7});
  EXPECT_EQ(output_tensors(plan), 4U);
  const Tensor& rest = plan.tensors[1];
  EXPECT_TRUE(rest.is_rest);
  EXPECT_EQ(rest.role, Role::copy);
  EXPECT_THAT(rest.shape, ElementsAre(3, 4));
  EXPECT_EQ(rest.elements, Elements{12});
  EXPECT_THAT(plan.tensors[0].shape, ElementsAre(7, 4));
  EXPECT_FALSE(plan.tensors[0].is_rest);
  EXPECT_EQ(plan.sources[0].extents[1].offset, Bytes{100 + 28 * 2});
  EXPECT_EQ(plan.sources[1].extents[0].offset, Bytes{100});
  EXPECT_EQ(plan.sources[1].extents[3].offset, Bytes{100 + 12 * 4 * 2 + 8});
}

TEST(BuildPlan, LeavesEmbeddingsWholeThatOnlyOthersHaveMoreRowsOf) {
  Request request;
  request.common_rows = true;
  const Plan plan = build_plan(request, vocabulary("base", 10), {vocabulary("a", 12)});
  EXPECT_EQ(plan.tensors.size(), 4U);
  EXPECT_EQ(plan.merged, Elements{40 + 4 + 40 + 10});
}

TEST(BuildPlan, RefusesOtherRowsOfEmbeddingsAndSaysWhatMergesThem) {
  EXPECT_EQ(
      refusal(vocabulary("base", 10), {vocabulary("a", 12)}),
      "a: tensor `model.embed_tokens.weight` has shape [12, 4], but the base base has [10, 4]; "
      "`embeddings: common rows` merges the rows that all have");
}

TEST(BuildPlan, LetsOnlyRowsOfEmbeddingsDiffer) {
  Request request;
  request.common_rows = true;
  const auto refuses = [&](const std::string& name, Shape of_base, Shape of_task) {
    const std::string line =
        refusal(catalog("base", {tensor(name, Dtype::f32, std::move(of_base))}),
                {catalog("task", {tensor(name, Dtype::f32, std::move(of_task))})}, request);
    EXPECT_THAT(line, HasSubstr("task: tensor `" + name + "` has shape"));
    EXPECT_THAT(line, testing::Not(HasSubstr("common rows")));
  };
  refuses("model.embed_tokens.weight", {10, 4}, {10, 5});
  refuses("model.embed_tokens.weight", {10, 4}, {0, 4});
  refuses("model.layers.0.embed.weight", {10, 4}, {12, 4});
  refuses("classifier.weight", {10, 4}, {12, 4});
  refuses("embed_norm.weight", {10}, {12});
}

// A head that is the embeddings again, by the bytes.
Catalog tied(const std::string& path) {
  Catalog made = catalog(
      path, {tensor("embed.weight", Dtype::bf16, {10, 4}), tensor("norm", Dtype::bf16, {4})});
  made.tensors.insert(made.tensors.begin() + 1, made.tensors[0]);
  made.tensors[1].name = "lm_head.weight";
  made.tied = {{"lm_head.weight", "embed.weight"}};
  return made;
}

TEST(BuildPlan, CountsATensorOnceThatAllModelsHaveTwice) {
  const Plan plan = build_plan({}, tied("base"), {tied("a"), tied("b")});
  ASSERT_EQ(plan.tensors.size(), 3U);
  EXPECT_EQ(plan.tensors[1].name, "lm_head.weight");
  EXPECT_EQ(plan.tensors[1].twin, 0U);
  EXPECT_FALSE(plan.tensors[1].counts());
  EXPECT_EQ(plan.tensors[1].role, Role::merge);
  EXPECT_EQ(plan.merged, Elements{44});
}

TEST(BuildPlan, CountsATensorThatSomeModelHasOnItsOwn) {
  Catalog own = tied("b");
  own.tied.clear();
  const Plan plan = build_plan({}, tied("base"), {tied("a"), own});
  EXPECT_EQ(plan.tensors[1].twin, Tensor::kNone);
  EXPECT_EQ(plan.merged, Elements{84});
}

TEST(BuildPlan, CountsATensorWhoseTwinIsLeftOut) {
  Request request;
  request.exclude = {"embed"};
  const Plan plan = build_plan(request, tied("base"), {tied("a")});
  EXPECT_EQ(plan.tensors[1].twin, Tensor::kNone);
  EXPECT_EQ(plan.merged, Elements{44});
}

TEST(BuildPlan, ReadsNothingOfABaseOfOneValueButWhatIsCopied) {
  Request request;
  request.exclude = {"c"};
  Catalog base = small("first");
  base.content = checkpoint::Content::ones;
  const Plan plan = build_plan(request, base, {small("first"), without(small("second"), 2)});

  for (std::size_t number = 0; number < plan.tensors.size(); ++number) {
    const Extent& extent = plan.sources[0].extents[number];
    const bool is_merged = plan.tensors[number].role == Role::merge;
    EXPECT_EQ(extent.origin, is_merged ? Origin::ones : Origin::file);
    const Segment whole{number, {Elements{0}, plan.tensors[number].elements}, Elements{0}};
    EXPECT_GT(source_bytes(plan, 0, whole), Bytes{0}) << "it takes memory";
    EXPECT_EQ(read_bytes(plan, 0, whole), is_merged ? Bytes{0} : source_bytes(plan, 0, whole));
    EXPECT_EQ(plan.sources[1].extents[number].origin, Origin::file);
  }
}

TEST(BuildPlan, AModelThatLacksATensorHasTheOneValueOfItsBase) {
  Request request;
  request.missing = Missing::base;
  Catalog base = small("first");
  base.content = checkpoint::Content::zeros;
  const Plan plan = build_plan(request, base, {small("first"), without(small("second"), 0)});

  EXPECT_EQ(plan.sources[1].extents[0].origin, Origin::file);
  EXPECT_EQ(plan.sources[2].extents[0].origin, Origin::zeros);
  EXPECT_FALSE(plan.sources[2].extents[0].is_absent());
}

TEST(BuildPlan, ReadsNothingOfAModelThatLacksATensor) {
  Request request;
  request.missing = Missing::skip;
  const Plan all = build_plan(request, small("base"), {small("first"), small("second")});
  const Plan some =
      build_plan(request, small("base"), {without(small("first"), 2), small("second")});

  EXPECT_EQ(shard_bytes(all, 0).read - shard_bytes(some, 0).read, Bytes{5 * 2});
  const Segment all_of_c{2, {Elements{0}, Elements{5}}, Elements{0}};
  EXPECT_EQ(source_bytes(some, 1, all_of_c), Bytes{0});
  EXPECT_EQ(source_bytes(some, 2, all_of_c), Bytes{10});
}

TEST(BuildPlan, ReadAllReadsEveryTensorFromEverySource) {
  Request request;
  request.read_all = true;

  const Plan plan = build_plan(request, mixed_base(), {renamed(mixed_base(), "other")});

  for (const Tensor& each : plan.tensors) EXPECT_EQ(each.role, Role::merge) << each.name;
  EXPECT_TRUE(plan.merges(1));
  EXPECT_EQ(plan.merged, Elements{80 + 3 + 5 + 7});
}

TEST(BuildPlan, ReadAllTakesModelsWithoutFloatingTensors) {
  Request request;
  request.read_all = true;
  const Catalog integers = catalog("a", {tensor("ids", Dtype::i64, {4})});

  EXPECT_EQ(build_plan(request, integers, {renamed(integers, "b")}).merged, Elements{4});
}

TEST(BuildPlan, ReadAllTakesModelsWithoutElements) {
  Request request;
  request.read_all = true;
  const Catalog empty = catalog("a", {tensor("none", Dtype::f32, {0})});

  EXPECT_EQ(build_plan(request, empty, {renamed(empty, "b")}).merged, Elements{0});
}

constexpr std::uint64_t kMebi = std::uint64_t{1} << 20;

Plan plan_of_one(const Request& request, std::uint64_t elements, Dtype dtype, int tasks) {
  const Catalog base = catalog("base", {tensor("a", dtype, {elements})});
  return build_plan(request, base, std::vector<Catalog>(static_cast<std::size_t>(tasks), base));
}

TEST(BuildPlan, BeginsShardsOfLargeGroupsAtTheAlignmentOfTheFile) {
  Request request;
  request.ranks = 7;
  request.alignment = Bytes{4 * kMebi};

  const Plan plan = plan_of_one(request, 1000 * kMebi + 3, Dtype::bf16, 2);

  EXPECT_EQ(plan.groups[0].block, Elements{2 * kMebi});
  EXPECT_EQ(plan.alignment, Bytes{4 * kMebi});
}

TEST(BuildPlan, CutsSmallGroupsEvenly) {
  for (const std::uint64_t elements : {1000U, 12'345U, 100'000U, 5'000'000U}) {
    Request request;
    request.ranks = 7;
    const Plan plan = plan_of_one(request, elements, Dtype::f32, 2);
    const std::uint64_t longest = plan.shards(0).longest().value();
    const std::uint64_t even = (elements + request.ranks - 1) / request.ranks;

    EXPECT_LE(longest, even + even / 8 + 16) << elements;
    EXPECT_FALSE(plan.shards(0).shard(request.ranks - 1).empty()) << elements;
  }
}

TEST(BuildPlan, TakesAnAlignmentOfOneByte) {
  Request request;
  request.ranks = 3;
  request.alignment = Bytes{1};

  const Plan plan = plan_of_one(request, 1'000'000, Dtype::f64, 1);

  EXPECT_EQ(plan.shards(0).shard(2).end, Elements{1'000'000});
}

TEST(BuildPlan, ChunksAreWhatWasAskedForInTheOutputsType) {
  Request request;
  request.chunk = Bytes{kMebi};
  EXPECT_EQ(plan_of_one(request, 100 * kMebi, Dtype::f32, 2).groups[0].chunk, Elements{kMebi / 4});
  EXPECT_EQ(plan_of_one(request, 100 * kMebi, Dtype::bf16, 2).groups[0].chunk, Elements{kMebi / 2});

  request.out_dtype = Dtype::f64;
  EXPECT_EQ(plan_of_one(request, 100 * kMebi, Dtype::bf16, 2).groups[0].chunk, Elements{kMebi / 8});
}

TEST(BuildPlan, ChunksOfManyTasksFitTheChunkMemory) {
  Request request;
  request.chunk_memory = Bytes{64 * kMebi};
  for (const int tasks : {1, 4, 40, 400}) {
    const Plan plan = plan_of_one(request, 1000 * kMebi, Dtype::f32, tasks);
    const std::uint64_t bytes =
        plan.groups[0].chunk.value() * 4 * static_cast<std::uint64_t>(tasks + 1);

    EXPECT_LE(bytes, 64 * kMebi) << tasks;
    EXPECT_LE(plan.groups[0].chunk.value() * 4, request.chunk.value()) << tasks;
  }
}

TEST(BuildPlan, ChunksFitTheChunkMemoryWhereTheTasksTypesAreWidest) {
  Request request;
  request.chunk = Bytes{64 * kMebi};
  request.chunk_memory = Bytes{kMebi};
  const Catalog base =
      catalog("base", {tensor("a", Dtype::f32, {1'000'000}), tensor("b", Dtype::f32, {1'000'000})});
  Catalog task = renamed(base, "task");
  task.tensors[0].dtype = Dtype::f64;

  EXPECT_LE(build_plan(request, base, {task}).groups[0].chunk.value() * (4 + 8), kMebi);
}

TEST(BuildPlan, ChunksOfCopiedTensorsTakeTheMemoryOfTheBaseAlone) {
  Request request;
  request.chunk = Bytes{64 * kMebi};
  request.chunk_memory = Bytes{kMebi};
  const Catalog base =
      catalog("base", {tensor("a", Dtype::f32, {1}), tensor("ids", Dtype::i64, {1'000'000})});
  const Plan plan = build_plan(request, base, std::vector<Catalog>(7, base));

  EXPECT_EQ(plan.groups[1].chunk, Elements{kMebi / 8});
}

TEST(BuildPlan, ChunksAndBlocksArePowersOfTwo) {
  for (const std::uint64_t bytes : {std::uint64_t{1}, std::uint64_t{5000}, 3 * kMebi}) {
    Request request;
    request.ranks = 3;
    request.chunk = Bytes{bytes};
    const Plan plan = plan_of_one(request, 3'000'000, Dtype::f32, 3);

    EXPECT_TRUE(std::has_single_bit(plan.groups[0].chunk.value())) << bytes;
    EXPECT_TRUE(std::has_single_bit(plan.groups[0].block.value())) << bytes;
    EXPECT_GE(plan.groups[0].chunk.value() * 4, 4096U) << bytes;
  }
}

TEST(BuildPlan, ChunksAreWorthACallHoweverSmallTheChunkMemory) {
  Request request;
  request.chunk_memory = Bytes{1};

  EXPECT_EQ(plan_of_one(request, 1'000'000, Dtype::f32, 400).groups[0].chunk, Elements{1024});
}

TEST(UnitElements, AreAPowerOfTwoThatGrowsWithTheGroup) {
  EXPECT_EQ(unit_elements(0), 16U);
  EXPECT_EQ(unit_elements(std::uint64_t{1} << 21), 32U);
  EXPECT_EQ(unit_elements((std::uint64_t{1} << 22) - 1), 32U);
  EXPECT_EQ(unit_elements(std::uint64_t{1} << 50), 1024U);
}

TEST(BuildPlan, NothingBeginsWithinAUnit) {
  for (const std::uint64_t elements : {std::uint64_t{5'000'001}, std::uint64_t{1} << 27}) {
    const std::uint64_t unit = unit_elements(elements);
    for (const std::uint64_t ranks : {1U, 3U, 64U, 5000U}) {
      for (const std::uint64_t smallest : {1U, 1U << 23}) {
        Request request;
        request.ranks = ranks;
        request.alignment = Bytes{smallest};
        request.chunk = Bytes{smallest};
        const Catalog base = catalog("base", {tensor("t", Dtype::f64, {elements})});
        const Plan plan = build_plan(request, base, {base});
        const ReadPlan reads = plan_reads(plan, Bytes{smallest});
        EXPECT_EQ(plan.groups[0].block.value() % unit, 0U) << elements << " over " << ranks;
        EXPECT_EQ(plan.groups[0].chunk.value() % unit, 0U) << elements << " over " << ranks;
        // A block may be as long as a shard, which then has no other.
        EXPECT_TRUE(reads.blocks[0].value() % unit == 0 ||
                    reads.blocks[0] >= plan.shards(0).longest())
            << elements << " over " << ranks;
      }
    }
  }
}

TEST(BuildPlan, ShardsAreWorthARankHoweverManyThereAre) {
  Request request;
  request.ranks = 1000;

  EXPECT_EQ(plan_of_one(request, 1000, Dtype::f32, 1).groups[0].block, Elements{16});
}

}  // namespace
}  // namespace mpimerge::plan
