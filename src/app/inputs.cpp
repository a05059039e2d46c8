#include "app/inputs.hpp"

#include <filesystem>
#include <span>
#include <string>
#include <system_error>

#include <fmt/format.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/index.hpp"
#include "mpimerge/base/text.hpp"
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

std::string text_of(const std::filesystem::path& file) {
  constexpr base::Bytes kLongest{std::uint64_t{64} << 20};
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return {};
  const base::FileDescriptor opened = base::open_for_reading(file);
  const base::Bytes bytes = base::file_size(opened, file);
  if (bytes > kLongest) {
    throw base::Error(base::ErrorKind::input,
                      fmt::format("{}: has {}; expected at most {}; remove it, or move it away",
                                  base::printable_path(file), base::human_bytes(bytes),
                                  base::human_bytes(kLongest)));
  }
  std::string text(bytes.value(), '\0');
  base::read_exactly(opened, file, base::Bytes{}, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace mpimerge::app
