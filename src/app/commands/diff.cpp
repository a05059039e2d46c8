#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/checkpoint/catalog.hpp"
#include "mpimerge/comm/abort.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/comm/object.hpp"
#include "mpimerge/kernel/convert.hpp"
#include "mpimerge/merge/block_store.hpp"
#include "mpimerge/plan/build.hpp"
#include "mpimerge/plan/read_plan.hpp"

#include "app/commands/commands.hpp"
#include "app/inputs.hpp"
#include "app/standard_streams.hpp"
#include "app/watchdog.hpp"

namespace mpimerge::app {
namespace {

using checkpoint::Catalog;
using checkpoint::TensorInfo;

constexpr std::size_t kWorstShown = 10;
constexpr std::size_t kStructureShown = 10;

/// What headers alone tell, and the plan for comparing the rest.
struct Comparison {
  std::vector<std::string> structure;  ///< one line per difference in names, shapes or types
  plan::Plan plan;                     ///< of the tensors whose values can be compared

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& structure& plan;
  }
};

Comparison compare_headers(const DiffOptions& options, std::uint64_t ranks) {
  Catalog a = open_checkpoint(options.a);
  Catalog b = open_checkpoint(options.b);
  std::unordered_map<std::string, TensorInfo> unmatched;
  for (const TensorInfo& tensor : b.tensors) unmatched.emplace(tensor.name, tensor);
  Comparison comparison;
  Catalog common_a{a.path, a.files, {}, {}};
  Catalog common_b{b.path, b.files, {}, {}};
  for (const TensorInfo& tensor : a.tensors) {
    const auto found = unmatched.find(tensor.name);
    const std::string name = base::printable(tensor.name);
    if (found == unmatched.end()) {
      comparison.structure.push_back(fmt::format("`{}` is only in {}", name, a.path));
      continue;
    }
    const TensorInfo other = found->second;
    unmatched.erase(found);
    if (other.shape != tensor.shape) {
      comparison.structure.push_back(fmt::format("`{}` has shape [{}] in {} and [{}] in {}", name,
                                                 fmt::join(tensor.shape, ", "), a.path,
                                                 fmt::join(other.shape, ", "), b.path));
      continue;
    }
    const bool floating = base::is_floating(tensor.dtype) && base::is_floating(other.dtype);
    if (other.dtype != tensor.dtype && !(floating && options.by_value)) {
      comparison.structure.push_back(fmt::format("`{}` is of type {} in {} and {} in {}", name,
                                                 base::name(tensor.dtype), a.path,
                                                 base::name(other.dtype), b.path));
      if (!floating) continue;
    }
    common_a.tensors.push_back(tensor);
    common_b.tensors.push_back(other);
  }
  for (const TensorInfo& tensor : b.tensors) {
    if (unmatched.contains(tensor.name)) {
      comparison.structure.push_back(
          fmt::format("`{}` is only in {}", base::printable(tensor.name), b.path));
    }
  }
  plan::Request request;
  request.ranks = ranks;
  request.read_all = true;
  comparison.plan = plan::build_plan(request, common_a, {common_b});
  return comparison;
}

/// By tensor; the largest difference as the bits of a non-negative double, which sort as the values
/// do.
struct Differences {
  explicit Differences(std::size_t tensors)
      : count(tensors), largest_bits(tensors), where(tensors, kNowhere) {}

  static constexpr std::uint64_t kNowhere = std::numeric_limits<std::uint64_t>::max();
  std::vector<std::uint64_t> count;
  std::vector<std::uint64_t> largest_bits;
  std::vector<std::uint64_t> where;  ///< first element with the largest difference

  void add(std::size_t tensor, std::uint64_t element, double difference) {
    const auto bits = std::bit_cast<std::uint64_t>(difference);
    if (count[tensor]++ > 0 && bits <= largest_bits[tensor]) return;
    largest_bits[tensor] = bits;
    where[tensor] = element;
  }

