#include "app/inputs.hpp"

#include <filesystem>

#include "mpimerge/checkpoint/safetensors.hpp"
#include "mpimerge/output/hdf5_catalog.hpp"

namespace mpimerge::app {

checkpoint::Catalog open_checkpoint(const std::string& path) {
  std::error_code ignored;
  const bool file = std::filesystem::is_regular_file(path, ignored);
  checkpoint::Catalog catalog =
      file && output::is_hdf5(path) ? output::open_hdf5(path) : checkpoint::open_safetensors(path);
  catalog.path = path;
  return catalog;
}

}  // namespace mpimerge::app
