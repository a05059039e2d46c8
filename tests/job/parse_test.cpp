#include "mpimerge/job/parse.hpp"

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/base/error.hpp"
#include "mpimerge/job/numbers.hpp"

#include "job/support.hpp"
#include "support/temp_dir.hpp"

namespace mpimerge::job::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

std::string with(std::string_view more) { return std::string(kSmallest) + std::string(more); }

std::string error_of(const std::filesystem::path& file) {
  try {
    parse_job_file(file, {});
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), base::ErrorKind::job);
    return error.what();
  }
  return {};
}

std::filesystem::path write_file(const std::filesystem::path& file, std::string_view text) {
  std::ofstream(file, std::ios::binary) << text;
  return file;
}

TEST(ParseJob, ReadsEveryKeyOfTheFormat) {
  const Job job = parse(R"(merge_method: ties
base_model: checkpoints/base
models:
  - model: checkpoints/math
  - model: checkpoints/code
    parameters: {density: 0.3, weight: 0.5}
parameters:
  density: 0.25
  lambda: 1.5
  weight: 2
trim_scope: model
elect: mass
sign_tie: positive
aggregate: disjoint-max
compat: paper
nan: allow
dtype: float32
out_dtype: bfloat16
output: [merged.h5, /scratch/merged.hdf5, merged/, ../other]
output_hints: {alignment: 4MiB, striping_factor: 16, romio_cb_write: enable}
)");
  EXPECT_EQ(job.method, "ties");
  EXPECT_EQ(job.base_name, "checkpoints/base");
  EXPECT_EQ(job.base_path, "dir/checkpoints/base");
  ASSERT_EQ(job.tasks.size(), 2U);
  EXPECT_EQ(job.tasks[0].name, "checkpoints/math");
  EXPECT_EQ(job.tasks[0].path, "dir/checkpoints/math");
  EXPECT_EQ(constant(job, "density", 0), 0.25);
  EXPECT_EQ(constant(job, "weight", 0), 2.0);
  EXPECT_EQ(job.tasks[0].line, 4);
  EXPECT_EQ(constant(job, "density", 1), 0.3);
  EXPECT_EQ(constant(job, "weight", 1), 0.5);
  EXPECT_EQ(job.tasks[1].line, 5);
  EXPECT_EQ(constant(job, "lambda"), 1.5);
  EXPECT_EQ(job.rules.trim_scope, method::TrimScope::model);
  EXPECT_EQ(job.rules.elect, method::Elect::mass);
  EXPECT_EQ(job.rules.sign_tie, method::SignTie::positive);
  EXPECT_EQ(job.rules.aggregate, method::Aggregate::disjoint_max);
  EXPECT_EQ(job.nan, NanPolicy::allow);
  EXPECT_EQ(job.out_dtype, base::Dtype::bf16);
  EXPECT_THAT(job.outputs,
              ElementsAre("dir/merged.h5", "/scratch/merged.hdf5", "dir/merged", "other"));
  EXPECT_EQ(job.output_hints.alignment, base::Bytes{4U << 20U});
  EXPECT_THAT(job.output_hints.mpi_io,
              ElementsAre(Pair("romio_cb_write", "enable"), Pair("striping_factor", "16")));
}

TEST(ParseJob, TakesNoneForNoOutput) {
  const Job job = parse(with("output: none\n"));
  EXPECT_TRUE(job.writes_nothing);
  EXPECT_THAT(job.outputs, IsEmpty());
  EXPECT_FALSE(parse(with("output: ./none\n")).writes_nothing);
}

TEST(ParseJob, TakesThePapersRecipeWhereNothingIsSaid) {
  const Job job = parse(kSmallest);
  ASSERT_EQ(job.tasks.size(), 1U);
  EXPECT_EQ(constant(job, "density", 0), 0.2);
  EXPECT_EQ(constant(job, "weight", 0), 1.0);
  EXPECT_EQ(constant(job, "lambda"), 1.0);
  EXPECT_EQ(job.rules.sign_tie, method::SignTie::majority);
  EXPECT_EQ(job.rules.aggregate, method::Aggregate::disjoint_mean);
  EXPECT_EQ(job.nan, NanPolicy::error);
  EXPECT_FALSE(job.out_dtype.has_value());
  EXPECT_THAT(job.outputs, IsEmpty());
  EXPECT_EQ(job.output_hints.alignment, base::Bytes{1U << 20U});
  EXPECT_THAT(job.output_hints.mpi_io, IsEmpty());
}

