#include "mpimerge/checkpoint/adapter.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <tuple>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/narrow.hpp"
#include "mpimerge/checkpoint/safetensors.hpp"

#include "checkpoint/files.hpp"
#include "checkpoint/json_reader.hpp"
#include "checkpoint/refuse.hpp"

namespace mpimerge::checkpoint {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr auto kConfigFile = "adapter_config.json";
constexpr std::uint64_t kMostConfigBytes = std::uint64_t{1} << 20;
// Beyond any weight's sides; products of it with a side stay far from 64 bits.
constexpr std::uint64_t kMostRank = std::uint64_t{1} << 20;

Json parse(std::string_view text, const fs::path& file) {
  bool is_too_deep = false;
  const auto take = [&](int depth, Json::parse_event_t, Json&) {
    is_too_deep = is_too_deep || depth > static_cast<int>(kMaxJsonDepth);
    return !is_too_deep;
  };
  Json json = Json::parse(text, take, false);
  if (is_too_deep) refuse(file, "nested deeper than {} levels", kMaxJsonDepth);
  if (!json.is_object())
    refuse(file, "not a JSON object, which the configuration of an adapter is");
  return json;
}

std::string found(const Json& value) {
  return in_quotes(value.dump(-1, ' ', true, Json::error_handler_t::replace));
}

const Json* find(const Json& config, const char* key) {
  const auto value = config.find(key);
  return value == config.end() || value->is_null() ? nullptr : &*value;
}

std::uint64_t read_rank(const Json& value, std::string_view key, const fs::path& file) {
  if (value.is_number_unsigned()) {
    const auto rank = value.get<std::uint64_t>();
    if (rank >= 1 && rank <= kMostRank) return rank;
  }
  refuse(file, "{}: found {}; expected a whole number from 1 to {}", key, found(value), kMostRank);
}

double read_alpha(const Json& value, std::string_view key, const fs::path& file) {
  if (value.is_number()) {
    const auto alpha = value.get<double>();
    if (std::abs(alpha) <= static_cast<double>(std::numeric_limits<float>::max())) return alpha;
  }
  refuse(file, "{}: found {}; expected a number within the range of float32", key, found(value));
}

bool read_flag(const Json& config, const char* key, const fs::path& file) {
  const Json* const value = find(config, key);
  if (value == nullptr) return false;
  if (!value->is_boolean())
    refuse(file, "{}: found {}; expected true or false", key, found(*value));
  return value->get<bool>();
}

template <class Number, class Read>
std::vector<std::pair<std::string, Number>> read_pattern(const Json& config, const char* key,
                                                         const fs::path& file, Read read) {
  std::vector<std::pair<std::string, Number>> numbers;
  const Json* const pattern = find(config, key);
  if (pattern == nullptr) return numbers;
  if (!pattern->is_object()) refuse(file, "{}: found {}; expected a map", key, found(*pattern));
  for (const auto& [name, value] : pattern->items()) {
    if (name.find_first_of("^$*+?()[]{}|\\") != std::string::npos) {
      refuse(file, "{}: {} is a regular expression; only names of modules are supported", key,
             in_quotes(name));
    }
    numbers.emplace_back(name, read(value, key, file));
  }
  return numbers;
}

// Whether a value switches something on.
bool is_set(const Json& value) {
  return !value.is_null() && value != Json(false) && !(value.is_structured() && value.empty());
}

// Variants of LoRA whose result is no base + scaling · B · A of all its elements.
void refuse_variants(const Json& config, const fs::path& file) {
  constexpr std::array<const char*, 8> kVariants{"use_dora",          "use_qalora",
                                                 "use_bdlora",        "lora_bias",
                                                 "layer_replication", "alora_invocation_tokens",
                                                 "target_parameters", "trainable_token_indices"};
  for (const char* key : kVariants) {
    const Json* const value = find(config, key);
    if (value == nullptr || !is_set(*value)) continue;
    refuse(file,
           "{}: found {}; not supported by this version; merge the adapter into its model first",
           key, found(*value));
  }
  const Json* const bias = find(config, "bias");
  if (bias != nullptr && *bias != Json("none")) {
    refuse(file, "bias: found {}; expected \"none\"; merge the adapter into its model first",
           found(*bias));
  }
}

template <class Number>
Number number_of(const std::vector<std::pair<std::string, Number>>& pattern,
                 std::string_view module, Number fallback) {
  for (const auto& [name, number] : pattern) {
    if (module == name || (module.ends_with(name) && module.size() > name.size() &&
                           module[module.size() - name.size() - 1] == '.'))
      return number;
  }
  return fallback;
}

/// The factors of a module, as the adapter has them.
struct Factors {
  const TensorInfo* a = nullptr;
  const TensorInfo* b = nullptr;
  bool is_embedding = false;
};

class Adapted {
 public:
  Adapted(Catalog base, const fs::path& directory)
      : catalog_(std::move(base)),
        base_(catalog_.path),
        adapter_(open_safetensors(directory)),
        file_(adapter_.files.front()),
        config_file_(directory / kConfigFile) {
    for (std::size_t number = 0; number < catalog_.tensors.size(); ++number)
      numbers_.emplace(catalog_.tensors[number].name, number);
  }

