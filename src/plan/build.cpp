#include "mpimerge/plan/build.hpp"

#include <algorithm>
#include <bit>
#include <map>
#include <unordered_map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "mpimerge/base/checked.hpp"
#include "mpimerge/base/error.hpp"
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

// The task's tensors in the base's order.
std::vector<const TensorInfo*> match(const Catalog& base, const Index& base_index,
                                     const Catalog& task) {
  const Index index = index_by_name(task);
  std::vector<const TensorInfo*> matched;
  matched.reserve(base.tensors.size());
  for (const TensorInfo& expected : base.tensors) {
    const auto found = index.find(expected.name);
    if (found == index.end()) {
      refuse(fmt::format(
          "{}: tensor `{}` is missing; every model must have the tensors of the base {}", task.path,
          base::printable(expected.name), base.path));
    }
    check_same(base, expected, task, *found->second);
    matched.push_back(found->second);
  }
  if (task.tensors.size() != base.tensors.size()) {
    const auto extra =
        std::find_if(task.tensors.begin(), task.tensors.end(),
                     [&](const TensorInfo& tensor) { return !base_index.contains(tensor.name); });
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

Dtype output_type(const Request& request, const TensorInfo& tensor) {
  return base::is_merged(tensor.dtype) && request.out_dtype ? *request.out_dtype : tensor.dtype;
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
      bytes += base::element_bytes(plan.sources[source].extents[tensor].dtype).value();
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
    side.tensors.push_back({tensor.name, tensor.shape, {tensor.file, tensor.dtype, tensor.offset}});
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
  for (const Catalog& task : tasks) models.push_back(match(base, base_index, task));

  // Groups in the order in which their types first occur in the base.
  std::vector<Dtype> types;
  for (const TensorInfo& tensor : base.tensors) {
    const Dtype type = output_type(request, tensor);
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
      if (output_type(request, tensor) != type) continue;
      const Role role =
          request.read_all || base::is_merged(tensor.dtype) ? Role::merge : Role::copy;
      plan.tensors.push_back({tensor.name, tensor.shape, tensor.elements, group.elements, role});
      group.elements += tensor.elements;
      if (role == Role::merge) plan.merged += tensor.elements;
      for (std::size_t source = 0; source < models.size(); ++source) {
        const TensorInfo& found = *models[source][number];
        plan.sources[source].extents.push_back({found.file, found.dtype, found.offset});
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
