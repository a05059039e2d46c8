#include "mpimerge/output/model_files.hpp"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/base/error.hpp"

#include "support/temp_dir.hpp"

namespace mpimerge::output {
namespace {

using base::Dtype;
using base::Elements;
using testing::ElementsAre;

TEST(ModelFiles, KnowsCompanionsByTheirNames) {
  for (const char* name : {"config.json",
                           "generation_config.json",
                           "tokenizer_config.json",
                           "tokenizer.json",
                           "tokenizer.model",
                           "special_tokens_map.json",
                           "added_tokens.json",
                           "merges.txt",
                           "vocab.json",
                           "vocab.txt",
                           "chat_template.jinja",
                           "chat_template.json",
                           "preprocessor_config.json",
                           "processor_config.json",
                           "video_preprocessor_config.json",
                           "normalizer.json",
                           "qwen.tiktoken",
                           "modeling_own.py",
                           "LICENSE.txt",
                           "NOTICE"}) {
    EXPECT_TRUE(is_companion(name)) << name;
    EXPECT_TRUE(is_model_file(name)) << name;
  }
}

TEST(ModelFiles, TakesNothingElseForACompanion) {
  for (const char* name : {"model.safetensors", "model-00001-of-00002.safetensors", "README.md",
                           "model.safetensors.index.json", "pytorch_model.bin", "optimizer.pt",
                           "trainer_state.json", "notes.txt", ".gitattributes", ""})
    EXPECT_FALSE(is_companion(name)) << name;
}

TEST(ModelFiles, KnowsWhatItWritesItself) {
  for (const char* name :
       {"model.safetensors", "model-00001-of-00002.safetensors",
        "model-100000-of-100000.safetensors", "model.safetensors.index.json", "README.md",
        "mpimerge_job.yaml", "mpimerge_summary.json", "mpimerge_checksums.json"})
    EXPECT_TRUE(is_model_file(name)) << name;
  for (const char* name : {"pytorch_model.bin", "model-1.safetensors", "model-a-of-b.safetensors",
                           "model-1-of-.safetensors", "model--of-1.safetensors",
                           "model-.safetensors", "notes.txt", "other.safetensors", ""})
    EXPECT_FALSE(is_model_file(name)) << name;
}

TEST(ModelFiles, FindsFilesAndLinksToFilesOnly) {
  const test::TempDir dir;
  const test::TempDir cache;
  std::ofstream(cache / "blob") << "{}";
  std::filesystem::create_symlink(cache / "blob", dir / "config.json");
  std::filesystem::create_symlink(cache / "nowhere", dir / "tokenizer.json");
  std::filesystem::create_directory(dir / "own.py");
  std::ofstream(dir / "merges.txt") << "a b";
  std::ofstream(dir / "notes.txt") << "x";
  EXPECT_THAT(companions_in(dir.path()), ElementsAre("config.json", "merges.txt"));
  EXPECT_THROW(companions_in(dir / "nowhere"), base::Error);
}

struct TypeCase {
  std::vector<Hdf5Dataset> datasets;
  std::optional<Dtype> expected;
};

TEST(TorchDtype, IsThatOfMostFloatingElements) {
  const std::vector<TypeCase> cases{
      {{{Dtype::bf16, Elements{9}}, {Dtype::f32, Elements{2}}}, Dtype::bf16},
      {{{Dtype::f32, Elements{2}}, {Dtype::f16, Elements{9}}}, Dtype::f16},
      {{{Dtype::i64, Elements{9}}, {Dtype::f64, Elements{2}}}, Dtype::f64},
      {{{Dtype::f8_e4m3, Elements{9}}, {Dtype::bf16, Elements{2}}}, std::nullopt},
      {{{Dtype::i64, Elements{9}}}, std::nullopt},
      {{}, std::nullopt}};
  for (const TypeCase& each : cases) {
    Hdf5Layout layout;
    layout.datasets = each.datasets;
    EXPECT_EQ(torch_dtype(layout), each.expected);
  }
}

TEST(WithTorchDtype, ReplacesItAndKeepsAllElseInOrder) {
  EXPECT_EQ(with_torch_dtype(R"({"zeta": 1e-05, "torch_dtype": "float32", "alpha": ["größe"]})",
                             Dtype::bf16),
            "{\n  \"zeta\": 1e-05,\n  \"torch_dtype\": \"bfloat16\",\n  \"alpha\": [\n    "
            "\"größe\"\n  ]\n}\n");
}

TEST(WithTorchDtype, AddsItWhereItIsMissing) {
  EXPECT_EQ(with_torch_dtype("{\"a\": 1}", Dtype::f16),
            "{\n  \"a\": 1,\n  \"torch_dtype\": \"float16\"\n}\n");
}

TEST(WithTorchDtype, ReplacesTheNewerNameWhereItStandsAndInThePartsOfAModel) {
  const auto found = with_torch_dtype(R"({"dtype": "float32",
      "text_config": {"torch_dtype": "float32", "audio_config": {"dtype": null}, "size": 1},
      "quantization_config": {"dtype": "float32"}, "rope": {"dtype": "float32"}})",
                                      Dtype::f64);
  EXPECT_EQ(found, R"({
  "dtype": "float64",
  "text_config": {
    "torch_dtype": "float64",
    "audio_config": {
      "dtype": "float64"
    },
    "size": 1
  },
  "quantization_config": {
    "dtype": "float32"
  },
  "rope": {
    "dtype": "float32"
  },
  "torch_dtype": "float64"
}
)");
}

