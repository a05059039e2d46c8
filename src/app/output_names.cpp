#include "app/output_names.hpp"

#include <system_error>

namespace mpimerge::app {

namespace fs = std::filesystem;

bool is_hdf5_name(const std::string& path) {
  return path.ends_with(".h5") || path.ends_with(".hdf5");
}

std::string without_last_slashes(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

std::string with_label(const std::string& path, const std::string& label) {
  const std::size_t end = is_hdf5_name(path) ? path.rfind('.') : path.size();
  return path.substr(0, end) + label + path.substr(end);
}

std::string title_of(const std::string& path) {
  return fs::path(without_last_slashes(path)).filename().string();
}

bool takes_place_of(const std::string& output, const fs::path& input) {
  std::error_code ignored;
  const fs::path directory = input.has_parent_path() ? input.parent_path() : fs::path(".");
  return fs::equivalent(output, input, ignored) || fs::equivalent(output, directory, ignored);
}

}  // namespace mpimerge::app
