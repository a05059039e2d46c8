#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace mpimerge::checkpoint {

/// Local. The `weight_map` of a model.safetensors.index.json: from tensor name to file name.
///
/// Every file name is a plain relative path that stays inside the directory of the index. Other
/// keys of the index are passed over.
/// @param file  the index, named in messages
/// Errors: Error{input}, one line: not JSON, no or an empty weight_map, duplicate keys, other
/// values than strings, file names that are absolute, empty, not plain or have a `..`.
std::map<std::string, std::string> parse_shard_index(std::string_view json,
                                                     const std::filesystem::path& file);

}  // namespace mpimerge::checkpoint
