#include "mpimerge/checkpoint/ties.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <system_error>
#include <vector>

#include <nlohmann/json.hpp>

#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/layer_name.hpp"

#include "checkpoint/files.hpp"
#include "checkpoint/json_reader.hpp"

namespace mpimerge::checkpoint {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr auto kConfigFile = "config.json";
constexpr std::uint64_t kMostConfigBytes = std::uint64_t{16} << 20;

std::optional<bool> flag_of(const Json& config) {
  const auto flag = config.find("tie_word_embeddings");
  if (flag == config.end() || !flag->is_boolean()) return std::nullopt;
  return flag->get<bool>();
}

// `model.embed_tokens.weight` is of the module `embed_tokens`.
std::string_view module_of(std::string_view tensor) {
  constexpr std::string_view kWeight = ".weight";
  if (!tensor.ends_with(kWeight)) return {};
  tensor.remove_suffix(kWeight.size());
  return tensor.substr(tensor.rfind('.') + 1);
}

template <std::size_t n>
bool is_one_of(std::string_view module, const std::array<std::string_view, n>& modules) {
  return std::ranges::find(modules, module) != modules.end();
}

bool share_bytes(const TensorInfo& a, const TensorInfo& b) {
  return a.file == b.file && a.offset == b.offset && a.bytes == b.bytes && a.dtype == b.dtype &&
         a.shape == b.shape && a.bytes > base::Bytes{};
}

// Of tensors with the same bytes one is what the others are: the embeddings, else no head.
void note_sharing(Catalog& catalog, std::span<const TensorInfo> tensors) {
  if (tensors.size() < 2) return;
  const auto embeddings = embeddings_of(catalog);
  auto first = std::ranges::find_if(
      tensors, [&](const TensorInfo& tensor) { return tensor.name == embeddings; });
  if (first == tensors.end()) {
    first = std::ranges::find_if(tensors,
                                 [](const TensorInfo& tensor) { return !is_head(tensor.name); });
  }
  if (first == tensors.end()) first = tensors.begin();
  for (const TensorInfo& tensor : tensors) {
    if (tensor.name != first->name) catalog.tied.emplace(tensor.name, first->name);
  }
}

}  // namespace

std::optional<bool> ties_embeddings(std::string_view config) {
  bool is_too_deep = false;
  const auto take = [&](int depth, Json::parse_event_t, Json&) {
    is_too_deep = is_too_deep || depth > static_cast<int>(kMaxJsonDepth);
    return !is_too_deep;
  };
  const Json json = Json::parse(config, take, false);
  if (is_too_deep || !json.is_object()) return std::nullopt;
  if (const auto flag = flag_of(json)) return flag;
  const auto text = json.find("text_config");
  return text != json.end() && text->is_object() ? flag_of(*text) : std::nullopt;
}

bool is_head(std::string_view tensor) {
  constexpr std::array<std::string_view, 3> kModules{"lm_head", "embed_out", "output"};
  return !base::layer_name(tensor) && is_one_of(module_of(tensor), kModules);
}

std::optional<std::string> embeddings_of(const Catalog& catalog) {
  constexpr std::array<std::string_view, 6> kModules{"embed_tokens",    "wte",    "embed_in",
                                                     "word_embeddings", "shared", "tok_embeddings"};
  std::vector<std::string> found;
  for (const TensorInfo& tensor : catalog.tensors) {
    const std::string_view module = module_of(tensor.name);
    // T5 and its like have more of them, all of which are this one.
    if (module == "shared" && tensor.shape.size() == 2) return tensor.name;
    if (tensor.shape.size() == 2 && !base::layer_name(tensor.name) && is_one_of(module, kModules))
      found.push_back(tensor.name);
  }
  return found.size() == 1 ? std::optional(found.front()) : std::nullopt;
}

void note_ties(Catalog& catalog, const fs::path& path) {
  // In storage order, what shares its bytes lies side by side.
  for (auto begin = catalog.tensors.begin(); begin != catalog.tensors.end();) {
    const auto end = std::find_if(begin, catalog.tensors.end(), [&](const TensorInfo& tensor) {
      return tensor.name != begin->name && !share_bytes(*begin, tensor);
    });
    note_sharing(catalog, {begin, end});
    begin = end;
  }
  const fs::path file = path / kConfigFile;
  std::error_code ignored;
  if (!names_directory(path) || !fs::is_regular_file(file, ignored)) return;
  const auto descriptor = base::open_for_reading(file);
  const std::uint64_t size = base::file_size(descriptor, file).value();
  if (size > kMostConfigBytes) return;  // nothing that transformers wrote
  catalog.ties_embeddings = ties_embeddings(read_text(descriptor, file, base::Bytes{0}, size));
  auto embeddings = embeddings_of(catalog);
  if (catalog.ties_embeddings != true || !embeddings) return;
  const auto known = catalog.tied.find(*embeddings);
  if (known != catalog.tied.end()) embeddings = known->second;
  const auto of = std::ranges::find(catalog.tensors, *embeddings, &TensorInfo::name);
  for (const TensorInfo& tensor : catalog.tensors) {
    if (is_head(tensor.name) && tensor.shape == of->shape && tensor.dtype == of->dtype &&
        tensor.name != of->name)
      catalog.tied.emplace(tensor.name, *embeddings);
  }
  if (!catalog.tied.empty()) catalog.files.push_back(file);  // no tensors, but what they mean
}

}  // namespace mpimerge::checkpoint
