#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "job/faults.hpp"
#include "job/tree.hpp"

namespace mpimerge::job {

/// The key `sweep` of a job: values of some parameters, each with all of the others.
class Grid {
 public:
  /// Local. Takes the key out of a job's tree. What is wrong goes to `faults`, and the grid is of use
  /// only if there is nothing.
  Grid(Node& root, Faults& faults);

  /// Local. Names of the parameters; none: the job has no sweep.
  [[nodiscard]] std::vector<std::string> keys() const;
  /// Local. At least 1.
  [[nodiscard]] std::size_t points() const;
  /// Local. Of a point, by key, as names of files show them.
  [[nodiscard]] std::vector<std::string> values(std::size_t point) const;
  /// Local. Puts the values of a point in their places. Lists that do not fit the models go to
  /// `faults`.
  void apply(std::size_t point, Node& root, Faults& faults) const;

 private:
  struct Axis {
    std::string name;
    std::vector<Node> values;
  };

  [[nodiscard]] const Node& value(std::size_t point, std::size_t axis) const;

  static std::optional<std::size_t> check_values(const Axis& axis, bool of_models, Faults& faults);

  std::vector<Axis> axes_;
};

}  // namespace mpimerge::job