TEST(ParseJob, LetsAModelsOwnParameterWinOneByOne) {
  const Job job = parse(R"(merge_method: ties
base_model: base
parameters: {density: 0.5, weight: 3}
models:
  - model: a
    parameters: {density: 0.1}
  - model: b
    parameters: {weight: 4}
  - {model: c}
)");
  ASSERT_EQ(job.tasks.size(), 3U);
  EXPECT_EQ(constant(job, "density", 0), 0.1);
  EXPECT_EQ(constant(job, "weight", 0), 3.0);
  EXPECT_EQ(constant(job, "density", 1), 0.5);
  EXPECT_EQ(constant(job, "weight", 1), 4.0);
  EXPECT_EQ(constant(job, "density", 2), 0.5);
  EXPECT_EQ(constant(job, "weight", 2), 3.0);
}

TEST(ParseJob, ReadsEveryWayToWriteANumber) {
  const std::vector<std::pair<std::string, double>> cases = {
      {"0.2", 0.2},     {"1", 1.0},       {".5", 0.5},    {"5.", 5.0},
      {"1e-3", 1e-3},   {"+2", 2.0},      {"-1.5", -1.5}, {"-.5", -0.5},
      {"\"0.2\"", 0.2}, {"'1e-3'", 1e-3}, {"1E+2", 100.0}};
  for (const auto& [text, expected] : cases) {
    EXPECT_EQ(constant(parse(with("parameters: {lambda: " + text + "}\n")), "lambda"), expected)
        << text;
  }
}

TEST(ParseJob, AcceptsAnyWeightAndADensityOfOne) {
  const Job job = parse(with("parameters: {density: 1, weight: -0.5, lambda: 0}\n"));
  EXPECT_EQ(constant(job, "density", 0), 1.0);
  EXPECT_EQ(constant(job, "weight", 0), -0.5);
  EXPECT_EQ(constant(job, "lambda"), 0.0);
}

TEST(ParseJob, ReadsEveryRule) {
  const auto rules = [](std::string_view more) { return parse(with(more)).rules; };
  EXPECT_EQ(rules("trim_scope: tensor\n").trim_scope, method::TrimScope::tensor);
  EXPECT_EQ(rules("elect: count\n").elect, method::Elect::count);
  EXPECT_EQ(rules("elect: normfrac\n").elect, method::Elect::normfrac);
  EXPECT_EQ(rules("elect: normmass\n").elect, method::Elect::normmass);
  EXPECT_EQ(rules("elect: none\n").elect, method::Elect::none);
  EXPECT_EQ(rules("aggregate: disjoint-sum\n").aggregate, method::Aggregate::disjoint_sum);
  EXPECT_EQ(rules("aggregate: mean\n").aggregate, method::Aggregate::mean);
  EXPECT_EQ(rules("aggregate: sum\n").aggregate, method::Aggregate::sum);
  EXPECT_EQ(rules("aggregate: median\n").aggregate, method::Aggregate::median);
  EXPECT_EQ(rules("aggregate: magnitude\n").aggregate, method::Aggregate::magnitude);
}

TEST(ParseJob, LetsMergekitsRulesHoldWhereNothingElseIsSaid) {
  const auto rules = [](std::string_view more) { return parse(with(more)).rules; };
  EXPECT_EQ(rules("").compat, method::Compat::paper);
  const method::Rules mergekit = rules("compat: mergekit\n");
  EXPECT_EQ(mergekit.compat, method::Compat::mergekit);
  EXPECT_EQ(mergekit.trim_scope, method::TrimScope::tensor);
  EXPECT_EQ(mergekit.sign_tie, method::SignTie::positive);
  const method::Rules mixed = rules("trim_scope: model\nsign_tie: majority\ncompat: mergekit\n");
  EXPECT_EQ(mixed.trim_scope, method::TrimScope::model);
  EXPECT_EQ(mixed.sign_tie, method::SignTie::majority);
}

