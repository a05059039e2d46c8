#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "job/tree.hpp"

namespace mpimerge::job {

/// One `--set KEY=VALUE`.
struct SetOverride {
  std::string key;                 ///< as written: "models.0.parameters.density"
  std::vector<std::string> steps;  ///< the key's parts
  std::string value;               ///< YAML
};

/// Local. Takes `KEY=VALUE` apart at its first `=`.
/// Errors: Error{usage} if there is no `=`, or if KEY is empty, has an empty part or too many.
SetOverride parse_set_override(std::string_view text);

/// Local. Puts the value into the tree, making maps on the way; the index of a list exists, or
/// equals its length to append. What cannot be reached is a fault at this `--set`.
///
/// @param set  which `--set` this is, from 0
/// Errors: Error{usage} if VALUE cannot be read as YAML.
void apply(const SetOverride& override, int set, Node& root, Faults& faults);

}  // namespace mpimerge::job
