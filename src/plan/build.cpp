#include "mpimerge/plan/build.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <optional>
#include <unordered_map>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fnmatch.h>

#include "mpimerge/base/checked.hpp"
#include "mpimerge/base/error.hpp"
#include "mpimerge/base/layer_name.hpp"
#include "mpimerge/base/narrow.hpp"
#include "mpimerge/base/text.hpp"

namespace mpimerge::plan {
namespace {

using base::Dtype;
using checkpoint::Catalog;
using checkpoint::TensorInfo;

// Shards smaller than this are not worth a rank: one or two cache lines.
constexpr std::uint64_t kSmallestBlock = 16;
// Units of large groups: long enough that what is done once for each costs nothing, and so many that
// all ranks get some.
constexpr std::uint64_t kLargestUnit = 1024;
constexpr std::uint64_t kUnitsOfGroup = 65536;
// Few blocks per rank leave some ranks with a block more than others; this bounds the excess to
// 1/8.
constexpr std::uint64_t kBlocksPerRank = 8;
// Below this a read or a write costs more in calls than in bytes.
constexpr std::uint64_t kSmallestChunkBytes = 4096;

// What all models of a job may hold together: an exbibyte. A header can claim more, in a file that
// is one large hole; then sums over models, ranks and wider types would leave 64 bits.
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 60;

[[noreturn]] void refuse(const std::string& message) {
  throw base::Error(base::ErrorKind::input, message);
}

using Index = std::unordered_map<std::string_view, const TensorInfo*>;

Index index_by_name(const Catalog& catalog) {
  Index index;
  index.reserve(catalog.tensors.size());
  for (const TensorInfo& tensor : catalog.tensors) index.emplace(tensor.name, &tensor);
  return index;
}

// Rows of a vocabulary: matrices and biases outside of the layers, by what models call them.
bool is_embedding(const TensorInfo& tensor) {
  constexpr std::array<std::string_view, 6> kParts{"embed",   "embd",    "wte.",
                                                   "lm_head", "shared.", "output."};
  const bool is_bias = tensor.shape.size() == 1 && tensor.name.ends_with(".bias");
  return (tensor.shape.size() == 2 || is_bias) && base::is_merged(tensor.dtype) &&
         !base::layer_name(tensor.name) && std::ranges::any_of(kParts, [&](std::string_view part) {
           return tensor.name.find(part) != std::string::npos;
         });
}

// Whether two models have embeddings of the same kind, but not as many rows.
bool differ_in_rows(const TensorInfo& expected, const TensorInfo& found) {
  return is_embedding(expected) && expected.shape.size() == found.shape.size() &&
         expected.elements > base::Elements{} && found.elements > base::Elements{} &&
         expected.shape.front() != found.shape.front() &&
         std::equal(expected.shape.begin() + 1, expected.shape.end(), found.shape.begin() + 1);
}

void check_same(const Request& request, const Catalog& base, const TensorInfo& expected,
                const Catalog& task, const TensorInfo& found) {
  const std::string tensor = base::printable(expected.name);
  const bool may_differ = differ_in_rows(expected, found);
  if (expected.shape != found.shape && !(request.common_rows && may_differ)) {
    refuse(
        fmt::format("{}: tensor `{}` has shape [{}], but the base {} has [{}]{}", task.path, tensor,
                    fmt::join(found.shape, ", "), base.path, fmt::join(expected.shape, ", "),
                    may_differ ? "; `embeddings: common rows` merges the rows that all have" : ""));
  }
  if (expected.dtype == found.dtype ||
      (base::is_merged(expected.dtype) && base::is_merged(found.dtype)))
    return;
  refuse(fmt::format(
      "{}: tensor `{}` is of type {}, but of type {} in the base {}; only floating types (F64, "
      "F32, F16, "
      "BF16) may differ",
      task.path, tensor, base::name(found.dtype), base::name(expected.dtype), base.path));
}

bool fits(const std::string& filter, const std::string& name) {
  if (filter.find_first_of("*?[") == std::string::npos)
    return name.find(filter) != std::string::npos;
  return ::fnmatch(filter.c_str(), name.c_str(), FNM_NOESCAPE) == 0;
}

bool fits_any(const std::vector<std::string>& filters, const std::string& name) {
  return std::any_of(filters.begin(), filters.end(),
                     [&](const std::string& filter) { return fits(filter, name); });
}

bool is_left_out(const Request& request, const std::string& name) {
  return (!request.include.empty() && !fits_any(request.include, name)) ||
         fits_any(request.exclude, name);
}

// A filter that fits nothing is a slip of the pen.
void check_filters(const std::vector<std::string>& filters, std::string_view key,
                   const Catalog& base) {
  for (const std::string& filter : filters) {
    const auto fitting =
        std::find_if(base.tensors.begin(), base.tensors.end(),
                     [&](const TensorInfo& tensor) { return fits(filter, tensor.name); });
    if (fitting != base.tensors.end()) continue;
    refuse(
        fmt::format("{}: no tensor fits the filter `{}` of {}; expected a part of some tensor's "
                    "name, or a pattern with *",
                    base.path, base::printable(filter), key));
  }
}

// The task's tensors in the base's order; null where it lacks one or none is asked for.
std::vector<const TensorInfo*> match(const Request& request, const Catalog& base,
                                     const Index& base_index, const Catalog& task) {
  const Index index = index_by_name(task);
  std::vector<const TensorInfo*> matched(base.tensors.size());
  for (std::size_t number = 0; number < matched.size(); ++number) {
    const TensorInfo& expected = base.tensors[number];
    if (is_left_out(request, expected.name)) continue;
    if (const auto found = index.find(expected.name); found != index.end()) {
      check_same(request, base, expected, task, *found->second);
      matched[number] = found->second;
    } else if (request.missing == Missing::error) {
      refuse(
          fmt::format("{}: tensor `{}` is missing; every model must have the tensors of the "
                      "base {}; `missing: base` or `missing: skip` merges without it",
                      task.path, base::printable(expected.name), base.path));
    }
  }
  const auto extra =
      std::find_if(task.tensors.begin(), task.tensors.end(), [&](const TensorInfo& tensor) {
        return !base_index.contains(tensor.name) && !is_left_out(request, tensor.name);
      });
  if (extra != task.tensors.end()) {
    refuse(
        fmt::format("{}: tensor `{}` is not in the base {}; every model must have the base's "
                    "tensors and no others",
                    task.path, base::printable(extra->name), base.path));
  }
  return matched;
}

// Adds the model's bytes to `total`.
void check_size(const Catalog& catalog, std::uint64_t& total) {
  for (const TensorInfo& tensor : catalog.tensors) {
    const auto sum = base::checked_add(total, tensor.bytes.value());
    if (!sum || *sum > kMostBytes) {
      refuse(fmt::format(
          "{}: up to its tensor `{}` the models hold more than {}; is the header damaged?",
          catalog.path, base::printable(tensor.name), base::human_bytes(base::Bytes{kMostBytes})));
    }
    total = *sum;
  }
}

Origin origin_of(const Catalog& catalog, Role role) {
  if (role == Role::copy) return Origin::file;
  switch (catalog.content) {
    case checkpoint::Content::files: return Origin::file;
    case checkpoint::Content::zeros: return Origin::zeros;
    case checkpoint::Content::ones: return Origin::ones;
  }
  return Origin::file;
}

// What an adapter adds to the tensor in this model, if anything.
std::optional<LowRank> low_rank_of(const Catalog& catalog, const TensorInfo& tensor) {
  const auto known = catalog.low_rank.find(tensor.name);
  if (known == catalog.low_rank.end()) return std::nullopt;
  const checkpoint::LowRank& from = known->second;
  return LowRank{tensor.dtype,
                 {from.a.file, from.a.dtype, Origin::file, from.a.offset},
                 {from.b.file, from.b.dtype, Origin::file, from.b.offset},
                 from.rank,
                 tensor.shape[0],
                 tensor.shape[1],
                 from.is_transposed,
                 from.scaling};
}

std::optional<Scaling> scaling_of(const Catalog& catalog, const TensorInfo& tensor) {
  const auto known = catalog.scaling.find(tensor.name);
  if (known == catalog.scaling.end()) return std::nullopt;
  const checkpoint::Factor& from = known->second.vector;
  const std::uint64_t rows = tensor.shape.front();
  return Scaling{tensor.dtype,
                 {from.file, from.dtype, Origin::file, from.offset},
                 rows,
                 tensor.elements.value() / rows,
                 known->second.by_column};
}

std::optional<Mosaic> mosaic_of(const Catalog& catalog, const TensorInfo& tensor) {
  const auto known = catalog.mosaics.find(tensor.name);
  if (known == catalog.mosaics.end()) return std::nullopt;
  Mosaic mosaic;
  mosaic.is_side_by_side = known->second.is_side_by_side;
  mosaic.columns = tensor.elements.value() / tensor.shape.front();
  // Lengths are of the second dimension; what lies within it goes along.
  const std::uint64_t unit = mosaic.is_side_by_side ? mosaic.columns / tensor.shape[1] : 1;
  std::uint64_t first = 0;
  for (const auto& part : known->second.parts) {
    const Extent extent{part.factor.file, part.factor.dtype, Origin::file, part.factor.offset};
    mosaic.parts.push_back({extent, first, first + part.length * unit, part.scale});
    first += part.length * unit;
  }
  return mosaic;
}

void refuse_copy_of_sum(const Catalog& catalog, const TensorInfo& tensor) {
  refuse(fmt::format(
      "{}: tensor `{}` is changed by an adapter, and cannot be copied as it is; expected "
      "include and exclude that let it be merged",
      catalog.path, base::printable(tensor.name)));
}

// Where a model that lacks a tensor gets it from.
Extent extent_of_missing(const Request& request, const TensorInfo& of_base, Role role,
                         const Catalog& base, Source& source) {
  if (request.missing != Missing::base || role == Role::copy)
    return {Extent::kAbsent, of_base.dtype, Origin::file, base::Bytes{}};
  if (const Origin origin = origin_of(base, role); origin != Origin::file)
    return {0, of_base.dtype, origin, base::Bytes{}};
  const std::string file = base.files[of_base.file].string();
  auto known = std::find(source.files.begin(), source.files.end(), file);
  if (known == source.files.end()) known = source.files.insert(known, file);
  return {base::narrow<std::uint32_t>(known - source.files.begin()), of_base.dtype, Origin::file,
          of_base.offset};
}

// Whether some model takes part in the merge of a tensor.
bool has_model(const Request& request, const std::vector<std::vector<const TensorInfo*>>& models,
               std::size_t number) {
  if (request.missing != Missing::skip || !request.has_base) return true;
  return std::any_of(models.begin() + 1, models.end(),
                     [&](const auto& model) { return model[number] != nullptr; });
}

// Large groups: blocks of the file's alignment. Small ones: blocks small enough that all ranks get
// some.
std::uint64_t block_elements(std::uint64_t elements, std::uint64_t aligned, std::uint64_t ranks) {
  const std::uint64_t even =
      std::bit_floor(std::max<std::uint64_t>(elements / ranks / kBlocksPerRank, 1));
  return std::max(std::min(even, aligned), unit_elements(elements));
}

// The group's chunk: what was asked for, less if all sources' parts of it would take too much
// memory.
std::uint64_t chunk_elements(const Request& request, const Plan& plan, const Group& group,
                             std::uint64_t out_bytes) {
  std::uint64_t widest = 0;  // bytes that one element takes in all sources
  for (std::uint64_t tensor = group.first_tensor; tensor < group.last_tensor; ++tensor) {
    const bool merged = plan.tensors[tensor].role == Role::merge;
    std::uint64_t bytes = 0;
    for (std::size_t source = 0; source < (merged ? plan.sources.size() : 1); ++source) {
      bytes += plan.sources[source].extents[tensor].element_bytes();
    }
    widest = std::max(widest, bytes);
  }
  const std::uint64_t asked = std::max(request.chunk.value(), kSmallestChunkBytes) / out_bytes;
  const std::uint64_t affordable =
      std::max(request.chunk_memory.value() / std::max<std::uint64_t>(widest, 1),
               kSmallestChunkBytes / out_bytes);
  return std::bit_floor(
      std::max(std::min(asked, affordable), unit_elements(group.elements.value())));
}

// The parameter space, tensor by tensor.
class Builder {
 public:
  Builder(const Request& request, const Catalog& base, const std::vector<Catalog>& tasks)
      : request_(request), base_(base), catalogs_{&base} {
    for (const Catalog& task : tasks) catalogs_.push_back(&task);
    std::uint64_t total_bytes = 0;
    for (const Catalog* catalog : catalogs_) check_size(*catalog, total_bytes);
    check_filters(request.include, "include", base);
    check_filters(request.exclude, "exclude", base);
    models_.resize(1);
    for (const TensorInfo& tensor : base.tensors) models_[0].push_back(&tensor);
    const Index base_index = index_by_name(base);
    for (const Catalog& task : tasks) models_.push_back(match(request, base, base_index, task));
  }