TEST(ParseJob, TakesTheSignsOfACheckpoint) {
  const Job job = parse(with("elect: checkpoints/multitask/\n"));
  EXPECT_EQ(job.rules.elect, method::Elect::given);
  EXPECT_EQ(job.signs_name, "checkpoints/multitask");
  EXPECT_EQ(job.signs_path, "dir/checkpoints/multitask");
  EXPECT_EQ(parse(with("elect: math\n")).signs_path, "dir/math");
}

TEST(ParseJob, LeavesTheBaseOutOfTheModelsAsMergekitsFilesDo) {
  const Job job = parse(
      "merge_method: ties\nbase_model: base/\nmodels:\n  - model: base\n  - model: math\n"
      "  - model: base\n    parameters:\n");
  ASSERT_EQ(job.tasks.size(), 1U);
  EXPECT_EQ(job.tasks[0].name, "math");
}

TEST(ParseJob, CountsTheBaseAsAModelWhereTheMethodKnowsNoBase) {
  const Job job = parse(
      "merge_method: linear\nbase_model: a\nmodels:\n  - model: a\n  - model: b\n"
      "parameters: {weight: 1}\n");
  EXPECT_EQ(job.base_path, "dir/a");
  ASSERT_EQ(job.tasks.size(), 2U);
  EXPECT_EQ(job.tasks[0].path, "dir/a");
}

TEST(ParseJob, NeedsNoBaseWhereTheMethodDoesNot) {
  const Job job = parse("merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: 1}\n");
  EXPECT_EQ(job.base_name, "");
  EXPECT_EQ(job.base_path, "");
}

TEST(ParseJob, FindsTheFileBesideEachModel) {
  const Job job = parse(
      "merge_method: with_files\nmodels:\n  - {model: a, fisher: f/a.safetensors}\n"
      "  - {model: b, fisher: /f/b}\n");
  ASSERT_EQ(job.tasks.size(), 2U);
  EXPECT_EQ(job.tasks[0].side_file, "dir/f/a.safetensors");
  EXPECT_EQ(job.tasks[1].side_file, "/f/b");
}

TEST(ParseJob, ReadsEveryWayToWriteAFlag) {
  for (const auto& [text, expected] : std::vector<std::pair<std::string, double>>{
           {"true", 1}, {"False", 0}, {"1", 1}, {"'0'", 0}, {"[{value: false}]", 0}}) {
    const Job job = parse(
        "merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: 1, normalize: " + text +
        "}\n");
    EXPECT_EQ(constant(job, "normalize"), expected) << text;
  }
}

TEST(ParseJob, PassesOverWhatMergekitsFilesContainWithoutEffect) {
  const Job job = parse(
      "merge_method: ties\nbase_model: base\nmodels:\n  - model: math\n"
      "    parameters: {int8_mask: true}\nparameters: {int8_mask: true}\ntokenizer_source: base\n");
  EXPECT_TRUE(job.parameters.empty());
  EXPECT_TRUE(job.tasks[0].parameters.empty());
}

TEST(ParseJob, StacksLayersOfModels) {
  const Job job = parse(R"(merge_method: passes
slices:
  - sources:
      - model: a
        layer_range: [0, 24]
  - sources:
      - {model: b, layer_range: [8, 32], parameters: {scale: 0.5}}
dtype: float32
)");
  ASSERT_EQ(job.slices.size(), 2U);
  EXPECT_EQ(job.slices[0].sources[0].path, "dir/a");
  EXPECT_EQ(job.slices[0].layers(), 24U);
  EXPECT_EQ(job.slices[1].sources[0].name, "b");
  EXPECT_EQ(job.slices[1].sources[0].first_layer, 8U);
  EXPECT_EQ(job.slices[1].sources[0].last_layer, 32U);
  EXPECT_EQ(job.slices[0].base.name, "");
  ASSERT_EQ(job.tasks.size(), 1U);
  EXPECT_EQ(job.tasks[0].name, "a, b");
  EXPECT_EQ(job.tasks[0].path, "dir/a");
  EXPECT_EQ(job.base_name, "");
  EXPECT_EQ(constant(job, "scale", 0), std::nullopt);
}

