#include "mpimerge/checkpoint/safetensors.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <ranges>
#include <span>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/log.hpp"
#include "mpimerge/base/narrow.hpp"

#include "checkpoint/refuse.hpp"
#include "checkpoint/shard_index.hpp"

namespace mpimerge::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr auto kIndexFile = "model.safetensors.index.json";
constexpr auto kModelFile = "model.safetensors";
constexpr auto kAdapterFile = "adapter_model.safetensors";

constexpr std::uint64_t kLengthBytes = 8;
using LengthBytes = std::array<std::byte, kLengthBytes>;

// A link without its target counts: opening it then says what is missing.
bool has(const fs::path& directory, const char* name) {
  std::error_code ignored;
  return fs::symlink_status(directory / name, ignored).type() != fs::file_type::not_found;
}

bool names_directory(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

bool is_missing(const fs::path& path) {
  std::error_code ignored;
  return fs::status(path, ignored).type() == fs::file_type::not_found;
}

std::uint64_t little_endian(const LengthBytes& bytes) {
  std::uint64_t value = 0;
  for (const std::byte byte : std::views::reverse(bytes)) {
    value = value << 8 | std::to_integer<std::uint64_t>(byte);
  }
  return value;
}

bool is_git_lfs_pointer(const LengthBytes& first) {
  return std::ranges::equal(first, std::as_bytes(std::span("version ", kLengthBytes)));
}

// The length of the header, proved to be inside the file.
std::uint64_t read_header_bytes(const base::FileDescriptor& descriptor, const fs::path& file,
                                std::uint64_t size) {
  if (size < kLengthBytes) {
    refuse(file,

           "{} bytes are too few for a safetensors file, which begins with an 8-byte length. "
           "Truncated? Download or copy it again",
           size);
  }
  LengthBytes first{};
  base::read_exactly(descriptor, file, base::Bytes{0}, first);
  const std::uint64_t header_bytes = little_endian(first);
  if (is_git_lfs_pointer(first)) {
    refuse(file,
           "a Git LFS pointer, not the tensors themselves; run `git lfs pull` in its repository");
  }
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

std::string read_text(const base::FileDescriptor& descriptor, const fs::path& file,
                      base::Bytes from, std::uint64_t bytes) {
  std::string text(base::narrow<std::size_t>(bytes), '\0');
  base::read_exactly(descriptor, file, from, std::as_writable_bytes(std::span(text)));
  return text;
}

std::string read_index(const fs::path& file) {
  const auto descriptor = base::open_for_reading(file);
  const auto size = base::file_size(descriptor, file).value();
  if (size > kMaxHeaderBytes) {
    refuse(file, "the index is {} bytes long, expected at most {}", size, kMaxHeaderBytes);
  }
  return read_text(descriptor, file, base::Bytes{0}, size);
}

// Adds a file and what its header says.
void append(Catalog& catalog, const fs::path& file) {
  SafetensorsHeader header = read_safetensors_header(file);
  const auto number = base::narrow<std::uint32_t>(catalog.files.size());
  for (TensorInfo& tensor : header.tensors) tensor.file = number;
  std::ranges::move(header.tensors, std::back_inserter(catalog.tensors));
  if (catalog.files.empty()) catalog.metadata = std::move(header.metadata);
  catalog.files.push_back(file);
}

// File names of shards, sorted: position n is Catalog::files[n].
using Shards = std::vector<std::string>;
using WeightMap = std::map<std::string, std::string>;

Shards shards_of(const WeightMap& weight_map) {
  Shards shards;
  std::ranges::copy(std::views::values(weight_map), std::back_inserter(shards));
  std::ranges::sort(shards);
  shards.erase(std::ranges::unique(shards).begin(), shards.end());
  return shards;
}

// All are looked for before the first is read, so that one message tells how many are missing.
void check_shards_exist(const fs::path& directory, const Shards& shards) {
  const auto missing = [&](const std::string& shard) { return is_missing(directory / shard); };
  const auto first = std::ranges::find_if(shards, missing);
  if (first == shards.end()) return;
  refuse(directory / *first,
         "this shard is missing ({} of the {} in {} are); download the model again, or "
         "copy the shard there",
         std::count_if(first, shards.end(), missing), shards.size(), kIndexFile);
}

// Index and shards must tell the same story: each tensor once, where the index says.
void check_index(const fs::path& index, WeightMap weight_map, const Shards& shards,
                 const std::vector<TensorInfo>& tensors) {
  constexpr auto kRemedy = "are index and shards of the same download?";
  std::vector<const TensorInfo*> by_name;
  by_name.reserve(tensors.size());
  for (const TensorInfo& tensor : tensors) by_name.push_back(&tensor);
  // Stable: equal names stay in the order of files.
  std::ranges::stable_sort(by_name, {}, &TensorInfo::name);
  const auto twice = std::ranges::adjacent_find(by_name, {}, &TensorInfo::name);
  if (twice != by_name.end()) {
    refuse(index, "tensor {} is in two shards, {} and {}; {}", in_quotes((*twice)->name),
           in_quotes(shards[twice[0]->file]), in_quotes(shards[twice[1]->file]), kRemedy);
  }
  for (const TensorInfo* tensor : by_name) {
    const auto listed = weight_map.extract(tensor->name);
    const auto found = in_quotes(shards[tensor->file]);
    if (!listed) {
      refuse(index, "tensor {} of shard {} is not listed; {}", in_quotes(tensor->name), found,
             kRemedy);
    }
    if (listed.mapped() != shards[tensor->file]) {
      refuse(index, "tensor {} should be in shard {}, found it in {}; {}", in_quotes(tensor->name),
             in_quotes(listed.mapped()), found, kRemedy);
    }
  }
  if (!weight_map.empty()) {
    const auto& [name, shard] = *weight_map.begin();
    refuse(index, "tensor {} should be in shard {}, which does not hold it; {}", in_quotes(name),
           in_quotes(shard), kRemedy);
  }
}

void append_shards(Catalog& catalog, const fs::path& directory) {
  const fs::path index = directory / kIndexFile;
  WeightMap weight_map = parse_shard_index(read_index(index), index);
  const Shards shards = shards_of(weight_map);
  check_shards_exist(directory, shards);
  if (has(directory, kModelFile) && !std::ranges::binary_search(shards, kModelFile)) {
    base::log().warn("{}: {} is not read, for there is {}", directory.string(), kModelFile,
                     kIndexFile);
  }
  for (const std::string& shard : shards) append(catalog, directory / shard);
  check_index(index, std::move(weight_map), shards, catalog.tensors);
}

[[noreturn]] void refuse_directory(const fs::path& directory) {
  for (const auto* pickle : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    if (has(directory, pickle)) {
      refuse(directory,
             "holds {}, which is not supported; convert the model to safetensors, for "
             "example with save_pretrained(..., safe_serialization=True)",
             pickle);
    }
  }
  refuse(directory,
         "no checkpoint there; looked for {}, {} and {}. If it has another name, give the "
         "file itself",
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
    append_shards(catalog, path);
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