  /// Collective.
  void reduce(const comm::Comm& comm) {
    const std::vector<std::uint64_t> mine = largest_bits;
    comm::all_reduce_sum(comm, std::span<std::uint64_t>(count));
    comm::all_reduce_max(comm, largest_bits);
    for (std::size_t tensor = 0; tensor < where.size(); ++tensor) {
      if (mine[tensor] != largest_bits[tensor]) where[tensor] = kNowhere;
    }
    comm::all_reduce_min(comm, where);
  }
};

double load_floating(base::Dtype dtype, const std::byte* from) {
  double exact = 0;
  float value = 0;
  if (dtype == base::Dtype::f64) {
    std::memcpy(&exact, from, sizeof(exact));
    return exact;
  }
  kernel::to_f32(dtype, {from, base::element_bytes(dtype).value()}, {&value, 1});
  return static_cast<double>(value);
}

// How far apart two floating values are; a NaN or an infinity against anything else is without
// bound.
double distance(double a, double b) {
  if (a == b || (std::isnan(a) && std::isnan(b))) return 0;
  const double apart = std::abs(a - b);
  return std::isnan(apart) ? std::numeric_limits<double>::infinity() : apart;
}

bool within_tolerance(double apart, double b, const DiffOptions& options) {
  return apart == 0 || (std::isfinite(apart) && apart <= options.atol + options.rtol * std::abs(b));
}

void compare_block(const plan::Plan& plan, const merge::BlockData& block,
                   const DiffOptions& options, Differences& differences) {
  for (std::size_t number = 0; number < block.segments.size(); ++number) {
    const plan::Segment& segment = block.segments[number];
    const auto a = block.bytes(0, number);
    const auto b = block.bytes(1, number);
    const base::Dtype type_a = plan.sources[0].extents[segment.tensor].dtype;
    const base::Dtype type_b = plan.sources[1].extents[segment.tensor].dtype;
    if (type_a == type_b && std::memcmp(a.data(), b.data(), a.size()) == 0) continue;
    const std::size_t bytes_a = base::element_bytes(type_a).value();
    const std::size_t bytes_b = base::element_bytes(type_b).value();
    const bool floating = base::is_floating(type_a);
    for (std::uint64_t i = 0; i < segment.elements.count().value(); ++i) {
      const std::byte* const left = a.data() + i * bytes_a;
      const std::byte* const right = b.data() + i * bytes_b;
      if (type_a == type_b && std::memcmp(left, right, bytes_a) == 0) continue;
      // Types that are not floating are compared by their bits: how far apart codes are says
      // nothing.
      double apart = std::numeric_limits<double>::infinity();
      if (floating) {
        const double value_b = load_floating(type_b, right);
        apart = distance(load_floating(type_a, left), value_b);
        const bool same_value = type_a != type_b && apart == 0;
        if (same_value || (options.by_value && within_tolerance(apart, value_b, options))) continue;
      }
      differences.add(segment.tensor, segment.elements.begin.value() + i, apart);
    }
  }
}

std::string describe(const Comparison& comparison, const Differences& differences) {
  std::string text;
  for (std::size_t line = 0; line < std::min(comparison.structure.size(), kStructureShown);
       ++line) {
    text += comparison.structure[line] + "\n";
  }
  if (comparison.structure.size() > kStructureShown) {
    text += fmt::format("... and {} more differences in names, shapes or types\n",
                        comparison.structure.size() - kStructureShown);
  }
  std::vector<std::size_t> worst;
  std::uint64_t elements = 0;
  for (std::size_t tensor = 0; tensor < differences.count.size(); ++tensor) {
    if (differences.count[tensor] == 0) continue;
    worst.push_back(tensor);
    elements += differences.count[tensor];
  }
  std::stable_sort(worst.begin(), worst.end(), [&](std::size_t left, std::size_t right) {
    return differences.largest_bits[left] > differences.largest_bits[right];
  });
  const std::size_t different = worst.size();
  worst.resize(std::min(worst.size(), kWorstShown));
  for (const std::size_t number : worst) {
    const plan::Tensor& tensor = comparison.plan.tensors[number];
    text += fmt::format(
        "`{}`: {} of {} elements differ, by at most {:.6g} at element {}\n",
        base::printable(tensor.name), differences.count[number], tensor.elements.value(),
        std::bit_cast<double>(differences.largest_bits[number]), differences.where[number]);
  }
  if (different == 0 && comparison.structure.empty()) {
    return fmt::format("same: {} tensors\n", comparison.plan.tensors.size());
  }
  return text + fmt::format(
                    "different: {} elements in {} of {} tensors, {} differences in names, shapes "
                    "or types\n",
                    elements, different, comparison.plan.tensors.size(),
                    comparison.structure.size());
}

}  // namespace

int run_diff(const comm::Comm& comm, const DiffOptions& options) {
  Watchdog watchdog(comm::name_of_rank(comm), options.watchdog, kRunAgain);
  watchdog.feed("open");
  Comparison comparison;
  comm::collectively(comm, "open", [&] {
    if (comm.is_root())
      comparison = compare_headers(options, static_cast<std::uint64_t>(comm.ranks()));
  });
  comm::bcast_object(comm, comparison);
  const plan::Plan& plan = comparison.plan;

  Differences differences(plan.tensors.size());
  comm::collectively(comm, "compare", [&] {
    const auto rank = static_cast<std::uint64_t>(comm.rank());
    const plan::ReadPlan reads = plan::plan_reads(plan, base::Bytes{});
    merge::BlockStore store(plan, reads, rank, false);
    for (std::size_t group = 0; group < plan.groups.size(); ++group) {
      for (const plan::Block& block : plan::blocks(reads, group, plan.shards(group).shard(rank))) {
        watchdog.feed("compare");
        compare_block(plan, store.load(block), options, differences);
      }
    }
  });
  differences.reduce(comm);

  const bool same = comparison.structure.empty() &&
                    std::all_of(differences.count.begin(), differences.count.end(),
                                [](std::uint64_t count) { return count == 0; });
  comm::collectively(comm, "print", [&] {
    if (comm.is_root()) print_result(describe(comparison, differences));
  });
  return same ? 0 : 1;
}

}  // namespace mpimerge::app
