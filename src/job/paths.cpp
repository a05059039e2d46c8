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

/// A reference as the job spells it.
struct Spelled {
  std::string model;
  std::string adapter;
};

/// Local. mergekit's `{path: PATH, revision: REVISION}`, or PATH.
std::optional<std::string> read_place(const Value& value, std::string_view expected) {
  if (value.node().kind != Node::Kind::map) return read_path(value, expected);
  auto model = value.section(expected);
  const auto given_path = model->require("path", "a path");
  const auto given_revision = model->find_filled("revision");
  model->finish();
  auto path = given_path ? read_path(*given_path, "a path") : std::nullopt;
  const auto revision =
      given_revision ? read_path(*given_revision, "a revision") : std::optional<std::string>("");
  if (!path || !revision) return std::nullopt;
  return revision->empty() ? path : fmt::format("{}@{}", *path, *revision);
}

/// Local. mergekit's `{model: PLACE, lora: PLACE}`.
std::optional<Spelled> read_reference_map(const Value& value) {
  constexpr std::string_view kExpected = "a path, or a map with model: {path, revision}";
  auto outer = value.section(kExpected);
  const auto model = outer->require("model", kExpected);
  const auto lora = outer->find_filled("lora");
  outer->refuse({"override_architecture"}, "not supported by this version; leave it out");
  outer->finish();
  const auto place = model ? read_place(*model, kExpected) : std::nullopt;
  const auto adapter = lora ? read_place(*lora, "a path") : std::optional<std::string>("");
  if (!place || !adapter) return std::nullopt;
  return Spelled{*place, *adapter};
}

/// Local. `model+adapter`, unless there is something of just that name.
Spelled take_apart(std::string text, const std::filesystem::path& directory) {
  const std::size_t plus = text.find('+');
  if (plus == std::string::npos || exists(resolve(text, directory))) return {std::move(text), ""};
  const std::string before = text.substr(0, plus);
  if (!exists(resolve(before, directory)) && !parse_hub_model(before)) return {std::move(text), ""};
  return {before, text.substr(plus + 1)};
}

/// Local. Where it lies: a path, or what the Hub's cache has of that name.
std::optional<std::string> locate(const Value& value, const std::string& spelled,
                                  const std::filesystem::path& directory) {
  std::string path = resolve(spelled, directory);
  if (exists(path)) return path;
  const auto model = parse_hub_model(spelled);
  if (!model) return path;
  if (const auto snapshot = find_in_hub_cache(*model)) return snapshot->string();
  if (model->revision.empty()) return path;
  value.fault(fmt::format("{} is {}", describe(value.node()), not_in_hub_cache(*model)));
  return std::nullopt;
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

std::optional<Reference> read_reference(const Value& value, const std::filesystem::path& directory,
                                        Adapters adapters) {
  std::optional<Spelled> spelled;
  if (value.node().kind == Node::Kind::map) {
    spelled = read_reference_map(value);
  } else if (auto text = read_path(value, "a path")) {
    spelled = take_apart(std::move(*text), directory);
  }
  if (!spelled) return std::nullopt;
  spelled->model = without_trailing_slashes(std::move(spelled->model));
  spelled->adapter = without_trailing_slashes(std::move(spelled->adapter));
  const auto path = locate(value, spelled->model, directory);
  if (spelled->adapter.empty())
    return path ? std::optional<Reference>({spelled->model, *path, ""}) : std::nullopt;
  if (adapters == Adapters::refused) {
    value.fault_expected("a model", "merge the LoRA adapter into its model first");
    return std::nullopt;
  }
  const auto adapter = locate(value, spelled->adapter, directory);
  if (!path || !adapter) return std::nullopt;
  return Reference{fmt::format("{}+{}", spelled->model, spelled->adapter), *path, *adapter};
}

bool is_adapter(const std::string& path) { return exists(path + "/adapter_config.json"); }

}  // namespace mpimerge::job
