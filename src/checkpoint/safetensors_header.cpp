#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "mpimerge/base/checked.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/checkpoint/safetensors.hpp"

#include "checkpoint/json_reader.hpp"
#include "checkpoint/refuse.hpp"
#include "checkpoint/tensor_rules.hpp"

namespace mpimerge::checkpoint {
namespace {

constexpr std::string_view kMetadata = "__metadata__";

// One `{"dtype": ..., "shape": ..., "data_offsets": ...}` as it is read.
struct Entry {
  std::string name;
  std::vector<std::string> keys;
  base::Dtype dtype{};
  std::vector<std::uint64_t> shape;
  std::vector<std::uint64_t> data_offsets;
};

constexpr std::array<std::string_view, 3> kEntryKeys = {"dtype", "shape", "data_offsets"};

class HeaderReader final : public JsonReader {
 public:
  HeaderReader(base::Bytes data_offset, const std::filesystem::path& file)
      : data_offset_(data_offset), file_(file) {}

  /// Local. What was read, in the order of the text.
  SafetensorsHeader take() && { return std::move(header_); }

  void begin_object() override {
    if (place_ == Place::outside) {
      place_ = Place::header;
    } else if (place_ == Place::header && key_ == kMetadata) {
      place_ = Place::metadata;
    } else if (place_ == Place::header) {
      place_ = Place::tensor;
      entry_ = Entry{};
      entry_.name = std::move(key_);
    } else {
      refuse_value("an object");
    }
  }

  void end_object() override {
    if (place_ == Place::tensor) header_.tensors.push_back(finished_tensor());
    place_ = place_ == Place::header ? Place::outside : Place::header;
  }

  void begin_list() override {
    if (place_ == Place::tensor && key_ == "shape") {
      place_ = Place::shape;
    } else if (place_ == Place::tensor && key_ == "data_offsets") {
      place_ = Place::data_offsets;
    } else {
      refuse_value("a list");
    }
  }

  void end_list() override { place_ = Place::tensor; }

  void key(std::string text) override {
    key_ = std::move(text);
    if (place_ == Place::header) check_name();
    if (place_ == Place::tensor) check_entry_key();
  }

  void string(std::string text) override {
    if (place_ == Place::metadata) {
      if (!header_.metadata.try_emplace(key_, std::move(text)).second) {
        refuse(file_, "{}: key {} stands there twice", kMetadata, in_quotes(key_));
      }
    } else if (place_ == Place::tensor && key_ == "dtype") {
      const auto dtype = base::parse_dtype(text);
      if (!dtype) {
        refuse_tensor("unknown dtype {}; expected one of {}", in_quotes(text), dtype_names());
      }
      entry_.dtype = *dtype;
    } else {
      refuse_value("a string");
    }
  }

  void count(std::uint64_t value) override {
    if (place_ == Place::shape) {
      if (entry_.shape.size() == kMaxDimensions) {
        refuse_tensor("shape has more than {} dimensions", kMaxDimensions);
      }
      entry_.shape.push_back(value);
    } else if (place_ == Place::data_offsets) {
      if (entry_.data_offsets.size() == 2) {
        refuse_tensor("data_offsets must hold 2 integers, found more");
      }
      entry_.data_offsets.push_back(value);
    } else {
      refuse_value(std::to_string(value));
    }
  }

  void other(std::string_view found) override { refuse_value(found); }

 private:
  enum class Place { outside, header, metadata, tensor, shape, data_offsets };

  static std::string dtype_names() {
    std::vector<std::string_view> names;
    std::ranges::transform(base::kAllDtypes, std::back_inserter(names), base::name);
    return fmt::format("{}", fmt::join(names, " "));
  }

  void check_name() {
    if (key_ == kMetadata && std::exchange(metadata_seen_, true)) {
      refuse(file_, "{} stands there twice", kMetadata);
    }
    check_tensor_name(key_, file_);
  }

  void check_entry_key() {
    if (std::ranges::find(kEntryKeys, key_) == kEntryKeys.end()) {
      refuse_tensor("unknown key {}; expected {}", in_quotes(key_), fmt::join(kEntryKeys, ", "));
    }
    if (std::ranges::find(entry_.keys, key_) != entry_.keys.end()) {
      refuse_tensor("key {} stands there twice", in_quotes(key_));
    }
    entry_.keys.push_back(key_);
  }

  TensorInfo finished_tensor() {
    for (const std::string_view key : kEntryKeys) {
      if (std::ranges::find(entry_.keys, key) == entry_.keys.end()) {
        refuse_tensor("has no `{}`", key);
      }
    }
    const auto data = checked_data();
    const auto elements = checked_elements(data);
    return {.name = std::move(entry_.name),
            .dtype = entry_.dtype,
            .shape = std::move(entry_.shape),
            .elements = elements,
            .file = 0,
            .offset = data_offset_ + data.begin,
            .bytes = data.count()};
  }

