#include "mpimerge/plan/stack.hpp"

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/layer_name.hpp"
#include "mpimerge/base/narrow.hpp"
#include "mpimerge/base/text.hpp"

namespace mpimerge::plan {
namespace {

using checkpoint::Catalog;
using checkpoint::TensorInfo;

[[noreturn]] void refuse(const std::string& message) {
  throw base::Error(base::ErrorKind::input, message);
}

/// A checkpoint's tensors by layer.
struct Layers {
  std::string_view row;  ///< what all their names begin with
  std::map<std::uint64_t, std::vector<const TensorInfo*>> by_number;
};

Layers layers_of(const Catalog& catalog) {
  std::optional<std::string_view> row;
  Layers layers;
  for (const TensorInfo& tensor : catalog.tensors) {
    const auto name = base::layer_name(tensor.name);
    if (!name) continue;
    if (row && *row != name->row) {
      refuse(fmt::format("{}: has layers of several kinds, `{}` and `{}`; slices need one kind",
                         catalog.path, base::printable(*row), base::printable(name->row)));
    }
    row = name->row;
    layers.by_number[name->number].push_back(&tensor);
  }
  if (!row) {
    refuse(
        fmt::format("{}: no tensor belongs to a layer; slices need names such as "
                    "`model.layers.0.mlp.up_proj.weight`",
                    catalog.path));
  }
  layers.row = *row;
  return layers;
}

class Stack {
 public:
  explicit Stack(const std::string& path) { stack_.path = path; }

  void add_layers(const LayerRange& range) {
    if (range.catalog != nullptr) {
      const Layers& layers = layers_in(*range.catalog);
      for (std::uint64_t number = range.first; number < range.last; ++number)
        add_layer(*range.catalog, layers, number, next_ + (number - range.first));
    }
    next_ += range.last - range.first;
  }

  void add_others(const Catalog* catalog, bool before_layers) {
    if (catalog == nullptr) return;
    for (const TensorInfo& tensor : catalog->tensors) {
      if (!base::layer_name(tensor.name) && base::is_before_layers(tensor.name) == before_layers)
        add(*catalog, tensor, tensor.name);
    }
  }

  Catalog take() { return std::move(stack_); }

 private:
  const Layers& layers_in(const Catalog& catalog) {
    const auto known = layers_.find(&catalog);
    if (known != layers_.end()) return known->second;
    Layers layers = layers_of(catalog);
    if (!layers_.empty() && layers.row != row_) {
      refuse(
          fmt::format("{}: calls its layers `{}`, but others of the slices call them `{}`; they "
                      "have to be of one architecture",
                      catalog.path, base::printable(layers.row), base::printable(row_)));
    }
    row_ = layers.row;
    return layers_.emplace(&catalog, std::move(layers)).first->second;
  }

  void add_layer(const Catalog& catalog, const Layers& layers, std::uint64_t number,
                 std::uint64_t in_output) {
    const auto found = layers.by_number.find(number);
    if (found == layers.by_number.end()) {
      refuse(fmt::format("{}: has no layer {}, which slices take; its last is {}", catalog.path,
                         number, layers.by_number.rbegin()->first));
    }
    for (const TensorInfo* tensor : found->second)
      add(catalog, *tensor, base::layer_name(tensor->name)->of_layer(in_output));
  }

  void add(const Catalog& catalog, const TensorInfo& tensor, std::string name) {
    const auto [first_file, is_new] = first_files_.emplace(&catalog, stack_.files.size());
    if (is_new) stack_.files.insert(stack_.files.end(), catalog.files.begin(), catalog.files.end());
    stack_.tensors.push_back(tensor);
    stack_.tensors.back().name = std::move(name);
    stack_.tensors.back().file = base::narrow<std::uint32_t>(first_file->second + tensor.file);
  }

  Catalog stack_;
  std::uint64_t next_ = 0;  // layer of the output
  std::string_view row_;
  std::map<const Catalog*, Layers> layers_;
  std::map<const Catalog*, std::size_t> first_files_;
};

}  // namespace

Catalog stack_layers(const std::string& path, const std::vector<LayerRange>& ranges) {
  Stack stack(path);
  stack.add_others(ranges.front().catalog, true);
  for (const LayerRange& range : ranges) stack.add_layers(range);
  stack.add_others(ranges.back().catalog, false);
  Catalog stacked = stack.take();
  std::sort(stacked.tensors.begin(), stacked.tensors.end(),
            [](const TensorInfo& a, const TensorInfo& b) {
              return std::tie(a.file, a.offset, a.bytes, a.name) <
                     std::tie(b.file, b.offset, b.bytes, b.name);
            });
  const Catalog* const first = ranges.front().catalog;
  if (first != nullptr) stacked.metadata = first->metadata;
  // Embeddings and head of different checkpoints are not tied.
  stacked.ties_embeddings = false;
  if (first != nullptr && first == ranges.back().catalog) {
    stacked.ties_embeddings = first->ties_embeddings;
    for (const auto& [name, other] : first->tied) {
      if (!base::layer_name(name) && !base::layer_name(other)) stacked.tied.emplace(name, other);
    }
  }
  return stacked;
}

}  // namespace mpimerge::plan
