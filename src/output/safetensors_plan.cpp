#include "mpimerge/output/safetensors_plan.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/checkpoint/safetensors.hpp"

namespace mpimerge::output {
namespace {

using base::Bytes;
using base::Elements;
using nlohmann::json;

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kHeaderAlignment = 8;
constexpr const char* kMetadataKey = "__metadata__";

[[noreturn]] void refuse_name(const std::string& name, std::string_view why) {
  throw base::Error(base::ErrorKind::input,
                    fmt::format("tensor `{}`: safetensors cannot hold this name: {}; rename the "
                                "tensor, or write HDF5 (an output that ends in .h5)",
                                base::printable(name), why));
}

void check_names(const std::vector<Hdf5Tensor>& tensors) {
  std::set<std::string_view> names;
  for (const Hdf5Tensor& tensor : tensors) {
    if (tensor.name.empty()) refuse_name(tensor.name, "it is empty");
    if (tensor.name == kMetadataKey) refuse_name(tensor.name, "it is that of the metadata");
    if (!names.insert(tensor.name).second) refuse_name(tensor.name, "it occurs twice");
    try {
      static_cast<void>(json(tensor.name).dump());
    } catch (const json::type_error&) {
      refuse_name(tensor.name, "it is not UTF-8");
    }
  }
}

Elements elements_of(const std::vector<std::uint64_t>& shape) {
  // A 0 anywhere makes it empty, whatever the rest would multiply to.
  if (std::find(shape.begin(), shape.end(), 0U) != shape.end()) return Elements{0};
  std::uint64_t elements = 1;
  for (const std::uint64_t length : shape) elements *= length;
  return Elements{elements};
}

Bytes bytes_of(const Hdf5Tensor& tensor) {
  return Bytes{elements_of(tensor.shape).value() * base::element_bytes(tensor.dtype).value()};
}

// The file of each tensor.
std::vector<std::size_t> assign_files(const std::vector<Hdf5Tensor>& tensors, Bytes shard_size) {
  std::vector<std::size_t> file_of;
  file_of.reserve(tensors.size());
  std::size_t file = 0;
  Bytes filled;
  for (const Hdf5Tensor& tensor : tensors) {
    const Bytes bytes = bytes_of(tensor);
    const bool fits = bytes <= shard_size && filled <= shard_size - bytes;
    if (!fits && filled > Bytes{}) {
      ++file;
      filled = Bytes{};
    }
    file_of.push_back(file);
    filled += bytes;
  }
  return file_of;
}

std::string file_name(std::string_view stem, std::size_t file, std::size_t files) {
  if (files == 1) return fmt::format("{}.safetensors", stem);
  return fmt::format("{}-{:05}-of-{:05}.safetensors", stem, file + 1, files);
}

// `__metadata__` of every file: what the base has, and "format", without which transformers does
// not take a file.
json metadata_of(const Hdf5Layout& layout) {
  json metadata(layout.metadata);
  if (!metadata.contains("format")) metadata["format"] = "pt";
  return metadata;
}

// A place of a tensor: behind the header.
struct Place {
  std::size_t tensor;
  Bytes begin;
};

std::string header_of(const std::vector<Place>& places, const Hdf5Layout& layout,
                      const std::string& file) {
  // Text that is not UTF-8 is a flaw of the input's metadata, not worth losing a merge for.
  const auto replace = json::error_handler_t::replace;
  std::string text = fmt::format("{{{}:{}", json(kMetadataKey).dump(),
                                 metadata_of(layout).dump(-1, ' ', false, replace));
  // Not as one json object: those that keep their order search all keys for every new one.
  for (const Place& place : places) {
    const Hdf5Tensor& tensor = layout.tensors[place.tensor];
    text += fmt::format(R"(,{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                        json(tensor.name).dump(), base::name(tensor.dtype),
                        fmt::join(tensor.shape, ","), place.begin.value(),
                        (place.begin + bytes_of(tensor)).value());
  }
  text += '}';
  text.resize((text.size() + kHeaderAlignment - 1) / kHeaderAlignment * kHeaderAlignment, ' ');
  if (text.size() > checkpoint::kMaxHeaderBytes) {
    throw base::Error(
        base::ErrorKind::input,
        fmt::format("{}: the header of its {} tensors takes {} bytes, and safetensors allows {}; "
                    "give a smaller --shard-size, or write HDF5 (an output that ends in .h5)",
                    file, places.size(), text.size(), checkpoint::kMaxHeaderBytes));
  }
  std::string length(kLengthBytes, '\0');
  for (std::size_t byte = 0; byte < kLengthBytes; ++byte)
    length[byte] = static_cast<char>(text.size() >> (8 * byte) & 0xffu);
  return length + text;
}

[[noreturn]] void fail_as_bug(const Hdf5Tensor& tensor) {
  throw base::Error(base::ErrorKind::bug,
                    fmt::format("tensor `{}` is not the next piece of the dataset of its type {}",
                                base::printable(tensor.name), base::name(tensor.dtype)));
}

// Puts the tensors of one file, in order, behind what their datasets have so far.
void place(const std::vector<Place>& places, const Hdf5Layout& layout, std::size_t file,
           SafetensorsPlan& plan) {
  const Bytes data{plan.files[file].header.size()};
  for (const Place& each : places) {
    const Hdf5Tensor& tensor = layout.tensors[each.tensor];
    const Elements elements = elements_of(tensor.shape);
    if (elements == Elements{}) continue;
    const auto home =
        std::find_if(plan.datasets.begin(), plan.datasets.end(),
                     [&](const CutDataset& dataset) { return dataset.dtype == tensor.dtype; });
    if (home == plan.datasets.end()) fail_as_bug(tensor);
    auto& done = home->stretches;
    const Elements begin = done.empty() ? Elements{} : done.back().elements.end;
    if (tensor.offset != begin) fail_as_bug(tensor);
    if (done.empty() || done.back().file != file)
      done.push_back({{begin, begin}, file, data + each.begin});
    done.back().elements.end += elements;
  }
}

void check_datasets(const Hdf5Layout& layout, const SafetensorsPlan& plan) {
  for (std::size_t which = 0; which < layout.datasets.size(); ++which) {
    const auto& done = plan.datasets[which].stretches;
    if ((done.empty() ? Elements{} : done.back().elements.end) == layout.datasets[which].elements)
      continue;
    throw base::Error(base::ErrorKind::bug,
                      fmt::format("the tensors of type {} are not the whole of its dataset",
                                  base::name(layout.datasets[which].dtype)));
  }
}

}  // namespace

SafetensorsPlan plan_safetensors(const Hdf5Layout& layout, Bytes shard_size,
                                 std::string_view stem) {
  check_names(layout.tensors);
  SafetensorsPlan plan;
  for (const Hdf5Dataset& dataset : layout.datasets) plan.datasets.push_back({dataset.dtype, {}});
  plan.file_of = assign_files(layout.tensors, shard_size);
  const std::size_t files = plan.file_of.empty() ? 1 : plan.file_of.back() + 1;
  plan.files.resize(files);
  std::size_t tensor = 0;
  for (std::size_t file = 0; file < files; ++file) {
    std::vector<Place> places;
    for (; tensor < plan.file_of.size() && plan.file_of[tensor] == file; ++tensor)
      places.push_back({tensor, {}});
    std::stable_sort(places.begin(), places.end(), [&](const Place& a, const Place& b) {
      const base::Dtype left = layout.tensors[a.tensor].dtype;
      const base::Dtype right = layout.tensors[b.tensor].dtype;
      return std::tuple(base::element_bytes(right), left) <
             std::tuple(base::element_bytes(left), right);
    });
    Bytes end;
    for (Place& each : places) {
      each.begin = end;
      end += bytes_of(layout.tensors[each.tensor]);
    }
    SafetensorsFile& made = plan.files[file];
    made.name = file_name(stem, file, files);
    made.header = header_of(places, layout, made.name);
    made.bytes = Bytes{made.header.size()} + end;
    plan.total += end;
    place(places, layout, file, plan);
  }
  check_datasets(layout, plan);
  return plan;
}

std::vector<Stretch> stretches(const SafetensorsPlan& plan, std::size_t dataset,
                               base::ElementRange range) {
  const CutDataset& placed = plan.datasets.at(dataset);
  const std::uint64_t element_bytes = base::element_bytes(placed.dtype).value();
  std::vector<Stretch> parts;
  auto whole = std::partition_point(
      placed.stretches.begin(), placed.stretches.end(),
      [&](const Stretch& candidate) { return candidate.elements.end <= range.begin; });
  for (; whole != placed.stretches.end() && whole->elements.begin < range.end; ++whole) {
    const base::ElementRange shared = base::intersect(range, whole->elements);
    if (shared.empty()) continue;
    const Elements before = shared.begin - whole->elements.begin;
    parts.push_back({shared, whole->file, whole->offset + Bytes{before.value() * element_bytes}});
  }
  return parts;
}

std::string index_json(const SafetensorsPlan& plan, const Hdf5Layout& layout) {
  json index{{"metadata", {{"total_size", plan.total.value()}}}, {"weight_map", json::object()}};
  for (std::size_t tensor = 0; tensor < layout.tensors.size(); ++tensor)
    index["weight_map"][layout.tensors[tensor].name] = plan.files[plan.file_of[tensor]].name;
  return index.dump(2) + "\n";
}

}  // namespace mpimerge::output
