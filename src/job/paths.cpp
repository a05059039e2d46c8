#include "job/paths.hpp"

#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "mpimerge/job/hub.hpp"

#include "job/tree.hpp"

namespace mpimerge::job {
namespace {

bool exists(const std::string& path) {
  std::error_code unknown;
  return std::filesystem::exists(path, unknown);
}

/// Local. mergekit's `{model: {path: PATH, revision: REVISION}}`, or `{model: PATH}`.
std::optional<std::string> read_reference_map(const Value& value) {
  constexpr std::string_view kExpected = "a path, or a map with model: {path, revision}";
  auto outer = value.section(kExpected);
  const auto inner = outer->require("model", kExpected);
  outer->refuse({"lora"}, "not supported by this version; merge the adapter into its model first");
  outer->refuse({"override_architecture"}, "not supported by this version; leave it out");
  outer->finish();
  if (!inner) return std::nullopt;
  if (inner->node().kind != Node::Kind::map) return read_path(*inner, kExpected);
  auto model = inner->section(kExpected);
  const auto given_path = model->require("path", "a path");
  const auto given_revision = model->find_filled("revision");
  model->finish();
  auto path = given_path ? read_path(*given_path, "a path") : std::nullopt;
  const auto revision =
      given_revision ? read_path(*given_revision, "a revision") : std::optional<std::string>("");
  if (!path || !revision) return std::nullopt;
  return revision->empty() ? path : fmt::format("{}@{}", *path, *revision);
}

}  // namespace

std::string without_trailing_slashes(std::string text) {
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

std::string resolve(const std::string& spelled, const std::filesystem::path& directory) {
  // An absolute right-hand side replaces the left one.
  return without_trailing_slashes((directory / spelled).lexically_normal().string());
}

std::string identity(const std::string& path) {
  std::error_code no_working_directory;
  const auto absolute = std::filesystem::absolute(path, no_working_directory);
  return no_working_directory ? path
                              : without_trailing_slashes(absolute.lexically_normal().string());
}

std::optional<std::string> read_path(const Value& value, std::string_view expected) {
  auto spelled = value.text(expected);
  if (!spelled || spelled->find_first_of("\r\n") == std::string::npos) return spelled;
  value.fault_expected("a path without line breaks");
  return std::nullopt;
}

std::optional<Reference> read_reference(const Value& value,
                                        const std::filesystem::path& directory) {
  auto spelled =
      value.node().kind == Node::Kind::map ? read_reference_map(value) : read_path(value, "a path");
  if (!spelled) return std::nullopt;
  *spelled = without_trailing_slashes(std::move(*spelled));
  Reference reference{*spelled, resolve(*spelled, directory)};
  if (exists(reference.path)) return reference;
  const std::size_t plus = spelled->find('+');
  const std::string before = spelled->substr(0, plus);
  if (plus != std::string::npos &&
      (exists(resolve(before, directory)) || parse_hub_model(before))) {
    value.fault_expected("a model", "merge the LoRA adapter behind `+` into its model first");
    return std::nullopt;
  }
  const auto model = parse_hub_model(*spelled);
  if (!model) return reference;
  if (const auto snapshot = find_in_hub_cache(*model)) {
    reference.path = snapshot->string();
  } else if (!model->revision.empty()) {
    value.fault(fmt::format("{} is {}", describe(value.node()), not_in_hub_cache(*model)));
    return std::nullopt;
  }
  return reference;
}

}  // namespace mpimerge::job
