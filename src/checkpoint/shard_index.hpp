#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "mpimerge/checkpoint/catalog.hpp"

namespace mpimerge::checkpoint {

/// Local. The `weight_map` of an index, as in model.safetensors.index.json or
/// pytorch_model.bin.index.json: from tensor name to file name.
///
/// Every file name is a plain relative path that stays inside the directory of the index. Other
/// keys of the index are passed over.
/// @param file  the index, named in messages
/// Errors: Error{input}, one line: not JSON, no or an empty weight_map, duplicate keys, other
/// values than strings, file names that are absolute, empty, not plain or have a `..`.
std::map<std::string, std::string> parse_shard_index(std::string_view json,
                                                     const std::filesystem::path& file);

/// Local. Adds the shards that an index names to an empty catalog, in the order of their names.
/// @param whole   what a file with the whole model would be called; if there is one beside the
///                shards, the log says that it is not read
/// @param append  adds one file, by append_file
/// Errors: Error{input}, one line: above kMaxHeaderBytes, what parse_shard_index and `append`
/// refuse, a shard missing, a tensor missing, not listed, in another shard or in two.
void append_shards(Catalog& catalog, const std::filesystem::path& index, const std::string& whole,
                   const std::function<void(Catalog&, const std::filesystem::path&)>& append);

}  // namespace mpimerge::checkpoint
