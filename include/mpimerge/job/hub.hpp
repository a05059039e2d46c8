#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace mpimerge::job {

/// A model as the Hugging Face Hub names it.
struct HubModel {
  std::string id;        ///< org/name
  std::string revision;  ///< branch, tag or commit; empty: main
};

/// Local. Takes `org/name` or `org/name@revision` apart; nothing if the text cannot be that. It may
/// still be a path.
std::optional<HubModel> parse_hub_model(std::string_view text);

/// Local. The directory that holds what was fetched from the Hub: HF_HUB_CACHE,
/// HUGGINGFACE_HUB_CACHE, else `hub` in HF_HOME, else in huggingface of XDG_CACHE_HOME or
/// ~/.cache.
std::filesystem::path hub_cache();

/// Local. Where the model lies in the Hub's cache; nothing if it is not there. Nothing is fetched.
std::optional<std::filesystem::path> find_in_hub_cache(const HubModel& model);

/// Local. What to tell of a model that is not in the cache: where it would be, what fetches it.
std::string not_in_hub_cache(const HubModel& model);

}  // namespace mpimerge::job
