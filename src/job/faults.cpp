#include "job/faults.hpp"

#include <algorithm>
#include <cstddef>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/text.hpp"

namespace mpimerge::job {

Faults::Faults(std::string file, std::vector<std::string> set_keys)
    : file_(std::move(file)), set_keys_(std::move(set_keys)) {}

void Faults::add(Place place, std::string_view key, std::string_view message) {
  std::string where = fmt::format("{}:{}", file_, place.line);
  if (place.set >= 0) {
    const std::string& set_key = set_keys_[static_cast<std::size_t>(place.set)];
    where = fmt::format("--set {}", base::printable(set_key));
    if (key == set_key) key = {};
  }
  if (!key.empty()) where += fmt::format(": {}", base::printable(key));
  faults_.push_back({place, fmt::format("{}: {}", where, message)});
}

void Faults::throw_if_any() const {
  if (faults_.empty()) return;
  std::vector<Fault> sorted = faults_;
  std::ranges::stable_sort(sorted, std::less{}, [](const Fault& fault) {
    return std::tuple(fault.place.set, fault.place.line);
  });
  std::set<std::string> texts;
  std::erase_if(sorted, [&](const Fault& fault) { return !texts.insert(fault.text).second; });
  const std::size_t told = std::min(sorted.size(), kMostFaultsTold);
  std::string text;
  for (const Fault& fault : std::span(sorted).first(told))
    text += (text.empty() ? "" : "\n") + fault.text;
  if (told < sorted.size()) text += fmt::format("\n{}: and {} more", file_, sorted.size() - told);
  throw base::Error(base::ErrorKind::job, text);
}

}  // namespace mpimerge::job
