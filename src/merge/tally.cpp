#include "merge/tally.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <string>
#include <utility>

#include "mpimerge/base/layer_name.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/kernel/convert.hpp"
#include "mpimerge/plan/build.hpp"

namespace mpimerge::merge {
namespace {

using kernel::kAgreementClasses;
using kernel::kMagnitudeBins;
using method::ExactSum;

constexpr std::size_t kTiesCounts = 6;
// Of larger tensors magnitudes are looked at in detail in every eighth unit.
constexpr std::uint64_t kAllInDetail = std::uint64_t{1} << 20;
constexpr std::uint64_t kUnitsPerDetail = 8;
// Elements that are widened at once.
constexpr std::uint64_t kTile = 8192;
// Numbers that share an Allreduce: bounds its memory.
constexpr std::size_t kNumbersPerRound = std::size_t{1} << 17;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double ratio(double part, double whole) { return whole > 0 ? part / whole : kNaN; }

// A value at which so many of the elements are below it, between the borders of its bin.
double quantile(std::span<const std::uint64_t> bins, std::uint64_t elements, double share,
                double largest) {
  const double wanted = share * static_cast<double>(elements);
  double below = 0;
  for (std::size_t bin = 0; bin < kMagnitudeBins; ++bin) {
    const auto count = static_cast<double>(bins[bin]);
    if (count == 0 || below + count < wanted) {
      below += count;
      continue;
    }
    if (bin == 0) return 0;
    const double begin = kernel::magnitude_bin_begin(bin);
    const double end = kernel::magnitude_bin_begin(bin + 1);
    return std::min(largest, begin + (end - begin) * (wanted - below) / count);
  }
  return kNaN;
}

// The share of the squared norm in the largest of the elements, as if squares were spread evenly
// within a bin.
double norm_share(std::span<const std::uint64_t> bins, std::uint64_t elements, double density) {
  double left = density * static_cast<double>(elements);
  double share = 0;
  double all = 0;
  for (std::size_t bin = kMagnitudeBins; bin-- > 1;) {
    const double begin = kernel::magnitude_bin_begin(bin);
    const double end = kernel::magnitude_bin_begin(bin + 1);
    const double square = (begin * begin + begin * end + end * end) / 3;
    const auto count = static_cast<double>(bins[bin]);
    const double taken = std::min(left, count);
    share += taken * square;
    all += count * square;
    left -= taken;
  }
  return ratio(share, all);
}

std::uint64_t units_per_detail(std::uint64_t elements) {
  return elements > kAllInDetail ? kUnitsPerDetail : 1;
}

// The name without its layer's number, which every layer has another.
std::string kind_of(const std::string& name) {
  const auto layer = base::layer_name(name);
  return layer ? std::string(layer->row) + "*" + std::string(layer->rest) : name;
}

}  // namespace

void Tally::Row::add(const Row& other) {
  counts += other.counts;
  const auto add_all = [](auto& to, const auto& from) {
    for (std::size_t place = 0; place < to.size(); ++place) to[place] += from[place];
  };
  add_all(kept, other.kept);
  add_all(numbers, other.numbers);
  for (std::size_t task = 0; task < largest.size(); ++task)
    largest[task] = std::max(largest[task], other.largest[task]);
  for (std::size_t sum = 0; sum < sums.size(); ++sum) sums[sum].add(other.sums[sum]);
}

Tally::Tally(const plan::Plan& plan, std::size_t tasks, Level level)
    : plan_(plan),
      tasks_(tasks),
      level_(level),
      kernel_(level.full ? tasks : 0),
      layout_(kernel_.layout()),
      rows_(plan.tensors.size()),
      sums_(level.full ? layout_.sums() : 0),
      tile_tasks_(tasks) {}

Tally::Row Tally::empty() const {
  Row row;
  row.kept.resize(level_.trims ? tasks_ : 0);
  if (level_.full) {
    row.numbers.resize(layout_.counts());
    row.largest.resize(tasks_);
    row.sums.resize(layout_.sums());
  }
  return row;
}

Tally::Row& Tally::row_of(std::size_t tensor) {
  if (!rows_[tensor]) rows_[tensor] = empty();
  return *rows_[tensor];
}

void Tally::add(std::size_t tensor, const kernel::TiesCounts& counts,
                std::span<const kernel::TiesTask> tasks) {
  Row& row = row_of(tensor);
  row.counts += counts;
  for (std::size_t task = 0; task < tasks_; ++task) row.kept[task] += tasks[task].kept;
}

void Tally::look(std::size_t group, std::size_t tensor, std::uint64_t place, base::Dtype dtype,
                 std::span<const std::byte> base, std::span<const kernel::TiesTask> tasks,
                 const float* merged) {
  const std::uint64_t unit = plan::unit_elements(plan_.groups[group].elements.value());
  const std::uint64_t size = base::element_bytes(dtype).value();
  const std::uint64_t elements = base.size() / size;
  const std::uint64_t detail = units_per_detail(plan_.tensors[tensor].elements.value());
  Row& row = row_of(tensor);
  tile_tasks_.assign(tasks.begin(), tasks.end());
  for (std::uint64_t begin = 0; begin < elements;) {
    const std::uint64_t count = std::min(unit - (place + begin) % unit, elements - begin);
    kernel_.add(dtype, base.subspan(begin * size, count * size), tile_tasks_,
                merged == nullptr ? nullptr : merged + begin, (place + begin) / unit % detail == 0,
                row.numbers, row.largest, sums_);
    for (std::size_t sum = 0; sum < sums_.size(); ++sum) {
      if (sums_[sum] != 0) row.sums[sum].add(sums_[sum]);
    }
    for (kernel::TiesTask& task : tile_tasks_) task.values += count * size;
    begin += count;
  }
}

void Tally::look(const BlockData& block, const float* merged) {
  widened_.resize((tasks_ + 1) * kTile);
  std::vector<kernel::TiesTask> tasks(tasks_);
  for (std::size_t number = 0; number < block.segments.size(); ++number) {
    const plan::Segment& part = block.segments[number];
    const plan::Tensor& tensor = plan_.tensors[part.tensor];
    if (tensor.role != plan::Role::merge) continue;
    const auto widen = [&](std::size_t source, std::uint64_t begin, std::uint64_t count) {
      const plan::Extent& extent = plan_.sources[source].extents[part.tensor];
      const std::uint64_t size = extent.element_bytes();
      float* const row = widened_.data() + source * kTile;
      kernel::to_f32(extent.dtype, block.bytes(source, number).subspan(begin * size, count * size),
                     std::span(row, count));
      return reinterpret_cast<const std::byte*>(row);
    };
    const std::uint64_t elements = part.elements.count().value();
    const std::uint64_t first = (tensor.offset + part.elements.begin).value();
    for (std::uint64_t begin = 0; begin < elements;) {
      const std::uint64_t count = std::min(kTile - (first + begin) % kTile, elements - begin);
      const std::byte* const base = widen(0, begin, count);
      for (std::size_t task = 0; task < tasks_; ++task) {
        const bool is_absent = plan_.sources[task + 1].extents[part.tensor].is_absent();
        tasks[task].values = is_absent ? base : widen(task + 1, begin, count);
      }
      const std::uint64_t in_block = part.chunk_offset.value() + begin;
      look(block.group, part.tensor, first + begin, base::Dtype::f32, {base, count * sizeof(float)},
           tasks, merged == nullptr ? nullptr : merged + in_block);
      begin += count;
    }
  }
}

std::size_t Tally::numbers_of_row() const {
  const std::size_t of_ties = level_.trims ? kTiesCounts + tasks_ : 0;
  return of_ties +
         (level_.full ? layout_.counts() + layout_.sums() * ExactSum::kNumbers : std::size_t{0});
}

void Tally::store(const Row& row, std::span<std::uint64_t> sums,
                  std::span<std::uint64_t> most) const {
  std::size_t place = 0;
  const auto put = [&](std::uint64_t number) { sums[place++] = number; };
  if (level_.trims) {
    for (const std::uint64_t count :
         {row.counts.positive, row.counts.negative, row.counts.cancelled, row.counts.untouched,
          row.counts.conflicts_before_trim, row.counts.conflicts_after_trim})
      put(count);
    for (const std::uint64_t count : row.kept) put(count);
  }
  for (const std::uint64_t count : row.numbers) put(count);
  for (const ExactSum& sum : row.sums) {
    std::array<std::int64_t, ExactSum::kNumbers> digits{};
    sum.store(digits);
    for (const std::int64_t digit : digits) put(static_cast<std::uint64_t>(digit));
  }
  std::ranges::copy(row.largest, most.begin());
}

void Tally::load(Row& row, std::span<const std::uint64_t> sums,
                 std::span<const std::uint64_t> most) const {
  std::size_t place = 0;
  if (level_.trims) {
    row.counts = {sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]};
    place = kTiesCounts;
    for (std::uint64_t& count : row.kept) count = sums[place++];
  }
  for (std::uint64_t& count : row.numbers) count = sums[place++];
  for (ExactSum& sum : row.sums) {
    std::array<std::int64_t, ExactSum::kNumbers> digits{};
    for (std::int64_t& digit : digits) digit = static_cast<std::int64_t>(sums[place++]);
    sum.load(digits);
  }
  for (std::size_t task = 0; task < row.largest.size(); ++task)
    row.largest[task] = static_cast<std::uint32_t>(most[task]);
}

