#include "mpimerge/job/hub.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <system_error>

#include <fmt/format.h>

#include "mpimerge/base/text.hpp"

namespace mpimerge::job {
namespace {

constexpr std::size_t kLongestName = 96;
constexpr std::size_t kLongestRevision = 255;

bool is_word(std::string_view text, std::string_view also) {
  return std::ranges::all_of(text, [&](char letter) {
    return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
           (letter >= '0' && letter <= '9') || also.find(letter) != std::string_view::npos;
  });
}

bool is_hub_name(std::string_view name) {
  return !name.empty() && name.size() <= kLongestName && name.front() != '.' &&
         name.front() != '-' && is_word(name, "-_.");
}

bool is_revision(std::string_view text) {
  return !text.empty() && text.size() <= kLongestRevision && text.front() != '/' &&
         text.find("..") == std::string_view::npos && is_word(text, "-_./");
}

std::optional<std::filesystem::path> directory_of(const char* variable) {
  const char* const value = std::getenv(variable);
  if (value == nullptr || *value == '\0') return std::nullopt;
  const std::string_view text = value;
  const char* const home = std::getenv("HOME");
  // As huggingface_hub reads it: batch scripts set it where no shell does.
  if (text.starts_with("~/") && home != nullptr)
    return std::filesystem::path(home) / text.substr(2);
  return text;
}

std::filesystem::path cache_of(const HubModel& model) {
  std::string name = model.id;
  name.replace(name.find('/'), 1, "--");
  return hub_cache() / ("models--" + name);
}

/// Local. The commit that a branch or tag stood for when it was fetched; empty if it never was.
std::string commit_of(const std::filesystem::path& reference) {
  std::string commit(kLongestName, '\0');
  std::ifstream file(reference, std::ios::binary);
  file.read(commit.data(), static_cast<std::streamsize>(commit.size()));
  commit.resize(static_cast<std::size_t>(file.gcount()));
  commit.resize(std::min(commit.find_first_of(" \r\n"), commit.size()));
  return is_word(commit, "") ? commit : std::string();
}

}  // namespace

std::optional<HubModel> parse_hub_model(std::string_view text) {
  const std::size_t at = text.find('@');
  const std::string_view id = text.substr(0, at);
  const std::size_t slash = id.find('/');
  if (slash == std::string_view::npos || !is_hub_name(id.substr(0, slash)) ||
      !is_hub_name(id.substr(slash + 1)))
    return std::nullopt;
  if (at == std::string_view::npos) return HubModel{std::string(id), {}};
  const std::string_view revision = text.substr(at + 1);
  if (!is_revision(revision)) return std::nullopt;
  return HubModel{std::string(id), std::string(revision)};
}

std::filesystem::path hub_cache() {
  for (const char* variable : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"})
    if (const auto cache = directory_of(variable)) return *cache;
  if (const auto home = directory_of("HF_HOME")) return *home / "hub";
  const auto caches = directory_of("XDG_CACHE_HOME");
  const auto home = directory_of("HOME").value_or("");
  return caches.value_or(home / ".cache") / "huggingface" / "hub";
}

std::optional<std::filesystem::path> find_in_hub_cache(const HubModel& model) {
  const std::filesystem::path cache = cache_of(model);
  const std::string revision = model.revision.empty() ? "main" : model.revision;
  std::error_code not_there;
  for (const std::string& commit : {revision, commit_of(cache / "refs" / revision)}) {
    const std::filesystem::path snapshot = cache / "snapshots" / commit;
    if (!commit.empty() && std::filesystem::is_directory(snapshot, not_there)) return snapshot;
  }
  return std::nullopt;
}

std::string not_in_hub_cache(const HubModel& model) {
  const std::string revision = model.revision.empty() ? "" : " --revision " + model.revision;
  return fmt::format(
      "neither a path nor in the Hub's cache ({}); mpimerge fetches nothing; "
      "`hf download {}{}` does",
      base::printable_path(cache_of(model)), model.id, revision);
}

}  // namespace mpimerge::job
