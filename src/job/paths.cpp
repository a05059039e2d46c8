#include "job/paths.hpp"

#include <system_error>
#include <utility>

#include "job/tree.hpp"

namespace mpimerge::job {

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

std::optional<std::string> read_model_path(const Value& value) {
  if (value.node().kind == Node::Kind::map) {
    value.fault_expected("a path",
                         "mergekit's map form of a model is not supported by this version");
    return std::nullopt;
  }
  auto spelled = read_path(value, "a path");
  if (spelled) *spelled = without_trailing_slashes(std::move(*spelled));
  return spelled;
}

}  // namespace mpimerge::job