  Catalog make(const LoraConfig& config) {
    first_file_ = base::narrow<std::uint32_t>(catalog_.files.size());
    catalog_.files.insert(catalog_.files.end(), adapter_.files.begin(), adapter_.files.end());
    catalog_.files.push_back(config_file_);  // no tensors, but what they mean
    catalog_.path += "+" + config_file_.parent_path().string();
    for (const TensorInfo& tensor : adapter_.tensors) take(tensor);
    if (factors_.empty()) refuse(file_, "holds no factors of LoRA (lora_A, lora_B)");
    for (const auto& [module, factors] : factors_) add(module, factors, config);
    std::ranges::sort(catalog_.tensors, [](const TensorInfo& x, const TensorInfo& y) {
      return std::tie(x.file, x.offset, x.bytes, x.name) <
             std::tie(y.file, y.offset, y.bytes, y.name);
    });
    return std::move(catalog_);
  }

 private:
  void take(const TensorInfo& tensor) {
    constexpr std::string_view kPrefix = "base_model.model.";
    std::string_view name = tensor.name;
    if (!name.starts_with(kPrefix)) {
      refuse(file_, "tensor {} does not begin with {}, as PEFT names those of an adapter",
             in_quotes(name), kPrefix);
    }
    name.remove_prefix(kPrefix.size());
    const auto ends = [&](std::string_view ending) {
      if (!name.ends_with(ending)) return false;
      name.remove_suffix(ending.size());
      return true;
    };
    if (ends(".lora_A.weight")) {
      factors_[std::string(name)].a = &tensor;
    } else if (ends(".lora_B.weight") || ends(".lora_embedding_B")) {
      factors_[std::string(name)].b = &tensor;
    } else if (ends(".lora_embedding_A")) {
      Factors& factors = factors_[std::string(name)];
      factors.a = &tensor;
      factors.is_embedding = true;
    } else if (name.find("lora_") != std::string_view::npos) {
      refuse(file_,
             "tensor {} is not supported; expected lora_A.weight, lora_B.weight, "
             "lora_embedding_A or lora_embedding_B of a module",
             in_quotes(tensor.name));
    } else {
      replace(std::string(name), tensor);
    }
  }

  TensorInfo& of_base(const std::string& name, const TensorInfo& why) {
    const auto known = numbers_.find(name);
    if (known == numbers_.end()) {
      refuse(file_, "tensor {} is for {}, which the base {} lacks", in_quotes(why.name),
             in_quotes(name), base_);
    }
    return catalog_.tensors[known->second];
  }

  void replace(const std::string& name, const TensorInfo& tensor) {
    TensorInfo& target = of_base(name, tensor);
    check_shape(tensor, target.shape, target);
    target = tensor;
    target.name = name;
    target.file += first_file_;
  }

  void check_shape(const TensorInfo& tensor, const std::vector<std::uint64_t>& expected,
                   const TensorInfo& target) const {
    if (tensor.shape == expected) return;
    refuse(file_, "tensor {} has shape [{}]; expected [{}] for {} of shape [{}] in the base {}",
           in_quotes(tensor.name), fmt::join(tensor.shape, ", "), fmt::join(expected, ", "),
           in_quotes(target.name), fmt::join(target.shape, ", "), base_);
  }

  void check_type(const TensorInfo& tensor, const fs::path& file) const {
    if (base::is_merged(tensor.dtype)) return;
    refuse(file, "tensor {} is of type {}; expected a floating type (F64, F32, F16, BF16)",
           in_quotes(tensor.name), base::name(tensor.dtype));
  }