// Collective. Visits the rows of all ranks together, tensor by tensor, a bounded number at a time.
template <class Visit>
void Tally::each_row_of_all(const comm::Comm& comm, Visit visit) const {
  std::vector<std::size_t> merged;
  for (std::size_t tensor = 0; tensor < plan_.tensors.size(); ++tensor) {
    if (plan_.tensors[tensor].role == plan::Role::merge) merged.push_back(tensor);
  }
  const std::size_t numbers = numbers_of_row();
  const std::size_t most = level_.full ? tasks_ : 0;
  const std::size_t rows = rows_per_round();
  for (std::size_t first = 0; first < merged.size(); first += rows) {
    const std::size_t count = std::min(rows, merged.size() - first);
    std::vector<std::uint64_t> sums(count * numbers);
    std::vector<std::uint64_t> largest(count * most);
    const auto sums_of = [&](std::size_t row) {
      return std::span(sums).subspan(row * numbers, numbers);
    };
    const auto largest_of = [&](std::size_t row) {
      return std::span(largest).subspan(row * most, most);
    };
    for (std::size_t row = 0; row < count; ++row) {
      if (const auto& mine = rows_[merged[first + row]])
        store(*mine, sums_of(row), largest_of(row));
    }
    comm::all_reduce_sum(comm, std::span<std::uint64_t>(sums));
    comm::all_reduce_max(comm, std::span<std::uint64_t>(largest));
    for (std::size_t row = 0; row < count; ++row)
      visit(merged[first + row], sums_of(row), largest_of(row));
  }
}

