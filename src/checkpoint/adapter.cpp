#include "mpimerge/checkpoint/adapter.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

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

enum class Kind : std::uint8_t { a, b, embedding_a, embedding_b, other };

/// A tensor of a LoRA adapter: a factor of a module, or another one, by the name that it has in the
/// model.
struct Name {
  Kind kind = Kind::other;
  std::string module;
};

std::string without_prefix(std::string_view name, const fs::path& file) {
  constexpr std::string_view kPrefix = "base_model.model.";
  if (!name.starts_with(kPrefix)) {
    refuse(file, "tensor {} does not begin with {}, as PEFT names those of an adapter",
           in_quotes(name), kPrefix);
  }
  return std::string(name.substr(kPrefix.size()));
}

Name name_of(std::string_view tensor, const fs::path& file) {
  constexpr std::array<std::pair<std::string_view, Kind>, 4> kEndings{
      {{".lora_A.weight", Kind::a},
       {".lora_B.weight", Kind::b},
       {".lora_embedding_A", Kind::embedding_a},
       {".lora_embedding_B", Kind::embedding_b}}};
  std::string name = without_prefix(tensor, file);
  for (const auto& [ending, kind] : kEndings) {
    if (name.ends_with(ending)) return {kind, name.substr(0, name.size() - ending.size())};
  }
  if (name.find("lora_") != std::string::npos) {
    refuse(file,
           "tensor {} is not supported; expected lora_A.weight, lora_B.weight, "
           "lora_embedding_A or lora_embedding_B of a module",
           in_quotes(tensor));
  }
  return {Kind::other, std::move(name)};
}

/// The factors of a module, as the adapter has them.
struct Factors {
  const TensorInfo* a = nullptr;
  const TensorInfo* b = nullptr;
  bool is_embedding = false;

  void take(Kind kind, const TensorInfo& tensor) {
    (kind == Kind::a || kind == Kind::embedding_a ? a : b) = &tensor;
    is_embedding = is_embedding || kind == Kind::embedding_a;
  }
};

void check_pair(const Factors& factors, const fs::path& file) {
  if (factors.a != nullptr && factors.b != nullptr) return;
  const TensorInfo& only = factors.a == nullptr ? *factors.b : *factors.a;
  refuse(file, "tensor {} is there without the module's other factor", in_quotes(only.name));
}

double scaling_of(const LoraConfig& config, const std::string& module, std::uint64_t rank) {
  const auto number = static_cast<double>(rank);
  return number_of(config.alphas, module, config.alpha) /
         (config.use_rslora ? std::sqrt(number) : number);
}

