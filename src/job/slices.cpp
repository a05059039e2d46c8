#include "job/slices.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "job/parameters.hpp"
#include "job/tree.hpp"

namespace mpimerge::job {
namespace {

// More than any model has; sums of them stay far from 64 bits.
constexpr std::uint64_t kMostLayers = 100'000;

std::optional<std::uint64_t> read_layer(const Value& value) {
  constexpr std::string_view kExpected = "the number of a layer, from 0";
  const auto text = value.text(kExpected);
  if (!text) return std::nullopt;
  std::uint64_t number = 0;
  const char* const last = text->data() + text->size();
  const auto [end, status] = std::from_chars(text->data(), last, number);
  if (status == std::errc{} && end == last && number <= kMostLayers) return number;
  value.fault_expected(kExpected);
  return std::nullopt;
}

/// Local. [first, last), as mergekit writes layers.
bool read_range(const Value& value, SliceSource& source) {
  constexpr std::string_view kExpected =
      "[FIRST, LAST]: the first layer, counted from 0, and the one behind the last";
  const auto numbers = value.items(kExpected);
  if (!numbers) return false;
  if (numbers->size() != 2) {
    value.fault_expected(kExpected);
    return false;
  }
  const auto first = read_layer((*numbers)[0]);
  const auto last = read_layer((*numbers)[1]);
  if (!first || !last) return false;
  source.first_layer = *first;
  source.last_layer = *last;
  if (*first < *last) return true;
  value.fault(fmt::format("found layers {} to {}; expected {}", *first, *last, kExpected));
  return false;
}

class SliceReader {
 public:
  SliceReader(const Value& value, const SliceContext& context)
      : value_(value), context_(context), base_(context.base) {}

  std::optional<Slice> read() {
    auto section = value_.section("a map with sources: `- sources: [...]`");
    if (!section) return std::nullopt;
    section->refuse({"residual_weight"}, "not supported by this version; leave it out");
    if (const auto value = section->find_filled("base_model")) {
      base_ = read_reference(*value, context_.directory);
      is_sound_ = is_sound_ && base_;
    }
    slice_.parameters = read_merge_parameters(*section, context_.method, context_.rules);
    require_merge_parameters(*section, context_.method, context_.rules, shared());
    constexpr std::string_view kSources =
        "a list of sources, each `- {model: PATH, layer_range: [FIRST, LAST]}`";
    const auto value = section->require("sources", kSources);
    section->finish();
    const auto sources = value ? value->items(kSources) : std::nullopt;
    if (!sources) return std::nullopt;
    for (const Value& source : *sources) read_source(source);
    if (!is_sound_) return std::nullopt;
    complete_base();
    return check(*value) ? std::optional(std::move(slice_)) : std::nullopt;
  }

 private:
  [[nodiscard]] Shared shared() const { return {&slice_.parameters, &context_.parameters}; }
  [[nodiscard]] bool has_base() const {
    return base_ && context_.method.base != method::Base::unused;
  }

  void read_source(const Value& value) { is_sound_ = read_sound_source(value) && is_sound_; }

  bool read_sound_source(const Value& value) {
    auto section = value.section("a map with model and layer_range");
    if (!section) return false;
    const auto model = section->require("model", "the path of a model");
    const auto range = section->require("layer_range", "[FIRST, LAST]");
    const auto reference = model ? read_reference(*model, context_.directory) : std::nullopt;
    SliceSource source;
    const bool is_ranged = range && read_range(*range, source);
    const bool is_base = reference && has_base() && reference->name == base_->name &&
                         !section->find_filled("parameters");
    if (!is_base) {
      source.parameters =
          read_model_parameters(*section, context_.method, context_.rules, shared());
    }
    section->finish();
    if (!reference || !is_ranged) return false;
    source.name = reference->name;
    source.path = reference->path;
    const auto [known, is_new] = key_by_path_.emplace(identity(source.path), value.key());
    if (!is_new || (has_base() && !is_base && identity(source.path) == identity(base_->path))) {
      model->fault(fmt::format(
          "found {}, which is {} too; expected each model once in a slice, and the base without "
          "parameters, as base_model spells it",
          describe(model->node()), is_new ? "base_model" : known->second));
      return false;
    }
    if (!is_base) {
      slice_.sources.push_back(std::move(source));
    } else {
      slice_.base = std::move(source);
    }
    return true;
  }

  /// The base of a slice that does not list it gives the same layers as the others.
  void complete_base() {
    if (!has_base() || !slice_.base.name.empty() || slice_.sources.empty()) return;
    const SliceSource& first = slice_.sources.front();
    slice_.base = {base_->name, base_->path, first.first_layer, first.last_layer, {}};
  }

  bool check(const Value& sources) const {
    const std::size_t number = slice_.sources.size();
    const std::size_t fewest = context_.method.fewest_models;
    const std::size_t most = context_.method.most_models;
    if (number < fewest || number > most) {
      sources.fault(fmt::format("found {} source{}{}; expected {} {} for {}", number,
                                number == 1 ? "" : "s", has_base() ? " besides the base" : "",
                                fewest == most    ? "just"
                                : number < fewest ? "at least"
                                                  : "at most",
                                number < fewest ? fewest : most, context_.method.name));
      return false;
    }
    if (context_.method.base == method::Base::needed && !has_base()) {
      sources.fault(fmt::format("has no base; expected base_model, which {} cannot do without",
                                context_.method.name));
      return false;
    }
    std::vector<const SliceSource*> all;
    for (const SliceSource& source : slice_.sources) all.push_back(&source);
    if (has_base()) all.push_back(&slice_.base);
    for (const SliceSource* source : all) {
      const std::uint64_t layers = source->last_layer - source->first_layer;
      if (layers == slice_.layers()) continue;
      sources.fault(
          fmt::format("found {} layers of {}, {} of {}; expected as many layers of each source",
                      slice_.layers(), all.front()->name, layers, source->name));
      return false;
    }
    return true;
  }

  const Value& value_;
  const SliceContext& context_;
  std::optional<Reference> base_;
  Slice slice_;
  bool is_sound_ = true;
  std::map<std::string, std::string> key_by_path_;
};

}  // namespace

std::vector<Slice> read_slices(const Value& value, const SliceContext& context) {
  std::vector<Slice> slices;
  const auto items = value.items("a list of slices, each `- sources: [...]`");
  if (!items) return slices;
  for (const Value& item : *items)
    if (auto slice = SliceReader(item, context).read()) slices.push_back(std::move(*slice));
  return slices;
}

std::vector<Task> tasks_of(const std::vector<Slice>& slices) {
  std::vector<Task> tasks;
  std::vector<std::set<std::string>> names;
  for (const Slice& slice : slices) {
    tasks.resize(std::max(tasks.size(), slice.sources.size()));
    names.resize(tasks.size());
    for (std::size_t number = 0; number < slice.sources.size(); ++number) {
      const SliceSource& source = slice.sources[number];
      if (!names[number].insert(source.name).second) continue;
      Task& task = tasks[number];
      task.name += (task.name.empty() ? "" : ", ") + source.name;
      if (task.path.empty()) task.path = source.path;
    }
  }
  return tasks;
}

}  // namespace mpimerge::job
