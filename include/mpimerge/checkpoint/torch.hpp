#pragma once

#include <filesystem>

#include "mpimerge/checkpoint/catalog.hpp"

namespace mpimerge::checkpoint {

/// Local. Whether `path` looks like a checkpoint of torch.save: a file named *.bin, *.pt or *.pth,
/// there or not (opening it then says so), or a directory with pytorch_model.bin or
/// pytorch_model.bin.index.json.
bool is_torch(const std::filesystem::path& path);

/// Local. Opens a checkpoint that torch.save (1.6 or newer) wrote: a file, or a directory with
/// pytorch_model.bin.index.json (preferred, with the shards it names) or pytorch_model.bin.
///
/// A file holds one dictionary from names to dense, contiguous tensors, usually a state dict.
/// Executes nothing of it, and reads only what says where the tensors are. Tensors may share bytes.
/// Errors: Error{input}, one line that names the file: not a zip file, or one that is damaged,
/// compressed or encrypted; a pickle that holds or asks for anything else than such tensors, which it
/// names; tensors outside the file; index and shards as in open_safetensors.
Catalog open_torch(const std::filesystem::path& path);

}  // namespace mpimerge::checkpoint
