#include "checkpoint/shard_index.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <ranges>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/log.hpp"
#include "mpimerge/checkpoint/safetensors.hpp"

#include "checkpoint/files.hpp"
#include "checkpoint/json_reader.hpp"
#include "checkpoint/refuse.hpp"

namespace mpimerge::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kWeightMap = "weight_map";

// The text decides, not what it resolves to: in a Hugging Face cache every shard is a link that
// leads out of the directory.
bool stays_inside(const std::string& name) {
  const std::filesystem::path path(name);
  const bool plain = path.has_filename() && path.is_relative() && path != "." &&
                     path.lexically_normal().native() == name;
  const bool printable = base::printable_path(path) == name;
  return plain && printable && std::ranges::find(path, "..") == path.end();
}

class IndexReader final : public JsonReader {
 public:
  explicit IndexReader(const std::filesystem::path& file) : file_(file) {}

  /// Local. The map, after the whole text was read.
  std::map<std::string, std::string> take() && {
    if (weight_map_.empty()) refuse(file_, "has no weight_map, or one that names no tensor");
    return std::move(weight_map_);
  }

  void begin_object() override {
    if (passed_over()) {
      ++depth_;
    } else if (place_ == Place::outside) {
      place_ = Place::index;
    } else if (place_ == Place::index) {
      place_ = Place::weight_map;
    } else {
      refuse_value("an object");
    }
  }

  void end_object() override {
    if (depth_ > 0) {
      --depth_;
    } else {
      place_ = place_ == Place::weight_map ? Place::index : Place::outside;
    }
  }

  void begin_list() override {
    if (!passed_over()) refuse_value("a list");
    ++depth_;
  }

  void end_list() override { --depth_; }

  void key(std::string text) override {
    if (depth_ > 0) return;
    key_ = std::move(text);
    if (place_ == Place::index && !keys_.insert(key_).second) {
      refuse(file_, "key {} stands there twice", in_quotes(key_));
    }
  }

  void string(std::string text) override {
    if (passed_over()) return;
    if (place_ != Place::weight_map) refuse_value("a string");
    if (!stays_inside(text)) {
      refuse(file_,

             "weight_map: tensor {} is in file {}; expected a plain path inside the directory",
             in_quotes(key_), in_quotes(text));
    }
    if (!weight_map_.try_emplace(key_, std::move(text)).second) {
      refuse(file_, "weight_map: tensor {} stands there twice", in_quotes(key_));
    }
  }

  void count(std::uint64_t value) override { other(std::to_string(value)); }

  void other(std::string_view found) override {
    if (!passed_over()) refuse_value(found);
  }

 private:
  enum class Place { outside, index, weight_map };

  // Whether what comes is the value of a key that does not concern us, or inside one.
  bool passed_over() const { return place_ == Place::index && key_ != kWeightMap; }

  [[noreturn]] void refuse_value(std::string_view found) const {
    if (place_ == Place::weight_map) {
      refuse(file_, "weight_map: the file of tensor {} must be a string, found {}", in_quotes(key_),
             found);
    }
    refuse(file_, "{} must be an object, found {}",
           place_ == Place::index ? kWeightMap : "the index", found);
  }

  const std::filesystem::path& file_;
  std::map<std::string, std::string> weight_map_;
  Place place_ = Place::outside;
  std::string key_;
  std::set<std::string> keys_;
  std::size_t depth_ = 0;  // inside a value that is passed over
};

bool is_missing(const fs::path& path) {
  std::error_code ignored;
  return fs::status(path, ignored).type() == fs::file_type::not_found;
}

std::string read_index(const fs::path& file) {
  const auto descriptor = base::open_for_reading(file);
  const auto size = base::file_size(descriptor, file).value();
  if (size > kMaxHeaderBytes) {
    refuse(file, "the index is {} bytes long, expected at most {}", size, kMaxHeaderBytes);
  }
  return read_text(descriptor, file, base::Bytes{0}, size);
}

// File names of shards, sorted: position n is Catalog::files[n].
using Shards = std::vector<std::string>;
using WeightMap = std::map<std::string, std::string>;

Shards shards_of(const WeightMap& weight_map) {
  Shards shards;
  std::ranges::copy(std::views::values(weight_map), std::back_inserter(shards));
  std::ranges::sort(shards);
  shards.erase(std::ranges::unique(shards).begin(), shards.end());
  return shards;
}

// All are looked for before the first is read, so that one message tells how many are missing.
void check_shards_exist(const fs::path& index, const Shards& shards) {
  const fs::path directory = index.parent_path();
  const auto missing = [&](const std::string& shard) { return is_missing(directory / shard); };
  const auto first = std::ranges::find_if(shards, missing);
  if (first == shards.end()) return;
  refuse(directory / *first,
         "this shard is missing ({} of the {} in {} are); download the model again, or "
         "copy the shard there",
         std::count_if(first, shards.end(), missing), shards.size(), index.filename().string());
}

// Index and shards must tell the same story: each tensor once, where the index says.
void check_index(const fs::path& index, WeightMap weight_map, const Shards& shards,
                 const std::vector<TensorInfo>& tensors) {
  constexpr auto kRemedy = "are index and shards of the same download?";
  std::vector<const TensorInfo*> by_name;
  by_name.reserve(tensors.size());
  for (const TensorInfo& tensor : tensors) by_name.push_back(&tensor);
  // Stable: equal names stay in the order of files.
  std::ranges::stable_sort(by_name, {}, &TensorInfo::name);
  const auto twice = std::ranges::adjacent_find(by_name, {}, &TensorInfo::name);
  if (twice != by_name.end()) {
    refuse(index, "tensor {} is in two shards, {} and {}; {}", in_quotes((*twice)->name),
           in_quotes(shards[twice[0]->file]), in_quotes(shards[twice[1]->file]), kRemedy);
  }
  for (const TensorInfo* tensor : by_name) {
    const auto listed = weight_map.extract(tensor->name);
    const auto found = in_quotes(shards[tensor->file]);
    if (!listed) {
      refuse(index, "tensor {} of shard {} is not listed; {}", in_quotes(tensor->name), found,
             kRemedy);
    }
    if (listed.mapped() != shards[tensor->file]) {
      refuse(index, "tensor {} should be in shard {}, found it in {}; {}", in_quotes(tensor->name),
             in_quotes(listed.mapped()), found, kRemedy);
    }
  }
  if (!weight_map.empty()) {
    const auto& [name, shard] = *weight_map.begin();
    refuse(index, "tensor {} should be in shard {}, which does not hold it; {}", in_quotes(name),
           in_quotes(shard), kRemedy);
  }
}

}  // namespace

std::map<std::string, std::string> parse_shard_index(std::string_view json,
                                                     const std::filesystem::path& file) {
  IndexReader reader(file);
  read_json(json, file, "the index", reader);
  return std::move(reader).take();
}

void append_shards(Catalog& catalog, const fs::path& index, const std::string& whole,
                   const std::function<void(Catalog&, const fs::path&)>& append) {
  const fs::path directory = index.parent_path();
  WeightMap weight_map = parse_shard_index(read_index(index), index);
  const Shards shards = shards_of(weight_map);
  check_shards_exist(index, shards);
  if (has(directory, whole.c_str()) && !std::ranges::binary_search(shards, whole)) {
    base::log().warn("{}: {} is not read, for there is {}", directory.string(), whole,
                     index.filename().string());
  }
  for (const std::string& shard : shards) append(catalog, directory / shard);
  check_index(index, std::move(weight_map), shards, catalog.tensors);
}

}  // namespace mpimerge::checkpoint
