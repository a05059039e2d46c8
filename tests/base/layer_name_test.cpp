#include "mpimerge/base/layer_name.hpp"

#include <string_view>

#include <gtest/gtest.h>

namespace mpimerge::base {
namespace {

TEST(LayerName, IsTakenApartAtTheFirstPartThatIsAllDigits) {
  const auto name = layer_name("model.layers.7.mlp.experts.3.w1");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->row, "model.layers.");
  EXPECT_EQ(name->number, 7U);
  EXPECT_EQ(name->rest, ".mlp.experts.3.w1");
  EXPECT_EQ(name->of_layer(12), "model.layers.12.mlp.experts.3.w1");
  EXPECT_EQ(layer_name("0")->of_layer(1), "1");
}

TEST(LayerName, IsNoneWithoutSuchAPart) {
  for (const std::string_view name : {"", ".", "..", "h4.w", "a.4b.w", "a.-4.w", "a.+4", "norm.",
                                      "a.99999999999999999999999.w"}) {
    EXPECT_FALSE(layer_name(name)) << name;
  }
}

TEST(IsBeforeLayers, KnowsEmbeddingsFromNormsAndHeads) {
  for (const std::string_view name :
       {"model.embed_tokens.weight", "transformer.wte.weight", "wpe.weight", "rwkv.emb.weight",
        "gpt_neox.embed_in.weight", "tok_embeddings.weight"}) {
    EXPECT_TRUE(is_before_layers(name)) << name;
  }
  for (const std::string_view name :
       {"lm_head.weight", "model.norm.weight", "transformer.ln_f.bias", "embed_out.weight", ""}) {
    EXPECT_FALSE(is_before_layers(name)) << name;
  }
}

}  // namespace
}  // namespace mpimerge::base
