#include "app/inputs.hpp"

#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/checkpoint/safetensors.hpp"
#include "mpimerge/checkpoint/torch.hpp"
#include "mpimerge/job/hub.hpp"
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

checkpoint::Catalog open_checkpoint(const std::string& path, const std::string& name) {
  std::error_code unknown;
  const auto model = job::parse_hub_model(name);
  if (model && !std::filesystem::exists(path, unknown) && !unknown) {
    throw base::Error(base::ErrorKind::input,
                      fmt::format("{}: no such file or directory; {} is {}", path, name,
                                  job::not_in_hub_cache(*model)));
  }
  return open_checkpoint(path);
}

}  // namespace mpimerge::app
