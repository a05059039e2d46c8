#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "mpimerge/checkpoint/catalog.hpp"

namespace mpimerge::checkpoint {

/// Local. What a config.json says of `tie_word_embeddings`; of a model of several parts, its
/// `text_config` if it says nothing itself. Nothing if it does not say or is no JSON object.
std::optional<bool> ties_embeddings(std::string_view config);

/// Local. Whether a tensor of that name is a head: what may be tied to the embeddings.
bool is_head(std::string_view tensor);

/// Local. The embeddings that a head of this checkpoint would be tied to; nothing if there are none, or
/// none stands out among several.
std::optional<std::string> embeddings_of(const Catalog& catalog);

/// Local. Notes in the catalog which tensors are others again (Catalog::tied): those that share their
/// bytes, and heads that the config.json beside the tensors ties to the embeddings. Of several with
/// the same bytes the others are the embeddings, or else the first by name that is no head.
/// @param path  of the checkpoint; only a directory has a config.json
/// Errors: Error{input}: a config.json that cannot be read.
void note_ties(Catalog& catalog, const std::filesystem::path& path);

}  // namespace mpimerge::checkpoint
