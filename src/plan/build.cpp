#include "mpimerge/plan/build.hpp"

#include <algorithm>
#include <bit>
#include <map>
#include <optional>
#include <unordered_map>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fnmatch.h>

#include "mpimerge/base/checked.hpp"
#include "mpimerge/base/error.hpp"
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

void check_same(const Catalog& base, const TensorInfo& expected, const Catalog& task,
                const TensorInfo& found) {
  const std::string tensor = base::printable(expected.name);
  if (expected.shape != found.shape) {
    refuse(fmt::format("{}: tensor `{}` has shape [{}], but the base {} has [{}]", task.path,
                       tensor, fmt::join(found.shape, ", "), base.path,
                       fmt::join(expected.shape, ", ")));
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
      check_same(base, expected, task, *found->second);
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
  std::uint64_t total_bytes = 0;
  check_size(base, total_bytes);
  for (const Catalog& task : tasks) check_size(task, total_bytes);
  const Index base_index = index_by_name(base);
  std::vector<std::vector<const TensorInfo*>> models(1);
  for (const TensorInfo& tensor : base.tensors) models[0].push_back(&tensor);
  check_filters(request.include, "include", base);
  check_filters(request.exclude, "exclude", base);
  for (const Catalog& task : tasks) models.push_back(match(request, base, base_index, task));

  std::vector<Role> roles;
  std::vector<Dtype> output_types;
  for (std::size_t number = 0; number < base.tensors.size(); ++number) {
    const TensorInfo& tensor = base.tensors[number];
    const bool merges =
        request.read_all || (base::is_merged(tensor.dtype) && !is_left_out(request, tensor.name) &&
                             has_model(request, models, number));
    roles.push_back(merges ? Role::merge : Role::copy);
    output_types.push_back(merges && base::is_merged(tensor.dtype) && request.out_dtype
                               ? *request.out_dtype
                               : tensor.dtype);
  }

  // Groups in the order in which their types first occur in the base.
  std::vector<Dtype> types;
  for (const Dtype type : output_types) {
    if (std::find(types.begin(), types.end(), type) == types.end()) types.push_back(type);
  }

  Plan plan;
  plan.ranks = request.ranks;
  plan.alignment = request.alignment;
  plan.sources.resize(models.size());
  for (std::size_t source = 0; source < models.size(); ++source) {
    const Catalog& catalog = source == 0 ? base : tasks[source - 1];
    plan.sources[source].name = catalog.path;
    for (const auto& file : catalog.files) plan.sources[source].files.push_back(file.string());
    plan.sources[source].extents.reserve(base.tensors.size());
  }
  plan.tensors.reserve(base.tensors.size());

  for (const Dtype type : types) {
    Group group;
    group.dtype = type;
    group.first_tensor = plan.tensors.size();
    for (std::size_t number = 0; number < base.tensors.size(); ++number) {
      const TensorInfo& tensor = base.tensors[number];
      if (output_types[number] != type) continue;
      const Role role = roles[number];
      plan.tensors.push_back({tensor.name, tensor.shape, tensor.elements, group.elements, role});
      group.elements += tensor.elements;
      if (role == Role::merge) plan.merged += tensor.elements;
      for (std::size_t source = 0; source < models.size(); ++source) {
        const TensorInfo* const found = models[source][number];
        Source& of = plan.sources[source];
        const Catalog& catalog = source == 0 ? base : tasks[source - 1];
        const auto low_rank = found == nullptr ? std::nullopt : low_rank_of(catalog, *found);
        if (low_rank && role == Role::copy && source == 0) refuse_copy_of_sum(catalog, tensor);
        if (low_rank && role == Role::merge) {
          of.low_ranks.emplace(plan.tensors.size() - 1, *low_rank);
          of.extents.push_back({found->file, Dtype::f32, Origin::low_rank, found->offset});
          continue;
        }
        of.extents.push_back(found == nullptr ? extent_of_missing(request, tensor, role, base, of)
                                              : Extent{found->file, found->dtype,
                                                       origin_of(catalog, role), found->offset});
      }
    }
    group.last_tensor = plan.tensors.size();
    const std::uint64_t out_bytes = base::element_bytes(type).value();
    group.block = base::Elements{block_elements(
        group.elements.value(), std::max<std::uint64_t>(request.alignment.value() / out_bytes, 1),
        request.ranks)};
    group.chunk = base::Elements{chunk_elements(request, plan, group, out_bytes)};
    plan.groups.push_back(group);
  }
  if (plan.merged == base::Elements{} && !request.read_all) {
    refuse(
        fmt::format("{}: holds no floating tensor (F64, F32, F16, BF16) with elements; there is "
                    "nothing to merge",
                    base.path));
  }
  return plan;
}

}  // namespace mpimerge::plan