  // The range among the data bytes; counted from the start of the file it fits 64 bits as well.
  base::Range<base::Bytes> checked_data() const {
    const auto& offsets = entry_.data_offsets;
    if (offsets.size() != 2) {
      refuse_tensor("data_offsets must hold 2 integers, found {}", offsets.size());
    }
    if (offsets[0] > offsets[1]) {
      refuse_tensor("data_offsets [{}, {}] run backwards", offsets[0], offsets[1]);
    }
    if (!base::checked_add(data_offset_.value(), offsets[1])) {
      refuse_tensor("data_offsets [{}, {}] overflow 64 bits", offsets[0], offsets[1]);
    }
    return {base::Bytes{offsets[0]}, base::Bytes{offsets[1]}};
  }

  // The number of elements, proved to fill `data`.
  base::Elements checked_elements(base::Range<base::Bytes> data) const {
    const auto type = base::name(entry_.dtype);
    const auto elements = count_elements(entry_.shape);
    const auto bytes =
        base::checked_multiply(elements.value_or(0), base::element_bytes(entry_.dtype).value());
    if (!elements || !bytes) {
      refuse_tensor("the size of shape {} of {} overflows 64 bits", shape_text(entry_.shape), type);
    }
    if (data.count().value() != *bytes) {
      refuse_tensor("data_offsets [{}, {}] are {} bytes, but shape {} of {} takes {}",
                    data.begin.value(), data.end.value(), data.count().value(),
                    shape_text(entry_.shape), type, *bytes);
    }
    return base::Elements{*elements};
  }

  template <class... Args>
  [[noreturn]] void refuse_tensor(fmt::format_string<Args...> text, Args&&... args) const {
    refuse(file_, "tensor {}: {}", in_quotes(entry_.name),
           fmt::format(text, std::forward<Args>(args)...));
  }

  // A value of a kind that does not belong to where it stands.
  [[noreturn]] void refuse_value(std::string_view found) const {
    if (place_ == Place::metadata) {
      refuse(file_, "{}: key {} must be a string, found {}", kMetadata, in_quotes(key_), found);
    }
    if (place_ == Place::tensor) {
      const auto expected = key_ == "dtype" ? "a string" : "a list of integers";
      refuse_tensor("{} must be {}, found {}", key_, expected, found);
    }
    if (place_ == Place::header) {
      refuse(file_, "{} must be an object, found {}", in_quotes(key_), found);
    }
    refuse_tensor("{} must hold integers from 0 to 2^64 - 1, found {}", key_, found);
  }

  base::Bytes data_offset_;
  const std::filesystem::path& file_;
  SafetensorsHeader header_;
  Place place_ = Place::outside;
  std::string key_;
  Entry entry_;
  bool metadata_seen_ = false;
};

// `tensors` in storage order. Messages count from the first data byte, as the header does.
void check_tiling(const std::vector<TensorInfo>& tensors, base::Bytes data_offset,
                  base::Bytes data_bytes, const std::filesystem::path& file) {
  base::Bytes position = data_offset;
  const TensorInfo* last = nullptr;  // the one that ends at `position`
  for (const TensorInfo& tensor : tensors) {
    const auto begin = (tensor.offset - data_offset).value();
    const auto expected = (position - data_offset).value();
    if (tensor.offset < position) {
      refuse(file, "tensor {} overlaps tensor {}: it begins at data byte {}, the other ends at {}",
             in_quotes(tensor.name), in_quotes(last->name), begin, expected);
    }
    if (tensor.offset > position) {
      refuse(file, "data bytes {} to {}, before tensor {}, belong to no tensor", expected, begin,
             in_quotes(tensor.name));
    }
    last = &tensor;
    position += tensor.bytes;
  }
  const base::Bytes file_end = data_offset + data_bytes;
  if (position > file_end) {
    refuse(file,
           "shorter than its header says: expected {} bytes, found {}, {} are missing. "
           "Truncated? Download or copy it again",
           position.value(), file_end.value(), (position - file_end).value());
  }
  if (position < file_end) {
    refuse(file,
           "longer than its header says: expected {} bytes, found {}, {} too many. "
           "Damaged? Download or copy it again",
           position.value(), file_end.value(), (file_end - position).value());
  }
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view json, base::Bytes data_offset,
                                           base::Bytes data_bytes,
                                           const std::filesystem::path& file) {
  if (!json.starts_with('{')) {
    refuse(file, "the header must begin with {{, found {}; is it a safetensors file?",
           json.empty() ? "nothing"
                        : fmt::format("byte {:#04x}", static_cast<unsigned char>(json[0])));
  }
  HeaderReader reader(data_offset, file);
  const auto object = json.substr(0, json.find_last_not_of(' ') + 1);
  read_json(object, file, "the header", reader);
  // Of JSON's white space the format allows only spaces as padding.
  if (!object.ends_with('}')) {
    refuse(file, "the header must end with }} and nothing but spaces after it");
  }
  SafetensorsHeader header = std::move(reader).take();
  check_names_differ(header.tensors, file);
  sort_in_storage_order(header.tensors);
  check_tiling(header.tensors, data_offset, data_bytes, file);
  return header;
}

}  // namespace mpimerge::checkpoint