  Plan build() {
    plan_.ranks = request_.ranks;
    plan_.alignment = request_.alignment;
    for (const Catalog* catalog : catalogs_) {
      Source& source = plan_.sources.emplace_back();
      source.name = catalog->path;
      for (const auto& file : catalog->files) source.files.push_back(file.string());
      source.extents.reserve(base_.tensors.size());
    }
    plan_.tensors.reserve(base_.tensors.size());
    std::vector<Role> roles;
    std::vector<Dtype> output_types;
    for (std::size_t number = 0; number < base_.tensors.size(); ++number) {
      roles.push_back(role_of(number));
      const Dtype dtype = base_.tensors[number].dtype;
      const bool is_converted = roles.back() == Role::merge && base::is_merged(dtype);
      output_types.push_back(is_converted ? request_.out_dtype.value_or(dtype) : dtype);
    }
    // Groups in the order in which their types first occur in the base.
    std::vector<Dtype> types;
    for (const Dtype type : output_types) {
      if (std::find(types.begin(), types.end(), type) == types.end()) types.push_back(type);
    }
    for (const Dtype type : types) {
      Group group;
      group.dtype = type;
      group.first_tensor = plan_.tensors.size();
      for (std::size_t number = 0; number < base_.tensors.size(); ++number) {
        if (output_types[number] == type) add(number, roles[number], group);
      }
      finish(group);
    }
    find_twins();
    if (plan_.merged == base::Elements{} && !request_.read_all) {
      refuse(
          fmt::format("{}: holds no floating tensor (F64, F32, F16, BF16) with elements; there is "
                      "nothing to merge",
                      base_.path));
    }
    return std::move(plan_);
  }

