#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "mpimerge/base/index.hpp"
#include "mpimerge/checkpoint/catalog.hpp"

namespace mpimerge::checkpoint {

/// Headers above this are refused, as the safetensors library does.
inline constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;

/// What the header of one safetensors file says.
struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  ///< offsets from the start of the file; `file` is 0
  std::map<std::string, std::string> metadata;
};

/// Local. Parses and validates the JSON text of a safetensors header.
///
/// Accepted: one object of tensors, each {dtype, shape, data_offsets}, and optionally
/// `__metadata__`, a map from string to string. The data ranges must tile the `data_bytes` bytes
/// behind the header exactly.
/// @param json        the header without its 8-byte length
/// @param data_offset position of the first data byte in the file
/// @param data_bytes  bytes of the file behind the header
/// @param file        named in messages
/// Errors: Error{input}, one line: not JSON, not an object, duplicate or unknown keys, unknown
/// element type, shape × type ≠ bytes, ranges that overlap, leave gaps, run backwards or overflow,
/// more than 32 dimensions, a tensor name that is empty or holds a zero byte.
/// Cost: O(n log n) in the number of tensors; no allocation is sized by a number read from the
/// file.
SafetensorsHeader parse_safetensors_header(std::string_view json, base::Bytes data_offset,
                                           base::Bytes data_bytes,
                                           const std::filesystem::path& file);

/// Local. Reads and validates the header of one file; touches no tensor data.
/// Errors: Error{input}: as above; no such file, not a regular file, shorter than its header says,
/// header above kMaxHeaderBytes.
SafetensorsHeader read_safetensors_header(const std::filesystem::path& file);

/// Local. Whether `path` looks like a safetensors checkpoint: a file named *.safetensors, there or
/// not (opening it then says so), or a directory with model.safetensors,
/// model.safetensors.index.json or adapter_model.safetensors.
bool is_safetensors(const std::filesystem::path& path);

/// Local. Opens a checkpoint in safetensors: a file, or a directory with model.safetensors,
/// model.safetensors.index.json (preferred, with the shards it names) or adapter_model.safetensors.
/// Reads headers only.
/// Errors: Error{input}, one line that names the file: what read_safetensors_header refuses; index
/// not valid; shard missing; index that names a tensor its shard lacks, or lacks one the shard has,
/// or a path outside the directory; the same tensor in two shards.
Catalog open_safetensors(const std::filesystem::path& path);

}  // namespace mpimerge::checkpoint