void check_floating(const TensorInfo& tensor, const std::string& where) {
  if (base::is_merged(tensor.dtype)) return;
  refuse(where, "tensor {} is of type {}; expected a floating type (F64, F32, F16, BF16)",
         in_quotes(tensor.name), base::name(tensor.dtype));
}

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
    begin();
    for (const TensorInfo& tensor : adapter_.tensors) {
      const Name name = name_of(tensor.name, file_);
      if (name.kind == Kind::other)
        replace(name.module, tensor);
      else
        factors_[name.module].take(name.kind, tensor);
    }
    if (factors_.empty()) refuse(file_, "holds no factors of LoRA (lora_A, lora_B)");
    for (const auto& [module, factors] : factors_) add(module, factors, config);
    return finish();
  }

  // Of an (IA)^3 adapter.
  Catalog make_scaled(bool fan_in_fan_out) {
    constexpr std::string_view kEnding = ".ia3_l";
    begin();
    for (const TensorInfo& tensor : adapter_.tensors) {
      const std::string name = without_prefix(tensor.name, file_);
      if (name.ends_with(kEnding))
        scale(name.substr(0, name.size() - kEnding.size()), tensor, fan_in_fan_out);
      else
        replace(name, tensor);
    }
    if (catalog_.scaling.empty()) refuse(file_, "holds no vectors of (IA)^3 (ia3_l)");
    return finish();
  }

 private:
  void begin() {
    first_file_ = base::narrow<std::uint32_t>(catalog_.files.size());
    catalog_.files.insert(catalog_.files.end(), adapter_.files.begin(), adapter_.files.end());
    catalog_.files.push_back(config_file_);  // no tensors, but what they mean
    catalog_.path += "+" + config_file_.parent_path().string();
  }

  Catalog finish() {
    std::ranges::sort(catalog_.tensors, [](const TensorInfo& x, const TensorInfo& y) {
      return std::tie(x.file, x.offset, x.bytes, x.name) <
             std::tie(y.file, y.offset, y.bytes, y.name);
    });
    // What an adapter changes is no longer what it was tied to.
    std::erase_if(catalog_.tied, [&](const auto& tie) {
      return changed_.contains(tie.first) || changed_.contains(tie.second);
    });
    return std::move(catalog_);
  }

  // The weight and, of rows, the bias of a module are multiplied by a vector.
  void scale(const std::string& module, const TensorInfo& vector, bool fan_in_fan_out) {
    TensorInfo& target = of_base(module + ".weight", vector);
    check_floating(target, base_);
    check_floating(vector, file_);
    if (target.shape.size() != 2) {
      refuse(file_, "tensor {} is for {}, which has shape [{}] in the base {}; expected a matrix",
             in_quotes(vector.name), in_quotes(target.name), fmt::join(target.shape, ", "), base_);
    }
    const std::uint64_t in = target.shape[fan_in_fan_out ? 0 : 1];
    const std::uint64_t out = target.shape[fan_in_fan_out ? 1 : 0];
    const bool is_of_inputs = vector.shape == std::vector<std::uint64_t>{1, in};
    if (!is_of_inputs) check_shape(vector, {out, 1}, target);
    const Factor factor{vector.file + first_file_, vector.dtype, vector.offset};
    catalog_.scaling.emplace(target.name, Scaling{factor, is_of_inputs != fan_in_fan_out});
    changed_.insert(target.name);
    const auto bias = numbers_.find(module + ".bias");
    if (is_of_inputs || bias == numbers_.end()) return;
    const TensorInfo& of_module = catalog_.tensors[bias->second];
    check_floating(of_module, base_);
    if (of_module.shape != std::vector<std::uint64_t>{out})
      check_shape(vector, {out, 1}, of_module);
    catalog_.scaling.emplace(of_module.name, Scaling{factor, false});
    changed_.insert(of_module.name);
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
    changed_.insert(name);
  }

  void check_shape(const TensorInfo& tensor, const std::vector<std::uint64_t>& expected,
                   const TensorInfo& target) const {
    if (tensor.shape == expected) return;
    refuse(file_, "tensor {} has shape [{}]; expected [{}] for {} of shape [{}] in the base {}",
           in_quotes(tensor.name), fmt::join(tensor.shape, ", "), fmt::join(expected, ", "),
           in_quotes(target.name), fmt::join(target.shape, ", "), base_);
  }

  void add(const std::string& module, const Factors& factors, const LoraConfig& config) {
    check_pair(factors, file_);
    TensorInfo& target = of_base(module + ".weight", *factors.a);
    check_floating(target, base_);
    check_floating(*factors.a, file_);
    check_floating(*factors.b, file_);
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
    low.scaling = static_cast<float>(scaling_of(config, module, low.rank));
    low.a = {factors.a->file + first_file_, factors.a->dtype, factors.a->offset};
    low.b = {factors.b->file + first_file_, factors.b->dtype, factors.b->offset};
    catalog_.low_rank.emplace(target.name, low);
    changed_.insert(target.name);
  }

  Catalog catalog_;
  std::string base_;
  Catalog adapter_;
  fs::path file_;
  fs::path config_file_;
  std::uint32_t first_file_ = 0;
  std::map<std::string, std::size_t> numbers_;  // of the base's tensors
  std::map<std::string, Factors> factors_;      // by module
  std::set<std::string> changed_;               // tensors
};

constexpr std::string_view kLora = "LORA";
constexpr std::string_view kIa3 = "IA3";

std::string type_of(const Json& config, const fs::path& file) {
  const Json* const type = find(config, "peft_type");
  if (type != nullptr && (*type == Json(kLora) || *type == Json(kIa3))) return *type;
  refuse(file,
         "peft_type: found {}; expected \"LORA\" or \"IA3\", the only adapters that are applied "
         "to a model; others are merged as they are, with `base_model: {{constant: 1}}` or 0",
         type == nullptr ? "nothing" : found(*type));
}