 private:
  [[nodiscard]] Role role_of(std::size_t number) const {
    const TensorInfo& tensor = base_.tensors[number];
    const bool merges = request_.read_all ||
                        (base::is_merged(tensor.dtype) && !is_left_out(request_, tensor.name) &&
                         has_model(request_, models_, number));
    return merges ? Role::merge : Role::copy;
  }

  // Rows that all models have; of what has none, the tensor is one.
  [[nodiscard]] std::uint64_t common_rows(std::size_t number) const {
    if (base_.tensors[number].shape.empty()) return 1;
    std::uint64_t rows = base_.tensors[number].shape.front();
    for (const auto& model : models_) {
      if (model[number] != nullptr) rows = std::min(rows, model[number]->shape.front());
    }
    return rows;
  }

  // A tensor of the output, in one piece or two.
  void add(std::size_t number, Role role, Group& group) {
    const std::vector<std::uint64_t>& shape = base_.tensors[number].shape;
    const std::uint64_t rows = shape.empty() ? 1 : shape.front();
    const std::uint64_t common = role == Role::merge ? common_rows(number) : rows;
    add_rows(number, 0, common, role, group);
    if (common < rows) {
      add_rows(number, common, rows, Role::copy, group);
      plan_.tensors.back().is_rest = true;
    }
  }