std::size_t Tally::merged_tensors() const {
  return static_cast<std::size_t>(
      std::ranges::count(plan_.tensors, plan::Role::merge, &plan::Tensor::role));
}

std::size_t Tally::size() const {
  return merged_tensors() * (numbers_of_row() + (level_.full ? tasks_ : 0));
}

std::size_t Tally::rows_per_round() const {
  return std::max<std::size_t>(1, kNumbersPerRound / numbers_of_row());
}

Allreduces Tally::allreduces() const {
  const std::size_t tensors = merged_tensors();
  const std::uint64_t rounds = (tensors + rows_per_round() - 1) / rows_per_round();
  Allreduces sum;
  sum.add(rounds, tensors * numbers_of_row() * sizeof(std::uint64_t));
  if (level_.full) sum.add(rounds, tensors * tasks_ * sizeof(std::uint64_t));
  return sum;
}

std::vector<std::uint64_t> Tally::numbers(const comm::Comm& comm) const {
  std::vector<std::uint64_t> all;
  all.reserve(size());
  each_row_of_all(comm, [&](std::size_t, std::span<const std::uint64_t> sums,
                            std::span<const std::uint64_t> largest) {
    all.insert(all.end(), sums.begin(), sums.end());
    all.insert(all.end(), largest.begin(), largest.end());
  });
  return all;
}

