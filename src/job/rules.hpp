#pragma once

#include <array>
#include <filesystem>
#include <string_view>

#include "mpimerge/method/method.hpp"
#include "mpimerge/method/rules.hpp"

#include "job/paths.hpp"
#include "job/section.hpp"

namespace mpimerge::job {

/// Local. Whether a key of the job beside `parameters` means anything to a method.
bool concerns(std::string_view key, const method::Description& method);

/// The keys that `read_rules` reads.
inline constexpr std::array<std::string_view, 7> kChoices = {
    "compat", "trim_scope", "elect", "sign_tie", "aggregate", "rescale_by", "seed"};

/// What a job chooses, and the checkpoint that `elect` names; empty: none.
struct Choices {
  method::Rules rules;
  Reference signs;
};

/// Local. Reads compat, trim_scope, elect, sign_tie, aggregate, rescale_by and seed. `compat` moves
/// the defaults of the others.
Choices read_rules(Section& root, const method::Description& method,
                   const std::filesystem::path& directory);

}  // namespace mpimerge::job