LoraConfig lora_config(const Json& json, const fs::path& file) {
  if (type_of(json, file) != kLora) refuse(file, "peft_type: found `\"IA3\"`; expected \"LORA\"");
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

Json read_config(const fs::path& directory) {
  const fs::path file = directory / kConfigFile;
  const auto descriptor = base::open_for_reading(file);
  const std::uint64_t size = base::file_size(descriptor, file).value();
  if (size > kMostConfigBytes)
    refuse(file, "{} bytes long, expected at most {}", size, kMostConfigBytes);
  return parse(read_text(descriptor, file, base::Bytes{0}, size), file);
}

/// LoRA adapters on their way to become one.
class Concatenation {
 public:
  explicit Concatenation(const std::vector<fs::path>& directories) {
    adapters_.reserve(directories.size());
    for (const fs::path& directory : directories) open(directory);
    for (Adapter& adapter : adapters_) {
      for (const TensorInfo& tensor : adapter.catalog.tensors) take(adapter, tensor);
      for (const auto& [module, factors] : adapter.factors) check(adapter, module, factors);
    }
  }

  Catalog make(const std::vector<double>& weights) {
    Catalog all;
    std::vector<std::uint32_t> first_files;
    for (const Adapter& adapter : adapters_) {
      all.path += (all.path.empty() ? "" : ", ") + adapter.catalog.path;
      first_files.push_back(base::narrow<std::uint32_t>(all.files.size()));
      all.files.insert(all.files.end(), adapter.catalog.files.begin(), adapter.catalog.files.end());
      all.files.push_back(adapter.config_file);  // no tensors, but what they mean
    }
    all.metadata = adapters_.front().catalog.metadata;
    for (const auto& [module, rank] : ranks_) {
      for (const bool is_a : {true, false}) {
        Mosaic mosaic;
        mosaic.is_side_by_side = !is_a;
        TensorInfo whole;
        for (std::size_t number = 0; number < adapters_.size(); ++number) {
          const auto known = adapters_[number].factors.find(module);
          if (known == adapters_[number].factors.end()) continue;
          const TensorInfo& part = is_a ? *known->second.a : *known->second.b;
          const std::uint32_t file = part.file + first_files[number];
          if (mosaic.parts.empty()) {
            whole = part;
            whole.file = file;
            whole.elements = {};
          }
          const std::uint64_t length = part.shape[is_a ? 0 : 1];
          const double scale =
              is_a ? weights[number] * scaling_of(adapters_[number].config, module, length) : 1;
          mosaic.parts.push_back(
              {{file, part.dtype, part.offset}, length, static_cast<float>(scale)});
          whole.elements += part.elements;
        }
        whole.shape[is_a ? 0 : 1] = rank;
        whole.bytes =
            base::Bytes{whole.elements.value() * base::element_bytes(whole.dtype).value()};
        all.mosaics.emplace(whole.name, std::move(mosaic));
        all.tensors.push_back(std::move(whole));
      }
    }
    std::ranges::sort(all.tensors, [](const TensorInfo& x, const TensorInfo& y) {
      return std::tie(x.file, x.offset, x.bytes, x.name) <
             std::tie(y.file, y.offset, y.bytes, y.name);
    });
    return all;
  }

  // Every module by its full name, where the adapters do not say the same in a list.
  std::string config() const {
    Json config = adapters_.front().json;
    std::map<std::uint64_t, std::size_t> modules_of;
    for (const auto& [module, rank] : ranks_) ++modules_of[rank];
    const std::uint64_t rank = std::ranges::max_element(modules_of, {}, [](const auto& each) {
                                 return each.second;
                               })->first;
    Json ranks = Json::object();
    for (const auto& [module, of_module] : ranks_)
      if (of_module != rank) ranks[module] = of_module;
    config["r"] = rank;
    config["lora_alpha"] = rank;
    config["use_rslora"] = false;
    config["rank_pattern"] = ranks;
    config["alpha_pattern"] = ranks;
    config["target_modules"] = Json::array();
    for (const auto& [module, of_module] : ranks_) config["target_modules"].push_back(module);
    return config.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  }

 private:
  struct Adapter {
    Catalog catalog;
    fs::path config_file;
    Json json;
    LoraConfig config;
    std::map<std::string, Factors> factors = {};  // by module
  };

  void open(const fs::path& directory) {
    const fs::path file = directory / kConfigFile;
    Json json = read_config(directory);
    LoraConfig config = lora_config(json, file);
    if (!adapters_.empty() && adapters_.front().config.fan_in_fan_out != config.fan_in_fan_out) {
      refuse(file, "fan_in_fan_out: found {}, but {} in {}; expected the same in all adapters",
             config.fan_in_fan_out, !config.fan_in_fan_out,
             base::printable_path(adapters_.front().config_file));
    }
    adapters_.push_back({open_safetensors(directory), file, std::move(json), std::move(config)});
  }

  static void take(Adapter& adapter, const TensorInfo& tensor) {
    const fs::path& file = adapter.catalog.files[tensor.file];
    const Name name = name_of(tensor.name, file);
    if (name.kind == Kind::other) {
      refuse(file,
             "tensor {} is no factor of LoRA; expected nothing else in adapters to put "
             "together",
             in_quotes(tensor.name));
    }
    check_floating(tensor, file);
    adapter.factors[name.module].take(name.kind, tensor);
  }

  // Against the configuration and against what others have of the module.
  void check(const Adapter& adapter, const std::string& module, const Factors& factors) {
    const fs::path& file = adapter.catalog.files.front();
    check_pair(factors, file);
    const std::uint64_t rank = number_of(adapter.config.ranks, module, adapter.config.rank);
    const auto is_of_rank = [&](const TensorInfo& tensor, std::size_t dimension) {
      return tensor.shape.size() >= 2 && tensor.shape[dimension] == rank &&
             tensor.elements > base::Elements{};
    };
    for (const TensorInfo* tensor : {factors.a, factors.b}) {
      if (is_of_rank(*tensor, tensor == factors.a ? 0 : 1)) continue;
      refuse(file, "tensor {} has shape [{}]; expected {} of rank {}, as {} says",
             in_quotes(tensor->name), fmt::join(tensor->shape, ", "),
             tensor == factors.a ? "rows" : "columns", rank,
             base::printable_path(adapter.config_file));
    }
    const auto [first, is_new] = firsts_.emplace(module, std::pair(&adapter, &factors));
    ranks_[module] += rank;
    if (is_new) return;
    const auto& [other, theirs] = first->second;
    check_like(adapter, *factors.a, *other, *theirs->a, 0);
    check_like(adapter, *factors.b, *other, *theirs->b, 1);
  }

  static void check_like(const Adapter& adapter, const TensorInfo& found, const Adapter& other,
                         const TensorInfo& expected, std::size_t rank_dimension) {
    std::vector<std::uint64_t> shape = expected.shape;
    if (found.shape.size() == shape.size()) shape[rank_dimension] = found.shape[rank_dimension];
    if (found.name == expected.name && found.shape == shape) return;
    refuse(adapter.catalog.files.front(),
           "tensor {} has shape [{}], but {} has shape [{}] in {}; expected adapters of one model",
           in_quotes(found.name), fmt::join(found.shape, ", "), in_quotes(expected.name),
           fmt::join(expected.shape, ", "), other.catalog.path);
  }

  std::vector<Adapter> adapters_;
  std::map<std::string, std::uint64_t> ranks_;  // by module, of all adapters
  std::map<std::string, std::pair<const Adapter*, const Factors*>> firsts_;
};

}  // namespace

LoraConfig parse_lora_config(std::string_view text, const fs::path& file) {
  return lora_config(parse(text, file), file);
}

bool is_adapter(const fs::path& directory) { return has(directory, kConfigFile); }

Catalog with_adapter(Catalog base, const fs::path& directory) {
  const fs::path file = directory / kConfigFile;
  const Json json = read_config(directory);
  const bool is_lora = type_of(json, file) == kLora;
  const LoraConfig config = is_lora ? lora_config(json, file) : LoraConfig{};
  Adapted adapted(std::move(base), directory);
  return is_lora ? adapted.make(config)
                 : adapted.make_scaled(read_flag(json, "fan_in_fan_out", file));
}

Catalog concatenate(const std::vector<fs::path>& directories, const std::vector<double>& weights) {
  return Concatenation(directories).make(weights);
}

std::string concatenated_config(const std::vector<fs::path>& directories) {
  return Concatenation(directories).config();
}

}  // namespace mpimerge::checkpoint
