#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "mpimerge/base/index.hpp"
#include "mpimerge/plan/plan.hpp"

namespace mpimerge::plan {

/// Which elements of the groups a look at the inputs has seen, by whatever ranks. All local.
///
/// Example: [0,4) and then [4,8) of group 0 are one stretch [0,8); of [6,12) the gap [8,12) is left.
class Coverage {
 public:
  /// Adds a stretch, which may be empty and may overlap others.
  void add(std::uint64_t group, base::ElementRange range);
  /// Adds all of another.
  void add(const Coverage& other);

  [[nodiscard]] bool empty() const noexcept { return ends_.empty(); }
  /// The parts of a stretch that were not seen, in order; none of them empty.
  [[nodiscard]] std::vector<base::ElementRange> gaps(std::uint64_t group,
                                                     base::ElementRange range) const;
  /// Whether all of a stretch was seen.
  [[nodiscard]] bool covers(std::uint64_t group, base::ElementRange range) const {
    return gaps(group, range).empty();
  }
  /// How many elements were seen.
  [[nodiscard]] base::Elements elements() const;

  /// Group, begin and end of each stretch, in order: no two of them touch.
  [[nodiscard]] std::vector<std::uint64_t> numbers() const;
  /// The inverse.
  /// @return nothing: no such numbers
  static std::optional<Coverage> from_numbers(std::span<const std::uint64_t> numbers);

  /// Whether every stretch lies in a group of the plan.
  [[nodiscard]] bool fits(const Plan& plan) const;

  bool operator==(const Coverage&) const = default;

 private:
  std::map<std::pair<std::uint64_t, base::Elements>, base::Elements> ends_;  // by group and begin
};

}  // namespace mpimerge::plan