TEST(ParseJob, TakesTheBaseOfASliceFromItsSourcesOrFromWhereTheFirstIs) {
  const Job job = parse(R"(merge_method: between
base_model: base
slices:
  - sources:
      - {model: base, layer_range: [2, 4]}
      - {model: a, layer_range: [0, 2]}
  - sources: [{model: a, layer_range: [4, 6]}]
  - sources: [{model: b, layer_range: [0, 1]}]
    base_model: other
    parameters: {t: 1}
parameters:
  t: 0.5
)");
  ASSERT_EQ(job.slices.size(), 3U);
  EXPECT_EQ(job.slices[0].sources.size(), 1U);
  EXPECT_EQ(job.slices[0].base.path, "dir/base");
  EXPECT_EQ(job.slices[0].base.first_layer, 2U);
  EXPECT_EQ(job.slices[1].base.first_layer, 4U);
  EXPECT_EQ(job.slices[1].base.last_layer, 6U);
  EXPECT_EQ(job.slices[2].base.name, "other");
  EXPECT_EQ(job.base_name, "base");
}

TEST(ParseJob, HasNoBaseInSlicesWhereTheMethodKnowsNone) {
  const Job job = parse(
      "merge_method: passes\nbase_model: a\nslices:\n"
      "  - sources: [{model: a, layer_range: [0, 1]}]\n");
  EXPECT_EQ(job.base_name, "");
  EXPECT_EQ(job.tasks.size(), 1U);
}

TEST(ParseJob, TakesTheBaseOfTheFirstSliceWhereTheJobNamesNone) {
  const Job job = parse(
      "merge_method: between\nslices:\n  - sources: [{model: a, layer_range: [0, 1]}]\n"
      "    base_model: base\nparameters: {t: 1}\n");
  EXPECT_EQ(job.base_path, "dir/base");
}

TEST(ParseJob, ReadsABaseOfOneValue) {
  const auto of = [](std::string_view method, std::string_view base) {
    return fmt::format("merge_method: {}\nbase_model: {}\nmodels: [{{model: a}}]\n", method, base);
  };
  const Job ones = parse(of("ties", "{constant: 1}"));
  EXPECT_EQ(ones.base_constant, ConstantBase::ones);
  EXPECT_EQ(ones.base_name, "constant 1");
  EXPECT_EQ(ones.base_path, "");
  EXPECT_EQ(parse(of("ties", "{constant: 0}")).base_constant, ConstantBase::zeros);
  EXPECT_EQ(parse(of("ties", "base")).base_constant, ConstantBase::none);

  for (const auto& [base, words] : std::vector<std::pair<std::string_view, std::string_view>>{
           {"{constant: 2}", "base_model.constant: found `2`; expected 0 or 1"},
           {"{constant: one}", "base_model.constant: found `one`; expected a number"},
           {"{constant: 1, model: a}", "base_model.model: unknown key"}}) {
    EXPECT_THAT(faults_of(of("ties", base)), ElementsAre(HasSubstr(words)));
  }
  EXPECT_THAT(faults_of(of("average", "{constant: 1}")),
              ElementsAre(HasSubstr("average has no use for a base of one value")));
  EXPECT_THAT(faults_of("merge_method: ties\nbase_model: {constant: 1}\ntrim_scope: tensor\n"
                        "slices: [{sources: [{model: a, layer_range: [0, 1]}]}]\n"),
              testing::Contains(HasSubstr("base_model: not supported with slices")));
}

TEST(ParseJob, AnAdapterByItselfIsForTheBase) {
  const mpimerge::test::TempDir temp;
  const auto make = [&](const std::string& name, bool is_adapter) {
    std::filesystem::create_directory(temp / name);
    if (is_adapter) std::ofstream(temp / (name + "/adapter_config.json")) << "{}";
  };
  make("base", false);
  make("a", true);
  make("b", true);
  const auto read = [&](const std::string& base) {
    return parse_job("merge_method: ties\n" + base + "models: [{model: a}, {model: base+a}]\n",
                     temp / "job.yaml", {});
  };
  const auto faults_in = [&](const std::string& base) -> std::string {
    try {
      read(base);
    } catch (const base::Error& error) {
      return error.what();
    }
    return {};
  };
  EXPECT_THAT(faults_in("base_model: base\n"), HasSubstr("expected each model once"))
      << "both are the same";
  for (const std::string base : {"base_model: b\n", "base_model: {constant: 0}\n"}) {
    const Job job = read(base);
    EXPECT_EQ(job.tasks[0].adapter, "") << base;
    EXPECT_EQ(job.tasks[0].path, (temp / "a").string()) << base;
    EXPECT_EQ(job.tasks[1].adapter, (temp / "a").string()) << base;
    EXPECT_EQ(job.tasks[1].path, (temp / "base").string()) << base;
  }
  const Job job =
      parse_job("merge_method: ties\nbase_model: base\nmodels: [{model: a}, {model: b}]\n",
                temp / "job.yaml", {});
  for (const Task& task : job.tasks) {
    EXPECT_EQ(task.path, job.base_path);
    EXPECT_EQ(task.adapter, (temp / task.name).string());
  }
}