// Writing JSON recurses: at some depth the stack would end.
TEST(WithTorchDtype, LeavesWhatIsNestedTooDeeplyToTheCaller) {
  const auto nested = [](int levels) {
    std::string text;
    for (int level = 0; level < levels; ++level) text += "{\"a_config\":";
    return text + "{}" + std::string(static_cast<std::size_t>(levels), '}');
  };
  EXPECT_TRUE(with_torch_dtype(nested(60), Dtype::f32));
  for (const int levels : {65, 100'000})
    EXPECT_FALSE(with_torch_dtype(nested(levels), Dtype::f32)) << levels;
  EXPECT_FALSE(with_torch_dtype("{\"a\":" + std::string(100'000, '['), Dtype::f32));
}

TEST(WithTorchDtype, LeavesWhatIsNoJsonObjectToTheCaller) {
  for (const char* text : {"", "[]", "{\"a\": Infinity}", "{\"a\": 1", "null"})
    EXPECT_FALSE(with_torch_dtype(text, Dtype::f32)) << text;
}

TEST(WithLayers, SetsTheirNumberByWhicheverNameAndTheirTypes) {
  EXPECT_EQ(with_layers(R"({"num_hidden_layers": 2, "size": 2, "layer_types": ["a", "b"],
      "text_config": {"n_layer": 2}, "vision_config": {"num_hidden_layers": 2}})",
                        {1, 0, 1}),
            R"({
  "num_hidden_layers": 3,
  "size": 2,
  "layer_types": [
    "b",
    "a",
    "b"
  ],
  "text_config": {
    "n_layer": 3
  },
  "vision_config": {
    "num_hidden_layers": 2
  }
}
)");
}

TEST(WithLayers, AddsNothingAndPassesOverLayersThatTheConfigurationDoesNotKnow) {
  EXPECT_EQ(with_layers(R"({"layer_types": ["a"], "text_config": 1})", {5, 0}),
            "{\n  \"layer_types\": [\n    \"a\"\n  ],\n  \"text_config\": 1\n}\n");
  EXPECT_FALSE(with_layers("[]", {0}));
}

TEST(WithUntiedHead, SaysSoWhereItStandsAndAtTheTop) {
  EXPECT_EQ(with_untied_head(R"({"a": 1, "tie_word_embeddings": true,
      "text_config": {"tie_word_embeddings": true, "b": 2}, "vision_config": {}})"),
            R"({
  "a": 1,
  "tie_word_embeddings": false,
  "text_config": {
    "tie_word_embeddings": false,
    "b": 2
  },
  "vision_config": {}
}
)");
  EXPECT_EQ(with_untied_head(R"({"text_config": {}})"),
            "{\n  \"text_config\": {},\n  \"tie_word_embeddings\": false\n}\n");
  EXPECT_FALSE(with_untied_head("[]"));
}

}  // namespace
}  // namespace mpimerge::output