bool Tally::load(std::span<const std::uint64_t> numbers) {
  if (numbers.size() != size()) return false;
  // Counts, and digits of sums: of either sign, and of all ranks together far from their limits.
  constexpr std::int64_t kLargest = std::int64_t{1} << 60;
  const auto is_possible = [](std::uint64_t number) {
    const auto digit = static_cast<std::int64_t>(number);
    return digit > -kLargest && digit < kLargest;
  };
  if (!std::ranges::all_of(numbers, is_possible)) return false;
  const std::size_t sums = numbers_of_row();
  const std::size_t largest = level_.full ? tasks_ : 0;
  for (std::size_t tensor = 0; tensor < plan_.tensors.size(); ++tensor) {
    if (plan_.tensors[tensor].role != plan::Role::merge) continue;
    Row row = empty();
    load(row, numbers.first(sums), numbers.subspan(sums, largest));
    row_of(tensor).add(row);
    numbers = numbers.subspan(sums + largest);
  }
  return true;
}

Statistics Tally::finish(const comm::Comm& comm) {
  Statistics result;
  result.tasks = tasks_;
  result.is_full = level_.full;
  result.is_trimmed = level_.trims;
  result.has_merged = level_.merged;
  std::map<std::string, std::size_t> number_of;  // of a kind
  std::vector<Row> kinds;
  std::vector<std::uint64_t> elements;
  Row all = empty();
  std::uint64_t all_elements = 0;
  each_row_of_all(comm, [&](std::size_t number, std::span<const std::uint64_t> sums,
                            std::span<const std::uint64_t> largest) {
    if (!comm.is_root()) return;
    const plan::Tensor& tensor = plan_.tensors[number];
    Row row = empty();
    load(row, sums, largest);
    const std::string kind = kind_of(tensor.name);
    const auto [known, is_new] = number_of.emplace(kind, kinds.size());
    if (is_new) {
      kinds.push_back(empty());
      elements.push_back(0);
      result.kinds.push_back({kind, {}});
      result.kinds.back().row.tensors = 0;
    }
    RowStatistics own = statistics_of(row, tensor.elements.value());
    if (level_.full) weigh(row, units_per_detail(tensor.elements.value()));
    kinds[known->second].add(row);
    elements[known->second] += tensor.elements.value();
    ++result.kinds[known->second].row.tensors;
    all.add(row);
    all_elements += tensor.elements.value();
    const auto layer = base::layer_name(tensor.name);
    result.tensors.push_back({tensor.name, layer ? std::optional(layer->number) : std::nullopt,
                              known->second, std::move(own)});
  });
  for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
    const std::uint64_t tensors = result.kinds[kind].row.tensors;
    result.kinds[kind].row = statistics_of(kinds[kind], elements[kind]);
    result.kinds[kind].row.tensors = tensors;
  }
  result.all = statistics_of(all, all_elements);
  result.all.tensors = result.tensors.size();
  std::ranges::fill(rows_, std::nullopt);
  return result;
}

