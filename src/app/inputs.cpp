#include "app/inputs.hpp"

#include "mpimerge/checkpoint/safetensors.hpp"
#include "mpimerge/checkpoint/torch.hpp"
#include "mpimerge/output/hdf5_catalog.hpp"

namespace mpimerge::app {

namespace {

checkpoint::Catalog open(const std::string& path) {
  if (output::is_hdf5(path)) return output::open_hdf5(path);
  // Where a directory has both, safetensors: that is what transformers and mergekit take.
  if (!checkpoint::is_safetensors(path) && checkpoint::is_torch(path)) {
    return checkpoint::open_torch(path);
  }
  return checkpoint::open_safetensors(path);
}

}  // namespace

checkpoint::Catalog open_checkpoint(const std::string& path) {
  checkpoint::Catalog catalog = open(path);
  catalog.path = path;
  return catalog;
}

}  // namespace mpimerge::app
