#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "job/section.hpp"

namespace mpimerge::job {

/// Local. "a/b//" is "a/b", and "/" stays.
std::string without_trailing_slashes(std::string text);

/// Local. A path of the job, from the job file's directory on if it is relative.
std::string resolve(const std::string& spelled, const std::filesystem::path& directory);

/// Local. One text per place in the file system, as far as that can be told from the path.
std::string identity(const std::string& path);

/// Local. A path as the job spells it. With a line break in it, every message that names it would
/// look like two.
std::optional<std::string> read_path(const Value& value, std::string_view expected);

/// Local. A model's path as the job spells it, without slashes at its end.
std::optional<std::string> read_model_path(const Value& value);

}  // namespace mpimerge::job