VectorStatistics Tally::vector_of(const Row& row, std::size_t task, std::uint64_t elements) const {
  VectorStatistics vector;
  vector.nonzero = row.numbers[layout_.nonzero(task)];
  vector.mean_magnitude =
      ratio(row.sums[layout_.magnitude(task)].value(), static_cast<double>(elements));
  const double square = row.sums[layout_.square(task)].value();
  vector.norm = std::sqrt(square);
  vector.largest = static_cast<double>(std::bit_cast<float>(row.largest[task]));
  vector.norm_kept = ratio(row.sums[layout_.kept_square(task)].value(), square);
  const auto bins = std::span(row.numbers).subspan(layout_.bin(task, 0), kMagnitudeBins);
  const std::uint64_t seen = std::accumulate(bins.begin(), bins.end(), std::uint64_t{0});
  for (std::size_t number = 0; number < kQuantiles.size(); ++number)
    vector.quantiles[number] = quantile(bins, seen, kQuantiles[number], vector.largest);
  for (std::size_t number = 0; number < kDensities.size(); ++number)
    vector.norm_share[number] = norm_share(bins, seen, kDensities[number]);
  return vector;
}

// Lets what was looked at in detail stand for all of its tensor, as one of several.
void Tally::weigh(Row& row, std::uint64_t times) const {
  if (times == 1) return;
  for (std::size_t place = layout_.detailed(0); place < layout_.counts(); ++place)
    row.numbers[place] *= times;
  for (std::size_t place = layout_.merged_magnitude(0); place < layout_.sums(); ++place) {
    const ExactSum once = row.sums[place];
    for (std::uint64_t time = 1; time < times; ++time) row.sums[place].add(once);
  }
}

RowStatistics Tally::statistics_of(const Row& row, std::uint64_t elements) const {
  RowStatistics result;
  result.elements = elements;
  result.counts = row.counts;
  result.kept = row.kept;
  if (!level_.full) return result;
  FullStatistics& full = result.full.emplace();
  const auto sum = [&](std::size_t place) { return row.sums[place].value(); };
  for (std::size_t task = 0; task < tasks_; ++task) {
    full.task_vectors.push_back(vector_of(row, task, elements));
    full.conflicts_before.push_back(row.numbers[layout_.conflicts_before(task)]);
    full.conflicts_after.push_back(row.numbers[layout_.conflicts_after(task)]);
  }
  double merged = 0;
  double total = 0;
  double seen = 0;
  for (std::size_t of = 0; of < kAgreementClasses; ++of) {
    full.agreement_before[of] = row.numbers[layout_.agreement_before(of)];
    full.agreement_after[of] = row.numbers[layout_.agreement_after(of)];
    const auto count = static_cast<double>(row.numbers[layout_.detailed(of)]);
    const double of_merged = sum(layout_.merged_magnitude(of));
    const double of_total = sum(layout_.total_magnitude(of)) / static_cast<double>(tasks_);
    full.merged.by_agreement[of] = ratio(of_merged, count);
    full.average.by_agreement[of] = ratio(of_total, count);
    merged += of_merged;
    total += of_total;
    seen += count;
  }
  full.merged.mean = ratio(merged, seen);
  full.merged.norm = std::sqrt(sum(layout_.merged_square()));
  full.average.mean = ratio(total, seen);
  full.average.norm = std::sqrt(sum(layout_.total_square())) / static_cast<double>(tasks_);
  for (std::size_t a = 0; a < layout_.paired(); ++a) {
    for (std::size_t b = a + 1; b < layout_.paired(); ++b) {
      const std::size_t pair = layout_.pair(a, b);
      const double norms = std::sqrt(sum(layout_.square(a))) * std::sqrt(sum(layout_.square(b)));
      full.cosine.push_back(ratio(sum(layout_.product(pair)), norms));
      full.sign_agreement.push_back(
          ratio(static_cast<double>(row.numbers[layout_.same_sign(pair)]),
                static_cast<double>(row.numbers[layout_.both_nonzero(pair)])));
    }
  }
  return result;
}

}  // namespace mpimerge::merge
