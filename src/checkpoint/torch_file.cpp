#include "checkpoint/torch_file.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "mpimerge/checkpoint/safetensors.hpp"

#include "checkpoint/files.hpp"
#include "checkpoint/refuse.hpp"
#include "checkpoint/tensor_rules.hpp"
#include "checkpoint/torch_pickle.hpp"
#include "checkpoint/zip_directory.hpp"

namespace mpimerge::checkpoint {
namespace {

using base::Bytes;

constexpr std::string_view kZipSignature = "PK\x03\x04";
constexpr std::string_view kPickleSignature = "\x80";
// What torch 2 reads.
constexpr unsigned kMaxVersion = 10;

void check_is_zip(const ByteSource& source) {
  constexpr std::uint64_t kEnough = 8;
  const auto first = source.read(Bytes{0}, std::min(source.size.value(), kEnough));
  if (first.starts_with(kZipSignature)) return;
  check_no_git_lfs_pointer(first, source.file);
  if (first.starts_with(kPickleSignature)) {
    refuse(
        source.file,
        "a bare pickle, as torch before 1.6 wrote them; load it with torch and save it again, or "
        "convert the model to safetensors");
  }
  refuse(source.file,
         "is not a file of torch.save: {} bytes that begin with {}, expected a zip file",
         source.size.value(), in_quotes(first));
}

// A zip file whose entries all lie in one directory, which may have any name.
class Archive {
 public:
  Archive(const Archive&) = delete;
  Archive& operator=(const Archive&) = delete;

  explicit Archive(const ByteSource& source)
      : source_(source), entries_(parse_zip_directory(source)) {
    const std::string_view first = entries_.empty() ? "" : std::string_view(entries_[0].name);
    const auto root = first.substr(0, first.find('/') + 1);
    for (const ZipEntry& entry : entries_) {
      if (root.size() < 2 || !entry.name.starts_with(root)) {
        refuse(source.file,
               "entry {} of the zip file is not in the one directory that torch.save puts all in",
               in_quotes(entry.name));
      }
      by_name_.emplace(std::string_view(entry.name).substr(root.size()), &entry);
    }
  }

  const ZipEntry* find(std::string_view name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : found->second;
  }

  // Nothing if there is no such entry.
  std::optional<std::string> read(std::string_view name, std::uint64_t most) const {
    const ZipEntry* const entry = find(name);
    if (entry == nullptr) return std::nullopt;
    const auto bytes = entry->data.count().value();
    if (bytes > most) {
      refuse(source_.file, "its {} is {} bytes long, expected at most {}", name, bytes, most);
    }
    return source_.read(entry->data.begin, bytes);
  }

 private:
  const ByteSource& source_;
  std::vector<ZipEntry> entries_;
  std::unordered_map<std::string_view, const ZipEntry*> by_name_;  // names without the directory
};

// Files of torch 1 do not tell their byte order: it is little-endian.
void check_format(const Archive& archive, const std::filesystem::path& file) {
  constexpr std::uint64_t kMostBytes = 64;
  const std::string order = archive.read("byteorder", kMostBytes).value_or("little");
  if (order != "little") {
    refuse(file,
           "its byte order is {}, expected `little`; load it with torch and save it again on a "
           "little-endian machine",
           in_quotes(order));
  }
  const std::string version = archive.read("version", kMostBytes).value_or("");
  unsigned number = 0;
  const auto* const end = version.data() + version.size();
  const auto [rest, status] = std::from_chars(version.data(), end, number);
  if (status != std::errc{} || std::string_view(rest, end) != "\n" || number == 0 ||
      number > kMaxVersion) {
    refuse(file, "its format version is {}, expected 1 to {}", in_quotes(version), kMaxVersion);
  }
}

// The tensor's place in the file.
TensorInfo locate(TorchTensor tensor, const Archive& archive, const std::filesystem::path& file) {
  const ZipEntry* const storage = archive.find("data/" + tensor.storage);
  if (storage == nullptr) {
    refuse(file, "tensor {}: its storage {} is missing", in_quotes(tensor.name),
           in_quotes(tensor.storage));
  }
  if (storage->data.count() < tensor.storage_bytes) {
    refuse(file,
           "tensor {}: its storage {} should have {} bytes, found {}. "
           "Damaged? Download or copy it again",
           in_quotes(tensor.name), in_quotes(tensor.storage), tensor.storage_bytes.value(),
           storage->data.count().value());
  }
  return {.name = std::move(tensor.name),
          .dtype = tensor.dtype,
          .shape = std::move(tensor.shape),
          .elements = tensor.elements,
          .file = 0,
          .offset = storage->data.begin + tensor.offset,
          .bytes = tensor.bytes};
}

}  // namespace

std::vector<TensorInfo> parse_torch_file(const ByteSource& source) {
  check_is_zip(source);
  const Archive archive(source);
  const auto pickle = archive.read("data.pkl", kMaxHeaderBytes);
  if (!pickle) refuse(source.file, "holds no data.pkl; is it a file of torch.save?");
  check_format(archive, source.file);
  std::vector<TensorInfo> tensors;
  for (TorchTensor& tensor : parse_torch_pickle(*pickle, source.file)) {
    tensors.push_back(locate(std::move(tensor), archive, source.file));
  }
  check_names_differ(tensors, source.file);
  sort_in_storage_order(tensors);
  return tensors;
}

}  // namespace mpimerge::checkpoint
