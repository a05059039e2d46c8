#pragma once

#include <string>

#include "mpimerge/checkpoint/catalog.hpp"

namespace mpimerge::app {

/// Local. Opens a checkpoint of any format that mpimerge reads: safetensors or torch.save (file or
/// directory), or an HDF5 file that mpimerge wrote. Headers only.
/// Errors: Error{input}.
checkpoint::Catalog open_checkpoint(const std::string& path);

/// Local. The same of a model that a job names: where there is no such path, but the name can be one
/// of the Hub, the error tells how to fetch it.
checkpoint::Catalog open_checkpoint(const std::string& path, const std::string& name);

}  // namespace mpimerge::app
