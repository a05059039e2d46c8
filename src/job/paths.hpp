#pragma once

#include <cstdint>
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

/// A model that the job names.
struct Reference {
  std::string name;  ///< as the job spells it, without slashes at its end
  std::string path;
  std::string adapter;  ///< path of the adapter that is applied to it; empty: none
};

enum class Adapters : std::uint8_t { refused, taken };

/// Local. A model: a path, or what the Hub calls it and its cache holds (`org/name`,
/// `org/name@revision`, or mergekit's map of path and revision). A name of the Hub that is not in
/// the cache is taken for a path, which may come to be until it is opened. `model+adapter` is a model
/// and an adapter for it, and so is the map {model, lora}.
std::optional<Reference> read_reference(const Value& value, const std::filesystem::path& directory,
                                        Adapters adapters = Adapters::refused);

/// Local. Whether an adapter of PEFT lies in the directory.
bool is_adapter(const std::string& path);

}  // namespace mpimerge::job