  void add_rows(std::size_t number, std::uint64_t first, std::uint64_t last, Role role,
                Group& group) {
    const TensorInfo& tensor = base_.tensors[number];
    Tensor part{tensor.name, tensor.shape, tensor.elements, group.elements, role};
    std::uint64_t before = 0;  // elements
    if (!tensor.shape.empty() && last - first < tensor.shape.front()) {
      const std::uint64_t row = tensor.elements.value() / tensor.shape.front();
      before = first * row;
      part.shape.front() = last - first;
      part.elements = base::Elements{(last - first) * row};
    }
    group.elements += part.elements;
    if (role == Role::merge) plan_.merged += part.elements;
    plan_.tensors.push_back(std::move(part));
    for (std::size_t source = 0; source < models_.size(); ++source)
      add_extent(source, number, role, before);
  }

  // @param before  elements of the tensor before those that are added
  void add_extent(std::size_t source, std::size_t number, Role role, std::uint64_t before) {
    const TensorInfo* const found = models_[source][number];
    const Catalog& catalog = *catalogs_[source];
    Source& of = plan_.sources[source];
    Extent extent =
        found == nullptr
            ? extent_of_missing(request_, base_.tensors[number], role, base_, of)
            : Extent{found->file, found->dtype, origin_of(catalog, role), found->offset};
    if (found != nullptr) {
      const Origin origin = note_changes(catalog, *found, role, of);
      if (origin != Origin::file && role == Role::copy && source == 0)
        refuse_copy_of_sum(catalog, *found);
      if (origin != Origin::file && role == Role::merge) {
        extent.dtype = Dtype::f32;
        extent.origin = origin;
      }
    }
    extent.offset += base::Bytes{before * extent.element_bytes()};
    of.extents.push_back(extent);
  }