TEST(ParseJob, ReadsWhichTensorsToMerge) {
  const Job job = parse(
      with("include: [mlp, \"*.attn.*\"]\nexclude: lm_head\ntrim_scope: tensor\nmissing: skip\n"));
  EXPECT_THAT(job.include, ElementsAre("mlp", "*.attn.*"));
  EXPECT_THAT(job.exclude, ElementsAre("lm_head"));
  EXPECT_EQ(job.missing, Missing::skip);
  EXPECT_EQ(parse(with("missing: base\n")).missing, Missing::base);
  EXPECT_EQ(parse(std::string(kSmallest)).missing, Missing::error);
}

TEST(ParseJob, KnowsTheNamesThatMergekitAndSafetensorsHaveForTypes) {
  const std::vector<std::pair<std::string, base::Dtype>> cases = {
      {"float32", base::Dtype::f32},
      {"float16", base::Dtype::f16},
      {"bfloat16", base::Dtype::bf16},
      {"torch.float32", base::Dtype::f32},
      {"torch.float16", base::Dtype::f16},
      {"F32", base::Dtype::f32},
      {"torch.bfloat16", base::Dtype::bf16},
      {"F16", base::Dtype::f16},
      {"BF16", base::Dtype::bf16}};
  for (const auto& [text, expected] : cases) {
    EXPECT_EQ(parse(with("out_dtype: " + text + "\n")).out_dtype, expected) << text;
  }
  EXPECT_NO_THROW(parse(with("dtype: torch.float32\n")));
}

TEST(ParseJob, TakesMergekitsDtypeForTheOutputsType) {
  EXPECT_EQ(parse(with("dtype: bfloat16\n")).out_dtype, base::Dtype::bf16);
  EXPECT_EQ(parse(with("dtype: float16\nout_dtype: bfloat16\n")).out_dtype, base::Dtype::bf16);
  EXPECT_FALSE(parse(with("dtype: float32\n")).out_dtype.has_value());
  EXPECT_EQ(parse(with("dtype: float32\ncompat: mergekit\n")).out_dtype, base::Dtype::f32);
}

TEST(ParseJob, KnowsFilesThatMayMeanMergekitsRules) {
  EXPECT_TRUE(parse(with("dtype: bfloat16\n")).may_mean_mergekits_rules);
  EXPECT_TRUE(parse(with("parameters: {normalize: true}\n")).may_mean_mergekits_rules);
  EXPECT_FALSE(parse(with("")).may_mean_mergekits_rules);
  EXPECT_FALSE(parse(with("dtype: bfloat16\ncompat: paper\n")).may_mean_mergekits_rules);
  EXPECT_FALSE(parse(with("dtype: bfloat16\ntrim_scope: tensor\n")).may_mean_mergekits_rules);
}

TEST(ParseJob, TakesAnEmptyOptionalKeyOfMergekitForAbsent) {
  const Job job = parse(
      "merge_method: ties\nbase_model: base\nmodels:\n  - model: math\n    parameters:\n"
      "parameters:\ndtype: null\nout_dtype: ~\ntokenizer_source: null\nslices:\n");
  EXPECT_EQ(constant(job, "density", 0), 0.2);
  EXPECT_FALSE(job.out_dtype.has_value());
}

TEST(ParseJob, FollowsAliases) {
  const Job job = parse(R"(merge_method: ties
base_model: base
models:
  - model: a
    parameters: &sparse {density: 0.1, weight: &half 0.5}
  - model: b
    parameters: *sparse
parameters: {lambda: *half}
)");
  EXPECT_EQ(constant(job, "density", 1), 0.1);
  EXPECT_EQ(constant(job, "lambda"), 0.5);
}

