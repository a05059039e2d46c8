#pragma once

#include <string>

#include "mpimerge/checkpoint/catalog.hpp"

namespace mpimerge::app {

/// Local. Opens a checkpoint of any format that mpimerge reads: safetensors or torch.save (file or
/// directory), or an HDF5 file that mpimerge wrote. Headers only.
/// Errors: Error{input}.
checkpoint::Catalog open_checkpoint(const std::string& path);

}  // namespace mpimerge::app
