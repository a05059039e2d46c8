#include "mpimerge/output/model_files.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "mpimerge/base/error.hpp"

namespace mpimerge::output {
namespace {

using nlohmann::ordered_json;

constexpr std::array<std::string_view, 11> kCompanionNames{
    "config.json",  "added_tokens.json", "chat_template.json", "merges.txt",
    "modules.json", "normalizer.json",   "params.json",        "special_tokens_map.json",
    "tekken.json",  "tokenizer.json",    "vocab.json"};
constexpr std::array<std::string_view, 7> kCompanionEndings{
    "_config.json", ".jinja", ".model", ".py", ".spm", ".tiktoken", "vocab.txt"};
constexpr std::array<std::string_view, 3> kCompanionBeginnings{"LICENSE", "NOTICE", "USE_POLICY"};

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// model-00001-of-00002.safetensors
bool is_shard(std::string_view name) {
  constexpr std::string_view kBegin = "model-";
  constexpr std::string_view kMiddle = "-of-";
  constexpr std::string_view kEnd = ".safetensors";
  if (!name.starts_with(kBegin) || !name.ends_with(kEnd)) return false;
  name.remove_prefix(kBegin.size());
  name.remove_suffix(std::min(kEnd.size(), name.size()));
  const auto middle = name.find(kMiddle);
  return middle != std::string_view::npos && is_number(name.substr(0, middle)) &&
         is_number(name.substr(middle + kMiddle.size()));
}

std::string_view torch_name(base::Dtype dtype) {
  switch (dtype) {
    case base::Dtype::f64: return "float64";
    case base::Dtype::f32: return "float32";
    case base::Dtype::f16: return "float16";
    case base::Dtype::bf16: return "bfloat16";
    default: break;
  }
  throw base::Error(base::ErrorKind::bug,
                    fmt::format("{} is not a torch_dtype", base::name(dtype)));
}

// `quantization_config` is about something else: the types in it are its own.
bool is_part_of_model(const std::string& key, const ordered_json& value) {
  return value.is_object() && key.ends_with("_config") && key != "quantization_config";
}

void replace_dtypes(ordered_json& config, std::string_view dtype) {
  for (const char* key : {"torch_dtype", "dtype"}) {
    if (config.contains(key)) config[key] = dtype;
  }
  for (auto& [key, value] : config.items()) {
    if (is_part_of_model(key, value)) replace_dtypes(value, dtype);
  }
}

// Nothing if it is no object, or nested too deeply: what is done with it takes stack for every level.
std::optional<ordered_json> parse_config(std::string_view config) {
  constexpr int kDeepest = 64;
  bool too_deep = false;
  const auto take = [&](int depth, ordered_json::parse_event_t, ordered_json&) {
    too_deep = too_deep || depth > kDeepest;
    return depth <= kDeepest;
  };
  auto json = ordered_json::parse(config, take, false);
  if (too_deep || !json.is_object()) return std::nullopt;
  return json;
}

void replace_layers(ordered_json& config, const std::vector<std::uint64_t>& layers) {
  for (const char* key : {"num_hidden_layers", "n_layer", "n_layers", "num_layers"}) {
    if (config.contains(key)) config[key] = layers.size();
  }
  const auto types = config.find("layer_types");
  if (types == config.end() || !types->is_array()) return;
  ordered_json chosen = ordered_json::array();
  for (const std::uint64_t layer : layers) {
    // Of a layer that this model does not have it says nothing.
    if (layer < types->size()) chosen.push_back((*types)[layer]);
  }
  *types = std::move(chosen);
}

}  // namespace

bool is_companion(std::string_view name) {
  const auto is_name = [&](std::string_view other) { return name == other; };
  const auto begins = [&](std::string_view text) { return name.starts_with(text); };
  const auto ends = [&](std::string_view text) { return name.ends_with(text); };
  return std::any_of(kCompanionNames.begin(), kCompanionNames.end(), is_name) ||
         std::any_of(kCompanionBeginnings.begin(), kCompanionBeginnings.end(), begins) ||
         std::any_of(kCompanionEndings.begin(), kCompanionEndings.end(), ends);
}

bool is_model_file(std::string_view name) {
  return is_companion(name) || is_shard(name) || name == "model.safetensors" ||
         name == "adapter_model.safetensors" || name == kIndexFile || name == kCardFile ||
         name == kJobFile || name == kSummaryFile || name == kChecksumsFile;
}

std::vector<std::string> companions_in(const std::filesystem::path& directory) {
  std::error_code failed;
  std::vector<std::string> names;
  std::filesystem::directory_iterator entry(directory, failed);
  for (; !failed && entry != std::filesystem::directory_iterator(); entry.increment(failed)) {
    const std::string name = entry->path().filename().string();
    std::error_code ignored;
    if (is_companion(name) && entry->is_regular_file(ignored)) names.push_back(name);
  }
  if (failed) {
    throw base::Error(base::ErrorKind::input,
                      fmt::format("{}: cannot be read: {}", directory.string(), failed.message()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<base::Dtype> torch_dtype(const Hdf5Layout& layout) {
  std::optional<base::Dtype> most;
  base::Elements elements;
  for (const Hdf5Dataset& dataset : layout.datasets) {
    if (!base::is_floating(dataset.dtype) || dataset.elements <= elements) continue;
    most = dataset.dtype;
    elements = dataset.elements;
  }
  return most && base::is_merged(*most) ? most : std::nullopt;
}

std::optional<std::string> with_torch_dtype(std::string_view config, base::Dtype dtype) {
  auto json = parse_config(config);
  if (!json) return std::nullopt;
  (*json)["torch_dtype"] = torch_name(dtype);
  replace_dtypes(*json, torch_name(dtype));
  return json->dump(2) + "\n";
}

std::optional<std::string> with_layers(std::string_view config,
                                       const std::vector<std::uint64_t>& layers) {
  auto json = parse_config(config);
  if (!json) return std::nullopt;
  replace_layers(*json, layers);
  const auto text = json->find("text_config");
  if (text != json->end() && text->is_object()) replace_layers(*text, layers);
  return json->dump(2) + "\n";
}

std::optional<std::string> with_untied_head(std::string_view config) {
  constexpr const char* kFlag = "tie_word_embeddings";
  auto json = parse_config(config);
  if (!json) return std::nullopt;
  (*json)[kFlag] = false;
  const auto text = json->find("text_config");
  if (text != json->end() && text->is_object() && text->contains(kFlag)) (*text)[kFlag] = false;
  return json->dump(2) + "\n";
}

}  // namespace mpimerge::output
