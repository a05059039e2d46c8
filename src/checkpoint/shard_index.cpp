#include "checkpoint/shard_index.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "checkpoint/json_reader.hpp"
#include "checkpoint/refuse.hpp"

namespace mpimerge::checkpoint {
namespace {

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

}  // namespace

std::map<std::string, std::string> parse_shard_index(std::string_view json,
                                                     const std::filesystem::path& file) {
  IndexReader reader(file);
  read_json(json, file, "the index", reader);
  return std::move(reader).take();
}

}  // namespace mpimerge::checkpoint