  // Where values come from that no file holds as they are.
  Origin note_changes(const Catalog& catalog, const TensorInfo& tensor, Role role,
                      Source& of) const {
    const std::uint64_t number = plan_.tensors.size() - 1;
    const bool merges = role == Role::merge;
    if (const auto low_rank = low_rank_of(catalog, tensor)) {
      if (merges) of.low_ranks.emplace(number, *low_rank);
      return Origin::low_rank;
    }
    if (const auto scaling = scaling_of(catalog, tensor)) {
      if (merges) of.scalings.emplace(number, *scaling);
      return Origin::scaled;
    }
    if (const auto mosaic = mosaic_of(catalog, tensor)) {
      if (merges) of.mosaics.emplace(number, *mosaic);
      return Origin::mosaic;
    }
    return Origin::file;
  }

  // Tensors that are another one again, in all models.
  void find_twins() {
    if (base_.tied.empty() || request_.read_all) return;
    std::map<std::string_view, std::size_t> numbers;  // of the first rows
    for (std::size_t number = 0; number < plan_.tensors.size(); ++number)
      numbers.emplace(plan_.tensors[number].name, number);
    for (const auto& [name, other] : base_.tied) {
      const auto twin = numbers.find(name);
      const auto first = numbers.find(other);
      if (twin == numbers.end() || first == numbers.end()) continue;
      Tensor& tensor = plan_.tensors[twin->second];
      if (!tensor.counts() || !plan_.tensors[first->second].counts() ||
          !is_tied_everywhere(name, other, twin->second, first->second))
        continue;
      tensor.twin = first->second;
      plan_.merged -= tensor.elements;
    }
  }

  [[nodiscard]] bool is_tied_everywhere(const std::string& name, const std::string& other,
                                        std::size_t twin, std::size_t first) const {
    for (std::size_t source = 0; source < catalogs_.size(); ++source) {
      const std::vector<Extent>& extents = plan_.sources[source].extents;
      if (extents[twin].is_absent() != extents[first].is_absent()) return false;
      if (extents[twin].is_absent()) continue;
      const auto known = catalogs_[source]->tied.find(name);
      if (known == catalogs_[source]->tied.end() || known->second != other) return false;
    }
    return plan_.tensors[twin].shape == plan_.tensors[first].shape;
  }

  void finish(Group& group) {
    group.last_tensor = plan_.tensors.size();
    const std::uint64_t out_bytes = base::element_bytes(group.dtype).value();
    group.block = base::Elements{block_elements(
        group.elements.value(), std::max<std::uint64_t>(request_.alignment.value() / out_bytes, 1),
        request_.ranks)};
    group.chunk = base::Elements{chunk_elements(request_, plan_, group, out_bytes)};
    plan_.groups.push_back(group);
  }

  const Request& request_;
  const Catalog& base_;
  std::vector<const Catalog*> catalogs_;                // the base, then the tasks
  std::vector<std::vector<const TensorInfo*>> models_;  // of each, by tensor of the base
  Plan plan_;
};

}  // namespace

SideFile side_file(const Catalog& catalog) {
  SideFile side;
  side.name = catalog.path;
  for (const auto& file : catalog.files) side.files.push_back(file.string());
  for (const TensorInfo& tensor : catalog.tensors)
    side.tensors.push_back(
        {tensor.name, tensor.shape, {tensor.file, tensor.dtype, Origin::file, tensor.offset}});
  std::ranges::sort(side.tensors, {}, &SideTensor::name);
  return side;
}

std::uint64_t unit_elements(std::uint64_t elements) {
  return std::bit_floor(std::clamp(elements / kUnitsOfGroup, kSmallestBlock, kLargestUnit));
}

std::uint64_t trim_rank(base::Elements parameters, double density) {
  const double product = static_cast<double>(parameters.value()) * density;
  return std::min(static_cast<std::uint64_t>(product), parameters.value());
}

Plan build_plan(const Request& request, const Catalog& base, const std::vector<Catalog>& tasks) {
  return Builder(request, base, tasks).build();
}

}  // namespace mpimerge::plan