TEST(ParseJob, ReadsAFileWithByteOrderMarkCarriageReturnsAndQuotes) {
  const Job job = parse(
      "\xef\xbb\xbfmerge_method: \"ties\"\r\nbase_model: 'gr\xc3\xbc\xc3\x9f''e'\r\nmodels:\r\n"
      "  - model: &quoted \"m\\\"a\\\"th\"\r\n  - model: &again 'co''de'\r\n# \xe2\x82\xac '\r\n");
  EXPECT_EQ(job.base_name, "gr\xc3\xbc\xc3\x9f'e");
  EXPECT_EQ(job.tasks[0].name, "m\"a\"th");
  EXPECT_EQ(job.tasks[1].name, "co'de");
}

TEST(ParseJob, ResolvesPathsAgainstTheFilesDirectory) {
  const std::string yaml =
      "merge_method: ties\nbase_model: ../base//\nmodels:\n  - model: /abs/./math/\n"
      "  - model: ~/code\n  - model: ./a/../b@main+lora\noutput: ../out.h5\n";
  const Job job = parse_job(yaml, "jobs/mine/job.yaml", {});
  EXPECT_EQ(job.file, "jobs/mine/job.yaml");
  EXPECT_EQ(job.base_name, "../base");
  EXPECT_EQ(job.base_path, "jobs/base");
  EXPECT_EQ(job.tasks[0].name, "/abs/./math");
  EXPECT_EQ(job.tasks[0].path, "/abs/math");
  EXPECT_EQ(job.tasks[1].path, "jobs/mine/~/code");
  EXPECT_EQ(job.tasks[2].name, "./a/../b@main+lora");
  EXPECT_EQ(job.tasks[2].path, "jobs/mine/b@main+lora");
  EXPECT_THAT(job.outputs, ElementsAre("jobs/out.h5"));
}

TEST(ParseJob, ResolvesPathsOfAFileWithoutDirectoryAgainstTheWorkingDirectory) {
  const Job job = parse_job(kSmallest, "job.yaml", {});
  EXPECT_EQ(job.base_path, "base");
  EXPECT_EQ(job.tasks[0].path, "math");
}

TEST(ParseJob, TellsThatARelativeAndAnAbsolutePathAreTheSamePlace) {
  const std::string here = std::filesystem::current_path().string();
  const auto faults = faults_of(
      "merge_method: ties\nbase_model: base\nmodels:\n  - model: " + here + "/dir/x/../base/\n");
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_THAT(faults[0], HasSubstr("dir/job.yaml:4: models.0.model: "));
}

TEST(ParseJob, KeepsTheTextAsItWasWritten) {
  const std::string yaml = with("# a remark\nnan:   allow # and another\n");
  EXPECT_EQ(parse(yaml).text, yaml);
}

TEST(ParseJobFile, ReadsTheFile) {
  const mpimerge::test::TempDir temp;
  const auto file = write_file(temp / "job.yaml", kSmallest);
  const Job job = parse_job_file(file, {"parameters.lambda=0.5"});
  EXPECT_EQ(job.file, file.string());
  EXPECT_EQ(job.base_path, (temp / "base").string());
  EXPECT_EQ(constant(job, "lambda"), 0.5);
}

TEST(ParseJobFile, NamesAFileThatIsNotThere) {
  const mpimerge::test::TempDir temp;
  const auto file = temp / "none.yaml";
  EXPECT_EQ(error_of(file), "job file " + file.string() + ": No such file or directory");
}

TEST(ParseJobFile, RefusesADirectory) {
  const mpimerge::test::TempDir temp;
  EXPECT_THAT(error_of(temp.path()), HasSubstr(temp.path().string() + ": is a directory"));
}

TEST(ParseJobFile, RefusesAFileBeyond16MiBUnread) {
  const mpimerge::test::TempDir temp;
  const auto file = write_file(temp / "big.yaml", "");
  std::filesystem::resize_file(file, (std::uintmax_t{16} << 20U) + 1);
  EXPECT_THAT(error_of(file), HasSubstr("expected at most 16.78 MB"));
  std::filesystem::resize_file(file, std::uintmax_t{16} << 20U);
  EXPECT_THAT(error_of(file), HasSubstr("byte 0x00 at position 0"));  // read: it is full of zeros
}

}  // namespace
}  // namespace mpimerge::job::test
