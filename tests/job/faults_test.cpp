#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "job/support.hpp"

namespace mpimerge::job::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Case {
  std::string name;
  std::string yaml;
  int line;
  std::vector<std::string> words;
};

void PrintTo(const Case& fault, std::ostream* out) { *out << fault.name; }

/// The smallest job, which has four lines, and more.
std::string with(std::string_view more) { return std::string(kSmallest) + std::string(more); }

/// A job with these models from line 4 on.
std::string with_models(std::string_view models) {
  return "merge_method: ties\nbase_model: base\nmodels:\n" + std::string(models);
}

/// A job without a base, of one source per slice, with these slices from line 3 on.
std::string with_slices(std::string_view slices) {
  return "merge_method: passes\nslices:\n" + std::string(slices);
}

class OneFault : public testing::TestWithParam<Case> {};

TEST_P(OneFault, IsReportedAloneWithItsLine) {
  const auto faults = faults_of(GetParam().yaml);
  ASSERT_EQ(faults.size(), 1U) << testing::PrintToString(faults);
  EXPECT_THAT(faults[0], StartsWith("dir/job.yaml:" + std::to_string(GetParam().line) + ": "));
  for (const std::string& word : GetParam().words) EXPECT_THAT(faults[0], HasSubstr(word));
}

std::string name_of(const testing::TestParamInfo<Case>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(
    OfTheYaml, OneFault,
    testing::Values(
        Case{"Empty", "", 1, {"the job is empty", "expected a map with merge_method"}},
        Case{"OnlyAComment", "# nothing\n\n", 1, {"the job is empty"}},
        Case{"OnlyAMarker", "---\n", 1, {"the job is empty"}},
        Case{"AList", "# c\n- merge_method: ties\n", 2, {"a list of 1", "expected a map"}},
        Case{"AText", "ties\n", 1, {"`ties`", "expected a map"}},
        Case{"Syntax", with("nan: [error\n"), 6, {"not valid YAML", "sequence", "brackets"}},
        Case{
            "Tab", "merge_method: ties\nmodels:\n\t- model: a\n", 3, {"not valid YAML", "no tabs"}},
        Case{"OpenDoubleQuote", with("output: \"out.h5\n"), 5, {"quote", "never closed"}},
        Case{"OpenSingleQuote", "a: 'it''s'\nb: &x 'y\nc: 1\n", 2, {"quote", "never closed"}},
        Case{"OpenQuoteWithADoubledOne", "a: 'it''s\n", 1, {"never closed"}},
        Case{"OpenQuoteBehindAByteOrderMark",
             "\xef\xbb\xbf"
             "a: \"b\n",
             1,
             {"never closed"}},
        Case{"OpenQuoteBehindOtherLetters",
             "\xc3\xa4: \xe2\x82\xac\r\nb: \"\\\"\r\n",
             2,
             {"never closed"}},
        Case{
            "TwoDocuments", with("---\nnan: error\n"), 5, {"second YAML document", "expected one"}},
        Case{"DuplicateKey",
             with("base_model: other\n"),
             5,
             {": base_model: ", "given twice", "first on line 2", "keep one"}},
        Case{"DuplicateKeyDeepDown",
             with_models("  - model: a\n    parameters:\n      weight: 1\n      weight: 2\n"),
             7,
             {": models.0.parameters.weight: ", "first on line 6"}},
        Case{"DuplicateKeyInALine",
             with("parameters: {lambda: 1,\n  lambda: 1}\n"),
             6,
             {": parameters.lambda: ", "first on line 5"}},
        Case{"KeyThatIsAList", with("? [a]\n: 1\n"), 5, {"a key here is not plain text"}},
        Case{"KeyThatIsNothing", with("~: 1\n"), 5, {"a key here is not plain text"}},
        Case{"KeyThatIsAnAlias", with("nan: &k error\n*k : 1\n"), 6, {"not plain text"}},
        Case{"Tag",
             with("parameters:\n  lambda: !!float 2\n"),
             6,
             {": parameters.lambda: ", "tag `!!float`", "leave the tag out"}},
        Case{"MergeKey",
             with("parameters:\n  <<: {lambda: 1}\n"),
             6,
             {": parameters.<<: ", "merge keys are not supported"}},
        Case{"UnknownAnchor", with("nan: *gone\n"), 5, {"anchor is not defined"}},
        Case{"NotUtf8", with("# caf\xe9\n"), 5, {"byte 0xe9", "UTF-8"}},
        Case{"EscapedNul",
             with("output: \"a\\0.h5\"\n"),
             5,
             {": output: ", "an escape that makes a control"}},
        Case{"EscapedByteThatIsNoUtf8", with("output: \"a\\N.h5\"\n"), 5, {"or no UTF-8"}},
        Case{"EscapeThatIsNone",
             with("output: \"a\\\xc2\x9b.h5\"\n"),
             5,
             {"unknown escape character: \\xc2;"}},
        Case{"LoneCarriageReturn", with("output: a\rb.h5\n"), 5, {"byte 0x0d"}},
        Case{"ControlCharacter", with("nan: error\x04\n"), 5, {"byte 0x04"}}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    OfTheMethod, OneFault,
    testing::Values(
        Case{"NoMethod",
             "\nbase_model: base\nmodels: [{model: a}]\n",
             2,
             {": merge_method: missing", "supported: ", "ties"}},
        Case{"MethodMisspelt",
             "merge_method: tise\nbase_model: b\nmodels: [{model: a}]\n",
             1,
             {"found `tise`", "expected one of ", "ties", "did you mean `ties`?"}},
        Case{"MethodAMap",
             "merge_method: {a: 1}\nbase_model: b\nmodels: [{model: a}]\n",
             1,
             {"found a map", "expected one of "}},
        Case{"TrimScopeWrong", with("trim_scope: modle\n"), 5, {"did you mean `model`?"}},
        Case{"ElectMisspelt",
             with("elect: coutn\n"),
             5,
             {"found `coutn`", "mass, count, normfrac", "did you mean `count`?",
              "a checkpoint of that name is ./coutn"}},
        Case{"ElectAList", with("elect: [mass]\n"), 5, {"found a list of 1", "one of mass"}},
        Case{"ElectOfTwoLines", with("elect: \"a\\nb\"\n"), 5, {"without line breaks"}},
        Case{"SignTieWrong",
             with("sign_tie: majorty\n"),
             5,
             {"one of majority, positive", "did you mean `majority`?"}},
        Case{"AggregateWrong",
             with("aggregate: disjoint_mean\n"),
             5,
             {"did you mean `disjoint-mean`?"}},
        Case{"CompatWrong", with("compat: peft\n"), 5, {"found `peft`", "paper, mergekit"}},
        Case{"CompatEmpty", with("compat:\n"), 5, {"found no value", "one of paper, mergekit"}},
        Case{"SeedOfAMethodWithoutChance",
             with("seed: 1\n"),
             5,
             {": seed: ", "ties has no use for seed", "leave it out"}},
        Case{"NanWrong", with("nan: ignore\n"), 5, {"found `ignore`", "error, allow"}},
        Case{"DtypeOther", with("dtype: float64\n"), 5, {"arithmetic is float32", "use out_dtype"}},
        Case{
            "DtypeAList", with("dtype: [float32]\n"), 5, {"found a list of 1", "expected float32"}},
        Case{"OutDtypeWrong",
             with("out_dtype: float64\n"),
             5,
             {"found `float64`", "float32, float16 or bfloat16"}},
        Case{"OutDtypePrefixTwice", with("out_dtype: torch.F32\n"), 5, {"found `torch.F32`"}}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    OfTheModels, OneFault,
    testing::Values(
        Case{"NoBase", "merge_method: ties\nmodels: [{model: a}]\n", 1, {": base_model: missing"}},
        Case{"BaseEmpty",
             "merge_method: ties\nbase_model:\nmodels: [{model: a}]\n",
             2,
             {"found no value", "expected a path"}},
        Case{"BaseOfTwoLines",
             "merge_method: ties\nbase_model: |\n  a\nmodels: [{model: a}]\n",
             2,
             {"found `a\\x0a`", "without line breaks"}},
        Case{"BaseEmptyText",
             "merge_method: ties\nbase_model: ''\nmodels: [{model: a}]\n",
             2,
             {"found an empty text"}},
        Case{"BaseAList",
             "merge_method: ties\nbase_model: [a]\nmodels: [{model: a}]\n",
             2,
             {"found a list of 1", "expected a path"}},
        Case{"NoModels",
             "merge_method: ties\nbase_model: base\n",
             1,
             {": models: missing", "- model: PATH"}},
        Case{"ModelsEmpty",
             "merge_method: ties\nbase_model: base\nmodels: []\n",
             3,
             {"found an empty list", "a list of models"}},
        Case{
            "ModelsNull", "merge_method: ties\nbase_model: base\nmodels:\n", 3, {"found no value"}},
        Case{"ModelsAMap", with_models("  model: a\n"), 3, {"found a map", "a list of models"}},
        Case{"ModelAText",
             with_models("  - model: a\n  - b\n"),
             5,
             {": models.1: ", "found `b`", "expected a map", "`- model: PATH`"}},
        Case{"ModelAnAliasOfAText",
             with_models("  - model: &m a\n  - *m\n"),
             5,
             {": models.1: ", "expected a map"}},
        Case{"ModelWithoutPath",
             with_models("  - model: a\n  - parameters: {weight: 1}\n"),
             5,
             {": models.1.model: missing"}},
        Case{"ModelInMergekitsMap",
             with_models("  - model: {model: {revision: a}}\n"),
             4,
             {": models.0.model.model.path: missing", "expected a path"}},
        Case{"ModelIsTheBase",
             with_models("  - model: a\n  - model: ./x/../base/\n"),
             5,
             {": models.1.model: ", "base_model too", "leave the base out of models"}},
        Case{"ModelIsTheBaseWithParameters",
             with_models("  - model: a\n  - model: base\n    parameters: {weight: 1}\n"),
             5,
             {": models.1.model: ", "base_model too", "without parameters"}},
        Case{"ModelIsTheBaseAlone",
             with_models("  - model: base\n"),
             3,
             {": models: ", "found 0 models besides the base", "at least 1 for ties"}},
        Case{"TooManyModels",
             "merge_method: between\nbase_model: base\nmodels: [{model: a}, {model: b}]\n"
             "parameters: {t: 0.5}\n",
             3,
             {": models: ", "found 2 models besides the base", "expected 1 for between"}},
        Case{"TooFewModels",
             "merge_method: with_files\nmodels:\n  - {model: a, fisher: f}\n",
             2,
             {": models: ", "found 1 model;", "at least 2 for with_files"}},
        Case{"NoFileBesideAModel",
             "merge_method: with_files\nmodels:\n  - {model: a, fisher: f}\n  - model: b\n",
             4,
             {": models.1.fisher: missing", "this model's fisher file"}},
        Case{"FileBesideAModelThatNeedsNone",
             with_models("  - model: a\n    fisher: f\n"),
             5,
             {": models.0.fisher: unknown key"}},
        Case{"ModelTwice",
             with_models("  - model: a\n  - model: b\n  - model: a/\n"),
             6,
             {": models.2.model: ", "models.0.model too", "use its weight"}},
        Case{"UnknownKeyOfAModel",
             with_models("  - model: a\n    parameter: {}\n"),
             5,
             {": models.0.parameter: unknown key", "did you mean `parameters`?"}},
        Case{"DensityBesideTheModel",
             with_models("  - model: a\n    density: 0.2\n"),
             5,
             {": models.0.density: ", "this model's `parameters`"}},
        Case{"ParametersAList",
             with_models("  - model: a\n    parameters: [1]\n"),
             5,
             {"found a list of 1", "a map with weight, density"}},
        Case{"UnknownParameter",
             with_models("  - model: a\n    parameters:\n      wieght: 1\n"),
             6,
             {": models.0.parameters.wieght: ", "did you mean `weight`?"}},
        Case{"LambdaOfAModel",
             with_models("  - model: a\n    parameters: {lambda: 1}\n"),
             5,
             {"one number for the whole merge"}}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    OfNumbers, OneFault,
    testing::Values(
        Case{"DensityInPercent",
             with("parameters:\n  density: 20\n"),
             6,
             {": parameters.density: ", "found `20`", "at most 1", "20 % is written 0.2"}},
        Case{"DensityZero", with("parameters: {density: 0}\n"), 5, {"above 0"}},
        Case{"DensityNegative", with("parameters: {density: -0.2}\n"), 5, {"above 0"}},
        Case{"DensityHuge", with("parameters: {density: 1000}\n"), 5, {"at most 1"}},
        Case{"DensityOfAModel",
             with_models("  - model: a\n    parameters:\n      density: 2\n"),
             6,
             {": models.0.parameters.density: ", "2 % is written 0.02"}},
        Case{"DensityAText",
             with("parameters: {density: some}\n"),
             5,
             {"found `some`", "expected a number"}},
        Case{"DensityWithUnit",
             with("parameters: {density: 20%}\n"),
             5,
             {"found `20%`", "a number"}},
        Case{"DensityEmpty", with("parameters:\n  density:\n"), 6, {"found no value", "a number"}},
        Case{"DensityAMap",
             with("parameters: {density: {value: 1}}\n"),
             5,
             {"found a map", "a number"}},
        Case{"DensityAGradientForTheWholeModel",
             with("parameters: {density: [0.1, 0.9]}\n"),
             5,
             {": parameters.density: ", "depends on the tensor", "one number",
              "trim_scope: tensor"}},
        Case{"DensityOfAGradientTooHigh",
             with("trim_scope: tensor\nparameters:\n  density:\n    - 0.1\n    - 20\n"),
             9,
             {": parameters.density.1: ", "found `20`", "20 % is written 0.2"}},
        Case{"WeightAnEmptyGradient",
             with("parameters: {weight: []}\n"),
             5,
             {"found an empty list", "a list of numbers from the first layer to the last"}},
        Case{"WeightFilteredHalfway",
             with("parameters:\n  weight:\n    - filter: mlp\n      value: 0.5\n    - 1\n"),
             9,
             {": parameters.weight.1: ", "found `1`", "a map with filter and value"}},
        Case{"WeightNumbersAndFilters",
             with("parameters:\n  weight:\n    - 1\n    - filter: mlp\n      value: 0.5\n"),
             8,
             {": parameters.weight.1: ", "found a map", "a number"}},
        Case{"WeightFilteredWithoutValue",
             with("parameters:\n  weight:\n    - filter: mlp\n"),
             7,
             {": parameters.weight.0.value: missing"}},
        Case{"WeightFilteredByAList",
             with("parameters:\n  weight:\n    - filter: [mlp]\n      value: 1\n"),
             7,
             {": parameters.weight.0.filter: ", "a part of tensors' names"}},
        Case{"WeightFilteredByAnUnknownKey",
             with("parameters:\n  weight:\n    - fliter: mlp\n      value: 1\n"),
             7,
             {": parameters.weight.0.fliter: unknown key", "did you mean `filter`?"}},
        Case{"FlagAWord",
             "merge_method: with_files\nmodels: [{model: a, fisher: f}, {model: b, fisher: g}]\n"
             "parameters: {normalize: yes}\n",
             3,
             {": parameters.normalize: ", "found `yes`", "true or false"}},
        Case{"FlagAGradient",
             "merge_method: with_files\nmodels: [{model: a, fisher: f}, {model: b, fisher: g}]\n"
             "parameters: {normalize: [0, 1]}\n",
             3,
             {"found a list of 2", "true or false"}},
        Case{"NotAboveTheLeast",
             "merge_method: with_files\nmodels: [{model: a, fisher: f}, {model: b, fisher: g}]\n"
             "parameters: {eps: 0}\n",
             3,
             {"found `0`", "a number above 0"}},
        Case{
            "OutOfRange",
            "merge_method: between\nbase_model: base\nmodels: [{model: a}]\nparameters: {t: 1.5}\n",
            4,
            {"found `1.5`", "a number from 0 to 1"}},
        Case{"MissingOfTheMerge",
             "merge_method: between\nbase_model: base\nmodels: [{model: a}]\n",
             1,
             {": parameters.t: missing", "a number from 0 to 1", "between cannot do without"}},
        Case{"MissingOfAModel",
             "merge_method: linear\nmodels:\n  - model: a\n    parameters: {weight: 1}\n  - model: "
             "b\n",
             5,
             {": models.1.parameters.weight: missing", "linear cannot do without",
              "for all models"}},
        Case{"MissingForSomeTensors",
             "merge_method: between\nbase_model: base\nmodels: [{model: a}]\n"
             "parameters:\n  t:\n    - {filter: mlp, value: 1}\n",
             5,
             {": parameters.t: ", "leave tensors without a value", "`- value: NUMBER`"}},
        Case{"ParameterOfAnotherMethod",
             "merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: 1, density: 1}\n",
             3,
             {": parameters.density: density is not a parameter of linear; it has weight, "
              "normalize"}},
        Case{"WeightTrue", with("parameters: {weight: true}\n"), 5, {"found `true`", "a number"}},
        Case{"WeightNan", with("parameters: {weight: .nan}\n"), 5, {"a finite number"}},
        Case{"WeightBeyondFloat32", with("parameters: {weight: 1e39}\n"), 5, {"range of float32"}},
        Case{"LambdaInfinite", with("parameters: {lambda: -.inf}\n"), 5, {"a finite number"}},
        Case{"LambdaBeyondDouble", with("parameters: {lambda: 1e999}\n"), 5, {"a finite number"}},
        Case{"LambdaTwoNumbers", with("parameters: {lambda: 1 2}\n"), 5, {"found `1 2`"}},
        Case{"LambdaHexadecimal", with("parameters: {lambda: 0x10}\n"), 5, {"found `0x10`"}},
        Case{"LambdaAPoint", with("parameters: {lambda: .}\n"), 5, {"found `.`"}},
        Case{"LambdaTwoSigns", with("parameters: {lambda: +-1}\n"), 5, {"found `+-1`"}},
        Case{"UnknownGlobalParameter",
             with("parameters: {lamda: 1}\n"),
             5,
             {"did you mean `lambda`?"}},
        Case{"FarFromAnyParameter",
             with("parameters: {t: 1}\n"),
             5,
             {"t is not a parameter of ties; it has weight, density, lambda"}}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    OfTheTopLevel, OneFault,
    testing::Values(
        Case{"UnknownKey",
             with("outputs: a.h5\n"),
             5,
             {": outputs: unknown key", "did you mean `output`?"}},
        Case{
            "UnknownKeyInCapitals", with("OUT_DTYPE: float32\n"), 5, {"did you mean `out_dtype`?"}},
        Case{"UnknownKeyFarFromAny",
             with("learning_rate: 1\n"),
             5,
             {"unknown key; expected merge_method"}},
        Case{"UnknownKeyOfOddLetters", with("\"a\\nb\": 1\n"), 5, {"a\\x0ab: unknown key"}},
        Case{"IncludeAMap", with("include: {a: b}\n"), 5, {"found a map", "a pattern with *"}},
        Case{"ExcludeEmpty", with("exclude: []\n"), 5, {"found an empty list"}},
        Case{"ExcludeAListInAList",
             with("exclude:\n  - a\n  - [b]\n"),
             7,
             {": exclude.1: ", "found a list of 1"}},
        Case{"MissingWrong", with("missing: ignore\n"), 5, {"one of error, base, skip"}},
        Case{"MissingFromAWholeModel",
             with("missing: skip\n"),
             5,
             {": missing: ", "found `skip`", "error or base", "trim_scope: tensor"}},
        Case{"MissingFromABaseThatIsNone",
             "merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: 1}\nmissing: base\n",
             4,
             {": missing: ", "without base_model", "error or skip"}},
        Case{"DensityAtTheTop", with("density: 0.2\n"), 5, {"write it under `parameters`"}},
        Case{"SlicesBesideModels",
             with("slices: []\n"),
             5,
             {": slices: ", "exclude each other", "`models`"}},
        Case{"SlicesAMap",
             "merge_method: passes\nslices: {}\n",
             2,
             {"found a map", "a list of slices"}},
        Case{"SliceWithoutSources",
             "merge_method: passes\nslices:\n  - {}\n",
             3,
             {": slices.0.sources: missing"}},
        Case{
            "SliceWithResidualWeight",
            with_slices("  - sources: [{model: a, layer_range: [0, 1]}]\n    residual_weight: 1\n"),
            4,
            {": slices.0.residual_weight: ", "not supported"}},
        Case{"SourceWithoutRange",
             with_slices("  - sources:\n      - model: a\n"),
             4,
             {": slices.0.sources.0.layer_range: missing", "[FIRST, LAST]"}},
        Case{"RangeOfOneNumber",
             with_slices("  - sources: [{model: a, layer_range: [1]}]\n"),
             3,
             {"found a list of 1", "the one behind the last"}},
        Case{"RangeOfNothing",
             with_slices("  - sources: [{model: a, layer_range: [2, 2]}]\n"),
             3,
             {": slices.0.sources.0.layer_range: ", "found layers 2 to 2"}},
        Case{"RangeBeyondAnyModel",
             with_slices("  - sources: [{model: a, layer_range: [0, 18446744073709551615]}]\n"),
             3,
             {"found `18446744073709551615`", "the number of a layer"}},
        Case{"RangeBelowZero",
             with_slices("  - sources: [{model: a, layer_range: [-1, 2]}]\n"),
             3,
             {"found `-1`"}},
        Case{"SourceTwice",
             with_slices("  - sources:\n      - {model: a, layer_range: [0, 1]}\n"
                         "      - {model: ./a, layer_range: [1, 2]}\n"),
             5,
             {": slices.0.sources.1.model: ", "slices.0.sources.0 too", "each model once"}},
        Case{"TooManySources",
             with_slices("  - sources:\n      - {model: a, layer_range: [0, 1]}\n"
                         "      - {model: b, layer_range: [1, 2]}\n"),
             3,
             {": slices.0.sources: ", "found 2 sources;", "expected just 1 for passes"}},
        Case{"SourcesOfUnlikeLength",
             "merge_method: between\nbase_model: base\nparameters: {t: 0.5}\nslices:\n"
             "  - sources:\n      - {model: base, layer_range: [0, 3]}\n"
             "      - {model: a, layer_range: [0, 2]}\n",
             5,
             {"found 2 layers of a, 3 of base"}},
        Case{"SlicesWithoutABase",
             "merge_method: ties\nslices:\n  - sources: [{model: a, layer_range: [0, 1]}]\n",
             3,
             {": slices.0.sources: ", "has no base", "ties cannot do without"}},
        Case{"SlicesWithABaseHereAndThere",
             "merge_method: tasks_or_models\nslices:\n"
             "  - sources: [{model: a, layer_range: [0, 1]}]\n    base_model: base\n"
             "  - sources: [{model: a, layer_range: [0, 1]}]\n",
             2,
             {": slices: ", "with a base and others without"}},
        Case{"SlicesOfAMethodWithFiles",
             "merge_method: with_files\nslices:\n  - sources: [{model: a, layer_range: [0, 1]}]\n",
             2,
             {": slices: ", "a file goes along with a model"}},
        Case{"SlicesOfUnlikeDensity",
             "merge_method: ties\nbase_model: base\nslices:\n"
             "  - sources: [{model: a, layer_range: [0, 1]}]\n"
             "  - sources: [{model: a, layer_range: [1, 2], parameters: {density: 0.5}}]\n",
             3,
             {": slices: ", "different density", "trim_scope: tensor"}},
        Case{"SlicesOfUnlikeNumbersForAWholeModel",
             "merge_method: ties\nbase_model: base\nslices:\n"
             "  - sources: [{model: a, layer_range: [0, 1]}, {model: b, layer_range: [0, 1]}]\n"
             "  - sources: [{model: a, layer_range: [1, 2]}]\n",
             3,
             {": slices: ", "unlike numbers of sources", "trim_scope: tensor"}},
        Case{"SliceWithoutAParameter",
             "merge_method: between\nbase_model: base\nslices:\n"
             "  - sources: [{model: a, layer_range: [0, 1]}]\n    parameters: {t: 1}\n"
             "  - sources: [{model: a, layer_range: [1, 2]}]\n",
             6,
             {": slices.1.parameters.t: missing"}},
        Case{"Modules", with("modules: {}\n"), 5, {"not supported by this version"}},
        Case{"Tokenizer",
             with("tokenizer: {source: union}\n"),
             5,
             {"not supported by this version"}},
        Case{"TokenizerSource",
             with("tokenizer_source: union\n"),
             5,
             {"found `union`; expected base", "not supported by this version"}},
        Case{"MixtureOfExperts", with("experts: []\n"), 5, {": experts: ", "mixture of experts"}},
        Case{"ChatTemplate", with("chat_template: auto\n"), 5, {"not supported by this version"}},
        Case{"Name", with("name: mine\n"), 5, {"not supported by this version"}}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    OfTheOutput, OneFault,
    testing::Values(
        Case{"OutputADirectoryCalledLikeAFile",
             with("output: merged.h5/\n"),
             5,
             {"found `merged.h5/`", "any other for a directory"}},
        Case{"OutputNothingButSuffix", with("output: .h5\n"), 5, {"found `.h5`"}},
        Case{"OutputOfTwoLines",
             with("output: \"a\\nb.h5\"\n"),
             5,
             {"found `a\\x0ab.h5`", "without line breaks"}},
        Case{"OutputEmpty", with("output:\n"), 5, {"found no value"}},
        Case{"OutputEmptyList", with("output: []\n"), 5, {"found an empty list"}},
        Case{"OutputNoneInAList", with("output: [a.h5, none]\n"), 5, {"`none`", "stands alone"}},
        Case{"OutputAMap", with("output: {a: b}\n"), 5, {"found a map"}},
        Case{"OutputListInAList",
             with("output:\n  - a.h5\n  - [b.h5]\n"),
             7,
             {": output.1: ", "found a list of 1"}},
        Case{"OutputTwice",
             with("output:\n  - a.h5\n  - ./x/../a.h5\n"),
             7,
             {": output.1: ", "output.0 too", "each output once"}},
        Case{"OutputIsAnInput",
             with_models("  - model: a.h5\noutput: ./a.h5\n"),
             5,
             {"the input models.0.model too"}},
        Case{"OutputIsAnInputDirectory",
             with_models("  - model: a\noutput: ./a/\n"),
             5,
             {"the input models.0.model too"}},
        Case{"OutputIsTheBase",
             "merge_method: ties\nbase_model: b.hdf5\nmodels: [{model: a}]\noutput: b.hdf5\n",
             4,
             {"the input base_model too"}},
        Case{"HintsAList", with("output_hints: [1]\n"), 5, {"found a list of 1", "alignment"}},
        Case{"AlignmentNoPowerOfTwo",
             with("output_hints: {alignment: 3MiB}\n"),
             5,
             {": output_hints.alignment: ", "found `3MiB`", "a power of two"}},
        Case{"AlignmentTooSmall", with("output_hints: {alignment: 256}\n"), 5, {"from 512 B"}},
        Case{"AlignmentTooLarge", with("output_hints: {alignment: 2GiB}\n"), 5, {"to 1 GiB"}},
        Case{"AlignmentNoSize", with("output_hints: {alignment: large}\n"), 5, {"found `large`"}},
        Case{"HintOfOddLetters",
             with("output_hints: {Striping-Factor: 1}\n"),
             5,
             {": output_hints.Striping-Factor: ", "not the name of an MPI-IO hint"}},
        Case{"HintWithLongName",
             with("output_hints: {" + std::string(36, 'a') + ": 1}\n"),
             5,
             {"at most 35"}},
        Case{"HintOfABufferOfNothing",
             with("output_hints: {cb_buffer_size: 0}\n"),
             5,
             {": output_hints.cb_buffer_size: ", "found `0`", "from 1 to 1073741824"}},
        Case{"HintOfABufferWithAUnit",
             with("output_hints: {ind_wr_buffer_size: 16MiB}\n"),
             5,
             {"found `16MiB`", "a whole number"}},
        Case{"HintOfABufferBeyondAnInt",
             with("output_hints: {cb_buffer_size: 1099511627776}\n"),
             5,
             {"found `1099511627776`"}},
        Case{"HintOfAggregatorsBelowZero",
             with("output_hints: {cb_nodes: -1}\n"),
             5,
             {"found `-1`", "from 1 to 2147483647"}},
        Case{"HintAMap",
             with("output_hints: {cb_nodes: {a: 1}}\n"),
             5,
             {"found a map", "a text or a number"}},
        Case{"HintTooLong",
             with("output_hints: {cb_nodes: " + std::string(256, 'x') + "}\n"),
             5,
             {"256 bytes", "at most 255"}}),
    name_of);

TEST(Faults, AcceptTheLargestOfEachLimit) {
  EXPECT_TRUE(faults_of(with("output_hints: {alignment: 1GiB, " + std::string(35, 'a') + ": " +
                             std::string(255, 'x') + "}\n"))
                  .empty());
  EXPECT_TRUE(faults_of(with("output_hints: {alignment: 512}\n")).empty());
}

TEST(Faults, OfAWholeFileComeTogetherInTheOrderOfItsLines) {
  const auto faults = faults_of(R"(merge_method: ties
elect: mas
models:
  - model: math
    parameters: {density: 20, weigth: 1}
  - checkpoints/code
parameters:
  densty: 0.2
  lambda: .inf
nan: maybe
output: [m.h5, ./m.h5, .h5]
elect: mass
slices: []
foo: 1
)");
  const std::vector<std::string> starts = {"dir/job.yaml:1: base_model: missing",
                                           "dir/job.yaml:2: elect: found `mas`",
                                           "dir/job.yaml:5: models.0.parameters.density: ",
                                           "dir/job.yaml:5: models.0.parameters.weigth: ",
                                           "dir/job.yaml:6: models.1: ",
                                           "dir/job.yaml:8: parameters.densty: ",
                                           "dir/job.yaml:9: parameters.lambda: ",
                                           "dir/job.yaml:10: nan: ",
                                           "dir/job.yaml:11: output.1: ",
                                           "dir/job.yaml:11: output.2: ",
                                           "dir/job.yaml:12: elect: given twice",
                                           "dir/job.yaml:13: slices: ",
                                           "dir/job.yaml:14: foo: "};
  ASSERT_EQ(faults.size(), starts.size()) << testing::PrintToString(faults);
  for (std::size_t i = 0; i < starts.size(); ++i) EXPECT_THAT(faults[i], StartsWith(starts[i]));
}

TEST(Faults, OfAJobWithoutAMethodAreThoseThatDependOnNone) {
  const auto faults = faults_of(
      "merge_method: tise\nelect: x\nmodels: [{model: a, parameters: {b: 1}}]\nparameters: {c: 1}\n"
      "nan: maybe\nfoo: 1\n");
  ASSERT_EQ(faults.size(), 3U) << testing::PrintToString(faults);
  EXPECT_THAT(faults[0], HasSubstr(":1: merge_method: found `tise`"));
  EXPECT_THAT(faults[1], HasSubstr(":5: nan: found `maybe`"));
  EXPECT_THAT(faults[2], HasSubstr(":6: foo: unknown key"));
}

TEST(Faults, BeyondAHundredAreCounted) {
  std::string keys;
  for (int number = 0; number < 250; ++number) keys += "a" + std::to_string(number) + ": 1\n";
  const auto faults = faults_of(with(keys));
  ASSERT_EQ(faults.size(), 101U);
  EXPECT_THAT(faults[99], StartsWith("dir/job.yaml:104: a99: unknown key"));
  EXPECT_EQ(faults[100], "dir/job.yaml: and 150 more");
}

TEST(Faults, DoNotRepeatForTheSecondOfTwoEqualKeys) {
  const auto faults = faults_of(with("foo: 1\nfoo: 2\n"));
  ASSERT_EQ(faults.size(), 2U) << testing::PrintToString(faults);
  EXPECT_THAT(faults[0], StartsWith("dir/job.yaml:5: foo: unknown key"));
  EXPECT_THAT(faults[1], StartsWith("dir/job.yaml:6: foo: given twice"));
}

TEST(Faults, NameWhatWasFoundWhatWasExpectedAndTheRemedy) {
  const auto faults = faults_of(with("parameters:\n  density: 20\n"));
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_EQ(
      faults[0],
      "dir/job.yaml:6: parameters.density: found `20`; expected a number above 0 and at most 1; "
      "20 % is written 0.2");
}

TEST(Faults, StayOnOneLineEachWhateverTheFileHolds) {
  const auto faults = faults_of(with("nan: \"a\\nb\"\n"));
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_THAT(faults[0], HasSubstr("found `a\\x0ab`"));
}

}  // namespace
}  // namespace mpimerge::job::test