  void add(const std::string& module, const Factors& factors, const LoraConfig& config) {
    if (factors.a == nullptr || factors.b == nullptr) {
      const TensorInfo& only = factors.a == nullptr ? *factors.b : *factors.a;
      refuse(file_, "tensor {} is there without the module's other factor", in_quotes(only.name));
    }
    TensorInfo& target = of_base(module + ".weight", *factors.a);
    check_type(target, base_);
    check_type(*factors.a, file_);
    check_type(*factors.b, file_);
    if (target.shape.size() != 2) {
      refuse(file_, "tensor {} is for {}, which has shape [{}] in the base {}; expected a matrix",
             in_quotes(factors.a->name), in_quotes(target.name), fmt::join(target.shape, ", "),
             base_);
    }
    LowRank low;
    low.rank = number_of(config.ranks, module, config.rank);
    low.is_transposed = factors.is_embedding || config.fan_in_fan_out;
    const std::uint64_t in = target.shape[low.is_transposed ? 0 : 1];
    const std::uint64_t out = target.shape[low.is_transposed ? 1 : 0];
    if (!factors.a->shape.empty() && factors.a->shape[0] != low.rank) {
      refuse(file_, "tensor {} is of rank {}, but the module's rank is {} in {}",
             in_quotes(factors.a->name), factors.a->shape[0], low.rank,
             base::printable_path(config_file_));
    }
    check_shape(*factors.a, {low.rank, in}, target);
    check_shape(*factors.b, {out, low.rank}, target);
    const auto rank = static_cast<double>(low.rank);
    low.scaling = static_cast<float>(number_of(config.alphas, module, config.alpha) /
                                     (config.use_rslora ? std::sqrt(rank) : rank));
    low.a = {factors.a->file + first_file_, factors.a->dtype, factors.a->offset};
    low.b = {factors.b->file + first_file_, factors.b->dtype, factors.b->offset};
    catalog_.low_rank.emplace(target.name, low);
  }

  Catalog catalog_;
  std::string base_;
  Catalog adapter_;
  fs::path file_;
  fs::path config_file_;
  std::uint32_t first_file_ = 0;
  std::map<std::string, std::size_t> numbers_;  // of the base's tensors
  std::map<std::string, Factors> factors_;      // by module
};

}  // namespace

LoraConfig parse_lora_config(std::string_view text, const fs::path& file) {
  const Json json = parse(text, file);
  const Json* const type = find(json, "peft_type");
  if (type == nullptr || *type != Json("LORA")) {
    refuse(file,
           "peft_type: found {}; expected \"LORA\", the only adapters that are applied to a model; "
           "others are merged as they are, with `base_model: {{constant: 1}}` or 0",
           type == nullptr ? "nothing" : found(*type));
  }
  refuse_variants(json, file);
  LoraConfig config;
  const Json* const rank = find(json, "r");
  const Json* const alpha = find(json, "lora_alpha");
  if (rank == nullptr) refuse(file, "r: missing; expected the rank of the adapter");
  if (alpha == nullptr) refuse(file, "lora_alpha: missing; expected a number");
  config.rank = read_rank(*rank, "r", file);
  config.alpha = read_alpha(*alpha, "lora_alpha", file);
  config.use_rslora = read_flag(json, "use_rslora", file);
  config.fan_in_fan_out = read_flag(json, "fan_in_fan_out", file);
  config.ranks = read_pattern<std::uint64_t>(json, "rank_pattern", file, read_rank);
  config.alphas = read_pattern<double>(json, "alpha_pattern", file, read_alpha);
  return config;
}

bool is_adapter(const fs::path& directory) { return has(directory, kConfigFile); }

Catalog with_adapter(Catalog base, const fs::path& directory) {
  const fs::path file = directory / kConfigFile;
  const auto descriptor = base::open_for_reading(file);
  const std::uint64_t size = base::file_size(descriptor, file).value();
  if (size > kMostConfigBytes)
    refuse(file, "{} bytes long, expected at most {}", size, kMostConfigBytes);
  const LoraConfig config =
      parse_lora_config(read_text(descriptor, file, base::Bytes{0}, size), file);
  return Adapted(std::move(base), directory).make(config);
}

}  // namespace mpimerge::checkpoint
