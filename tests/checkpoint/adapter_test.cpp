#include "mpimerge/checkpoint/adapter.hpp"

#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/base/error.hpp"

namespace mpimerge::checkpoint {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;

// An adapter_config.json with nothing but what is needed, and more.
LoraConfig parse(std::string_view more) {
  return parse_lora_config(
      R"({"peft_type": "LORA", "r": 4, "lora_alpha": 6)" + std::string(more) + "}", "a/c.json");
}

std::string refusal(std::string_view text) {
  try {
    parse_lora_config(text, "a/c.json");
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), base::ErrorKind::input);
    EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
    EXPECT_THAT(error.what(), testing::StartsWith("a/c.json: "));
    return error.what();
  }
  ADD_FAILURE() << text << " was not refused";
  return {};
}

TEST(LoraConfig, HasWhatPeftWritesAndItsDefaults) {
  const LoraConfig config = parse("");
  EXPECT_EQ(config.rank, 4U);
  EXPECT_EQ(config.alpha, 6);
  EXPECT_FALSE(config.use_rslora);
  EXPECT_FALSE(config.fan_in_fan_out);
  EXPECT_THAT(config.ranks, IsEmpty());
  EXPECT_THAT(config.alphas, IsEmpty());
}

TEST(LoraConfig, TakesFlagsAndPatternsInTheirOrder) {
  const LoraConfig config =
      parse(R"(, "use_rslora": true, "fan_in_fan_out": true, "rank_pattern": {"z.q": 8, "a": 2},)"
            R"( "alpha_pattern": {"k_proj": 0.5}, "lora_dropout": 0.1, "target_modules": ["q"])");
  EXPECT_TRUE(config.use_rslora);
  EXPECT_TRUE(config.fan_in_fan_out);
  EXPECT_THAT(config.ranks, ElementsAre(Pair("z.q", 8U), Pair("a", 2U)));
  EXPECT_THAT(config.alphas, ElementsAre(Pair("k_proj", 0.5)));
}

TEST(LoraConfig, TakesVariantsThatAreSwitchedOff) {
  EXPECT_NO_THROW(
      parse(R"(, "use_dora": false, "lora_bias": null, "bias": "none", "layer_replication": [],)"
            R"( "target_parameters": null, "rank_pattern": {}, "alpha_pattern": null)"));
}

TEST(LoraConfig, RefusesWhatIsNoLowRankSumOfAllElements) {
  const std::string head = R"({"peft_type": "LORA", "r": 4, "lora_alpha": 6, )";
  for (const char* variant : {"use_dora", "use_qalora", "use_bdlora", "lora_bias"})
    EXPECT_THAT(refusal(head + "\"" + variant + "\": true}"),
                HasSubstr(std::string(variant) + ": found `true`"));
  for (const char* variant : {"layer_replication", "alora_invocation_tokens", "target_parameters",
                              "trainable_token_indices"})
    EXPECT_THAT(refusal(head + "\"" + variant + "\": [1]}"),
                HasSubstr(std::string(variant) + ": found `[1]`"));
  EXPECT_THAT(refusal(head + R"("bias": "lora_only"})"), HasSubstr("bias: found"));
}

TEST(LoraConfig, RefusesNumbersThatAreNone) {
  const auto with = [](std::string_view rank, std::string_view alpha) {
    return R"({"peft_type": "LORA", "r": )" + std::string(rank) + R"(, "lora_alpha": )" +
           std::string(alpha) + "}";
  };
  for (const char* rank :
       {"0", "-1", "1.5", "\"4\"", "true", "1048577", "18446744073709551616", "[]"})
    EXPECT_THAT(refusal(with(rank, "1")), HasSubstr("r: found")) << rank;
  EXPECT_EQ(parse_lora_config(with("1048576", "1"), "c").rank, 1048576U);
  for (const char* alpha : {"\"6\"", "1e39", "-1e39", "true", "{}"})
    EXPECT_THAT(refusal(with("1", alpha)), HasSubstr("lora_alpha: found")) << alpha;
  EXPECT_EQ(parse_lora_config(with("1", "-2"), "c").alpha, -2);
  EXPECT_THAT(refusal(R"({"peft_type": "LORA", "lora_alpha": 1})"), HasSubstr("r: missing"));
  EXPECT_THAT(refusal(R"({"peft_type": "LORA", "r": 1, "lora_alpha": null})"),
              HasSubstr("lora_alpha: missing"));
}

TEST(LoraConfig, RefusesPatternsThatAreMoreThanNames) {
  const std::string head = R"({"peft_type": "LORA", "r": 4, "lora_alpha": 6, )";
  for (const char* name : {"q|k", "^q", "q$", ".*q", "q+", "(q)", "[q]", "q{2}", "q?", "a\\\\.q"})
    EXPECT_THAT(refusal(head + R"("rank_pattern": {")" + name + R"(": 2}})"),
                HasSubstr("regular expression"))
        << name;
  EXPECT_THAT(refusal(head + R"("rank_pattern": [2]})"), HasSubstr("expected a map"));
  EXPECT_THAT(refusal(head + R"("rank_pattern": {"q": 0}})"), HasSubstr("rank_pattern: found `0`"));
  EXPECT_THAT(refusal(head + R"("use_rslora": 1})"), HasSubstr("use_rslora: found `1`"));
}

TEST(LoraConfig, RefusesOtherAdaptersAndOtherTexts) {
  EXPECT_THAT(refusal(R"({"peft_type": "VERA"})"), HasSubstr("peft_type: found `\"VERA\"`"));
  EXPECT_THAT(refusal(R"({"peft_type": "IA3"})"), HasSubstr("expected \"LORA\""));
  EXPECT_THAT(refusal(R"({"peft_type": ["LORA"]})"), HasSubstr("peft_type: found"));
  EXPECT_THAT(refusal("{}"), HasSubstr("peft_type: found nothing"));
  for (const char* text : {"", "[]", "{", "nonsense", "\"LORA\""})
    EXPECT_THAT(refusal(text), HasSubstr("not a JSON object")) << text;
  EXPECT_THAT(refusal(std::string(1000, '[')), HasSubstr("nested deeper"));
}

}  // namespace
}  // namespace mpimerge::checkpoint
