#include "mpimerge/checkpoint/safetensors.hpp"

#include <string>
#include <utility>

#include "mpimerge/base/file_descriptor.hpp"

#include "checkpoint/byte_cursor.hpp"
#include "checkpoint/files.hpp"
#include "checkpoint/refuse.hpp"
#include "checkpoint/shard_index.hpp"

namespace mpimerge::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr auto kIndexFile = "model.safetensors.index.json";
constexpr auto kModelFile = "model.safetensors";
constexpr auto kAdapterFile = "adapter_model.safetensors";

constexpr std::uint64_t kLengthBytes = 8;

// The length of the header, proved to be inside the file.
std::uint64_t read_header_bytes(const base::FileDescriptor& descriptor, const fs::path& file,
                                std::uint64_t size) {
  if (size < kLengthBytes) {
    refuse(file,

           "{} bytes are too few for a safetensors file, which begins with an 8-byte length. "
           "Truncated? Download or copy it again",
           size);
  }
  const std::string first = read_text(descriptor, file, base::Bytes{0}, kLengthBytes);
  check_no_git_lfs_pointer(first, file);
  const std::uint64_t header_bytes = little_endian(first);
  if (header_bytes == 0) refuse(file, "its header length is 0; is it a safetensors file?");
  if (header_bytes > kMaxHeaderBytes) {
    refuse(file, "its header length is {} bytes, expected at most {}; is it a safetensors file?",
           header_bytes, kMaxHeaderBytes);
  }
  if (header_bytes > size - kLengthBytes) {
    refuse(file,
           "its header length is {} bytes, but only {} follow. "
           "Truncated? Download or copy it again",
           header_bytes, size - kLengthBytes);
  }
  return header_bytes;
}

// Adds a file and what its header says.
void append(Catalog& catalog, const fs::path& file) {
  SafetensorsHeader header = read_safetensors_header(file);
  if (catalog.files.empty()) catalog.metadata = std::move(header.metadata);
  append_file(catalog, file, std::move(header.tensors));
}

[[noreturn]] void refuse_directory(const fs::path& directory) {
  refuse(directory,
         "no checkpoint there; looked for {}, {}, {}, pytorch_model.bin.index.json and "
         "pytorch_model.bin. If it has another name, give the file itself",
         kIndexFile, kModelFile, kAdapterFile);
}

}  // namespace

SafetensorsHeader read_safetensors_header(const fs::path& file) {
  const auto descriptor = base::open_for_reading(file);
  const auto size = base::file_size(descriptor, file).value();
  const auto header_bytes = read_header_bytes(descriptor, file, size);
  const auto json = read_text(descriptor, file, base::Bytes{kLengthBytes}, header_bytes);
  const auto data_offset = kLengthBytes + header_bytes;
  return parse_safetensors_header(json, base::Bytes{data_offset}, base::Bytes{size - data_offset},
                                  file);
}

bool is_safetensors(const fs::path& path) {
  if (!names_directory(path)) return path.extension() == ".safetensors";
  return has(path, kIndexFile) || has(path, kModelFile) || has(path, kAdapterFile);
}

Catalog open_safetensors(const fs::path& path) {
  Catalog catalog;
  catalog.path = path.string();
  if (!names_directory(path)) {
    append(catalog, path);
  } else if (has(path, kIndexFile)) {
    append_shards(catalog, path / kIndexFile, kModelFile, append);
  } else if (has(path, kModelFile)) {
    append(catalog, path / kModelFile);
  } else if (has(path, kAdapterFile)) {
    append(catalog, path / kAdapterFile);
  } else {
    refuse_directory(path);
  }
  return catalog;
}

}  // namespace mpimerge::checkpoint
