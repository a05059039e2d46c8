#pragma once

#include <span>
#include <string>
#include <vector>

#include "mpimerge/checkpoint/catalog.hpp"
#include "mpimerge/plan/plan.hpp"

namespace mpimerge::plan {

/// Local. Settles which tensors are others again where models disagree, before build_plan:
///
///   all models tie it, and the first has it   it is merged as the other is, once
///   all that have it tie it, the first lacks  it is left out of all: the output has none either
///   some model has one of its own             the others, the first too, count with the tensor that
///                                             it is in them, which for a head is the embeddings
///
/// So a head is written if some model stores one of its own. What a config.json ties to the
/// embeddings is read from there, as transformers does it, whatever the file holds in its place.
/// @param models  the first says what the output has
/// @return for the log, a line for each tensor that is not merged from what its model stores
std::vector<std::string> resolve_ties(std::span<checkpoint::Catalog> models);

/// Local. Whether the output has a head of its own where its configuration ties it to the
/// embeddings.
/// @param first  the first of the models that the plan was made of
bool unties_head(const checkpoint::Catalog& first, const Plan& plan);

}  // namespace mpimerge::plan
