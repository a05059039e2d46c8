#include "report/groups.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <string_view>
#include <utility>

namespace mpimerge::report {
namespace {

void add_to(std::optional<std::uint64_t>& sum, const std::optional<std::uint64_t>& count) {
  if (count) sum = sum.value_or(0) + *count;
}

// Parts of a name that are numbers become `*`.
std::string without_numbers(std::string_view name) {
  std::string out;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('.', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    const bool digits =
        !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
    if (begin > 0) out += '.';
    out += digits ? std::string_view("*") : part;
    begin = end + 1;
  }
  return out;
}

// By the name, in the order in which they come.
class Kinds {
 public:
  KindGroup& of(const Tensor& tensor) {
    const std::string name = without_numbers(tensor.kind);
    const auto [place, is_new] =
        places_.try_emplace({tensor.layer.has_value(), name}, kinds_.size());
    if (is_new) {
      KindGroup kind;
      kind.name = name;
      const std::size_t star = name.find('*');
      const bool layered = tensor.layer && star != std::string::npos;
      if (layered) kind.stack = name.substr(0, star + 1);
      kind.rest = layered && star + 2 < name.size() ? name.substr(star + 2) : name;
      kinds_.push_back(std::move(kind));
    }
    return kinds_[place->second];
  }

  std::vector<KindGroup> take() { return std::move(kinds_); }

 private:
  std::map<std::pair<bool, std::string>, std::size_t> places_;
  std::vector<KindGroup> kinds_;
};

}  // namespace

void Sums::add(const Row& row, std::uint64_t paired_tasks) {
  ++tensors;
  elements += row.elements;
  kept.resize(std::max(kept.size(), row.kept.size()));
  for (std::size_t task = 0; task < row.kept.size(); ++task) kept[task] += row.kept[task];
  if (row.signs) {
    SignCounts sum = signs.value_or(SignCounts{});
    sum.positive += row.signs->positive;
    sum.negative += row.signs->negative;
    sum.cancelled += row.signs->cancelled;
    sum.untouched += row.signs->untouched;
    signs = sum;
  }
  add_to(conflicts_before_trim, row.conflicts_before_trim);
  add_to(conflicts_after_trim, row.conflicts_after_trim);
  if (row.merged) merged_square = merged_square.value_or(0) + row.merged->norm * row.merged->norm;
  const std::vector<VectorNumbers>& vectors = row.task_vectors;
  vector_squares.resize(std::max(vector_squares.size(), vectors.size()));
  for (std::size_t task = 0; task < vectors.size(); ++task)
    vector_squares[task] += vectors[task].norm * vectors[task].norm;
  if (vectors.empty() || row.cosine.empty()) return;
  dots.resize(std::max(dots.size(), row.cosine.size()));
  std::size_t pair = 0;
  for (std::size_t a = 0; a < paired_tasks; ++a) {
    for (std::size_t b = a + 1; b < paired_tasks; ++b, ++pair) {
      const double norms = vectors[a].norm * vectors[b].norm;
      if (norms > 0) dots[pair] += row.cosine[pair] * norms;  // else undefined, and nothing to add
    }
  }
}

double Sums::share(std::uint64_t count) const {
  if (elements == 0) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(count) / static_cast<double>(elements);
}

double Sums::mean_kept_share() const {
  double sum = 0;
  for (const std::uint64_t count : kept) sum += share(count);
  return sum / static_cast<double>(kept.size());
}

Groups group(const Report& report) {
  Groups groups;
  Kinds kinds;
  std::map<std::pair<std::size_t, std::uint64_t>, Sums> layers;  // by stack and number
  for (const Tensor& tensor : report.each) {
    KindGroup& kind = kinds.of(tensor);
    kind.all.add(tensor.row, report.paired_tasks);
    if (!tensor.layer) {
      if (!groups.outside) groups.outside.emplace();
      groups.outside->add(tensor.row, report.paired_tasks);
      continue;
    }
    const auto stack = std::find(groups.stacks.begin(), groups.stacks.end(), kind.stack);
    const auto number = static_cast<std::size_t>(stack - groups.stacks.begin());
    if (stack == groups.stacks.end()) groups.stacks.push_back(kind.stack);
    layers[{number, *tensor.layer}].add(tensor.row, report.paired_tasks);
    const auto place = std::find_if(kind.layers.begin(), kind.layers.end(), [&](const auto& layer) {
      return layer.first == *tensor.layer;
    });
    if (place != kind.layers.end()) {
      place->second.add(tensor.row, report.paired_tasks);
    } else {
      kind.layers.emplace_back(*tensor.layer, Sums{}).second.add(tensor.row, report.paired_tasks);
    }
  }
  groups.kinds = kinds.take();
  for (KindGroup& kind : groups.kinds) {
    std::sort(kind.layers.begin(), kind.layers.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
  }
  for (auto& [place, sums] : layers)
    groups.layers.push_back({groups.stacks[place.first], place.second, std::move(sums)});
  return groups;
}

}  // namespace mpimerge::report
