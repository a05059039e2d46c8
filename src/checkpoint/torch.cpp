#include "mpimerge/checkpoint/torch.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include "mpimerge/base/file_descriptor.hpp"

#include "checkpoint/byte_source.hpp"
#include "checkpoint/files.hpp"
#include "checkpoint/refuse.hpp"
#include "checkpoint/shard_index.hpp"
#include "checkpoint/torch_file.hpp"

namespace mpimerge::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr auto kIndexFile = "pytorch_model.bin.index.json";
constexpr auto kModelFile = "pytorch_model.bin";
constexpr std::array kExtensions{".bin", ".pt", ".pth"};

void append(Catalog& catalog, const fs::path& file) {
  const auto descriptor = base::open_for_reading(file);
  const ByteSource source{file, base::file_size(descriptor, file),
                          [&](base::Bytes from, std::uint64_t bytes) {
                            return read_text(descriptor, file, from, bytes);
                          }};
  append_file(catalog, file, parse_torch_file(source));
}

}  // namespace

bool is_torch(const fs::path& path) {
  if (names_directory(path)) return has(path, kIndexFile) || has(path, kModelFile);
  return std::ranges::find(kExtensions, path.extension()) != kExtensions.end();
}

Catalog open_torch(const fs::path& path) {
  Catalog catalog;
  catalog.path = path.string();
  if (!names_directory(path)) {
    append(catalog, path);
  } else if (has(path, kIndexFile)) {
    append_shards(catalog, path / kIndexFile, kModelFile, append);
  } else if (has(path, kModelFile)) {
    append(catalog, path / kModelFile);
  } else {
    refuse(path, "no checkpoint there; looked for {} and {}", kIndexFile, kModelFile);
  }
  return catalog;
}

}  // namespace mpimerge::checkpoint
