#include "mpimerge/checkpoint/ties.hpp"

#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/temp_dir.hpp"

namespace mpimerge::checkpoint {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

// Tensors [10, 4] of float32 at such places of one file.
Catalog at(const std::vector<std::pair<std::string, std::uint64_t>>& places) {
  Catalog catalog;
  for (const auto& [name, offset] : places) {
    catalog.tensors.push_back({name,
                               base::Dtype::f32,
                               {10, 4},
                               base::Elements{40},
                               0,
                               base::Bytes{offset},
                               base::Bytes{160}});
  }
  return catalog;
}

TEST(TiesEmbeddings, IsWhatTheConfigurationSays) {
  EXPECT_EQ(ties_embeddings(R"({"tie_word_embeddings": true})"), true);
  EXPECT_EQ(ties_embeddings(R"({"tie_word_embeddings": false})"), false);
  EXPECT_EQ(ties_embeddings(R"({"text_config": {"tie_word_embeddings": true}})"), true);
  EXPECT_EQ(ties_embeddings(
                R"({"tie_word_embeddings": false, "text_config": {"tie_word_embeddings": true}})"),
            false);
  for (const char* text : {"{}", "", "[", "[true]", R"({"tie_word_embeddings": 1})",
                           R"({"text_config": []})", R"({"tie_word_embeddings": null})"})
    EXPECT_EQ(ties_embeddings(text), std::nullopt) << text;
  EXPECT_EQ(ties_embeddings(std::string(100000, '[')), std::nullopt);
}

TEST(IsHead, KnowsHeadsByTheirModule) {
  for (const char* name :
       {"lm_head.weight", "language_model.lm_head.weight", "embed_out.weight", "output.weight"})
    EXPECT_TRUE(is_head(name)) << name;
  for (const char* name : {"lm_head.bias", "my_lm_head.weight", "encoder.layer.0.output.weight",
                           "model.embed_tokens.weight", ""})
    EXPECT_FALSE(is_head(name)) << name;
}

TEST(EmbeddingsOf, AreTheOnlyOnesOrThoseThatAreShared) {
  EXPECT_EQ(embeddings_of(at({{"model.embed_tokens.weight", 0}, {"norm.weight", 160}})),
            "model.embed_tokens.weight");
  EXPECT_EQ(embeddings_of(at({{"encoder.embed_tokens.weight", 0}, {"shared.weight", 160}})),
            "shared.weight");
  EXPECT_EQ(embeddings_of(at({{"a.embed_tokens.weight", 0}, {"b.embed_tokens.weight", 160}})),
            std::nullopt);
  EXPECT_EQ(embeddings_of(at({{"norm.weight", 0}})), std::nullopt);
}

TEST(NoteTies, FindsTensorsOfTheSameBytes) {
  Catalog catalog = at({{"a", 0}, {"b", 0}, {"c", 0}, {"d", 160}, {"e", 320}, {"f", 320}});
  note_ties(catalog, "model.bin");
  EXPECT_THAT(catalog.tied, ElementsAre(Pair("b", "a"), Pair("c", "a"), Pair("f", "e")));
}

TEST(NoteTies, AHeadIsTheEmbeddingsAndNotTheOtherWayRound) {
  Catalog catalog = at({{"lm_head.weight", 0}, {"model.embed_tokens.weight", 0}});
  note_ties(catalog, "model.bin");
  EXPECT_THAT(catalog.tied, ElementsAre(Pair("lm_head.weight", "model.embed_tokens.weight")));
  catalog = at({{"lm_head.weight", 0}, {"words.weight", 0}});
  note_ties(catalog, "model.bin");
  EXPECT_THAT(catalog.tied, ElementsAre(Pair("lm_head.weight", "words.weight")));
}

TEST(NoteTies, LetsOtherTypesAndShapesAndNothingAtAllLieInOnePlace) {
  Catalog catalog = at({{"a", 0}, {"b", 0}, {"c", 0}, {"d", 160}, {"e", 160}});
  catalog.tensors[1].dtype = base::Dtype::i32;
  catalog.tensors[2].shape = {4, 10};
  for (const std::size_t empty : {3U, 4U}) {
    catalog.tensors[empty].shape = {0};
    catalog.tensors[empty].elements = {};
    catalog.tensors[empty].bytes = {};
  }
  note_ties(catalog, "model.bin");
  EXPECT_THAT(catalog.tied, IsEmpty());
}

TEST(NoteTies, AsksTheConfigurationBesideTheTensors) {
  const test::TempDir directory;
  const auto ties_with = [&](const std::string& config) {
    std::ofstream(directory.path() / "config.json") << config;
    Catalog catalog = at({{"lm_head.weight", 0}, {"model.embed_tokens.weight", 160}});
    note_ties(catalog, directory.path());
    return std::pair(catalog.tied.size(), catalog.ties_embeddings);
  };
  EXPECT_EQ(ties_with(R"({"tie_word_embeddings": true})"),
            std::pair(std::size_t{1}, std::optional(true)));
  EXPECT_EQ(ties_with(R"({"tie_word_embeddings": false})"),
            std::pair(std::size_t{0}, std::optional(false)));
  EXPECT_EQ(ties_with("{"), std::pair(std::size_t{0}, std::optional<bool>()));
}

TEST(NoteTies, TiesNoHeadOfAnotherShape) {
  const test::TempDir directory;
  std::ofstream(directory.path() / "config.json") << R"({"tie_word_embeddings": true})";
  Catalog catalog = at({{"lm_head.weight", 0}, {"model.embed_tokens.weight", 160}});
  catalog.tensors[0].shape = {20, 2};
  note_ties(catalog, directory.path());
  EXPECT_THAT(catalog.tied, IsEmpty());
}

}  // namespace
}  // namespace mpimerge::checkpoint
