#include "mpimerge/output/checksums.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>
#include <set>
#include <span>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <xxhash.h>

#include "mpimerge/base/checked.hpp"
#include "mpimerge/base/error.hpp"
#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/output/model_files.hpp"

#include "output/partial_directory.hpp"
#include "output/partial_file.hpp"

namespace mpimerge::output {
namespace {

using base::Bytes;
using std::filesystem::path;

static_assert(std::endian::native == std::endian::little, "the file's integers are little-endian");

// The last bytes of the file.
struct Tail {
  std::uint64_t hdf5_bytes;  // what lies before the JSON
  std::uint64_t json_bytes;
  std::uint64_t json_checksum;
  std::array<char, 8> magic;
};
static_assert(sizeof(Tail) == 32);
constexpr std::array<char, 8> kMagic{'m', 'p', 'i', 'm', 's', 'u', 'm', '1'};
constexpr std::size_t kDigits = 16;  // of a checksum, in hexadecimal

[[noreturn]] void damaged(const path& file, const std::string& what) {
  throw base::Error(base::ErrorKind::input, fmt::format("{}: damaged: {}", file.string(), what));
}

std::string hexadecimal(std::span<const std::uint64_t> numbers) {
  std::string text;
  text.reserve(numbers.size() * kDigits);
  for (const std::uint64_t number : numbers)
    fmt::format_to(std::back_inserter(text), "{:016x}", number);
  return text;
}

std::optional<std::vector<std::uint64_t>> from_hexadecimal(std::string_view text) {
  if (text.size() % kDigits != 0) return std::nullopt;
  std::vector<std::uint64_t> numbers;
  for (; !text.empty(); text.remove_prefix(kDigits)) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + kDigits, number, 16);
    if (error != std::errc{} || end != text.data() + kDigits) return std::nullopt;
    numbers.push_back(number);
  }
  return numbers;
}

nlohmann::ordered_json to_json(const BlockChecksums& dataset) {
  return {{"name", dataset.name},
          {"offset", dataset.offset.value()},
          {"bytes", dataset.bytes.value()},
          {"blocks", hexadecimal(dataset.blocks)}};
}

std::string to_json(const Checksums& checksums) {
  auto datasets = nlohmann::ordered_json::array();
  for (const BlockChecksums& dataset : checksums.datasets) datasets.push_back(to_json(dataset));
  return nlohmann::ordered_json{{"algorithm", "XXH3-64"},
                                {"block_bytes", kChecksumBlock.value()},
                                {"datasets", datasets},
                                {"rest", hexadecimal({&checksums.rest, 1})}}
      .dump();
}

std::optional<BlockChecksums> dataset_from_json(const nlohmann::json& json) {
  const auto natural = [&](const char* key) {
    return json.value(key, nlohmann::json()).is_number_unsigned();
  };
  const auto text = [&](const char* key) { return json.value(key, nlohmann::json()).is_string(); };
  if (!json.is_object() || !text("name") || !text("blocks") || !natural("offset") ||
      !natural("bytes"))
    return std::nullopt;
  const auto blocks = from_hexadecimal(json["blocks"].get<std::string>());
  const Bytes bytes{json["bytes"].get<std::uint64_t>()};
  if (!blocks || blocks->size() != checksum_blocks(bytes)) return std::nullopt;
  return BlockChecksums{json["name"].get<std::string>(), Bytes{json["offset"].get<std::uint64_t>()},
                        bytes, *blocks};
}

// The one checksum that stands under `key`.
std::optional<std::uint64_t> checksum_from_json(const nlohmann::json& json, const char* key) {
  if (!json.value(key, nlohmann::json()).is_string()) return std::nullopt;
  const auto numbers = from_hexadecimal(json[key].get<std::string>());
  return numbers && numbers->size() == 1 ? std::optional(numbers->front()) : std::nullopt;
}

// Nothing unless it is an object of our kind with a list under `key`.
std::optional<nlohmann::json> object_with(std::string_view text, const char* key) {
  auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || json.value("algorithm", nlohmann::json()) != "XXH3-64" ||
      json.value("block_bytes", nlohmann::json()) != kChecksumBlock.value() ||
      !json.value(key, nlohmann::json()).is_array())
    return std::nullopt;
  return json;
}

std::optional<Checksums> from_json(std::string_view text) {
  const auto found = object_with(text, "datasets");
  if (!found) return std::nullopt;
  const nlohmann::json& json = *found;
  const auto rest = checksum_from_json(json, "rest");
  if (!rest) return std::nullopt;
  Checksums checksums;
  checksums.rest = *rest;
  for (const nlohmann::json& each : json["datasets"]) {
    auto dataset = dataset_from_json(each);
    if (!dataset) return std::nullopt;
    checksums.datasets.push_back(std::move(*dataset));
  }
  return checksums;
}

// The checksum of the first `end` bytes of a file without those of the datasets; nothing where the
// datasets do not lie there one after another.
std::optional<std::uint64_t> checksum_of_rest(const base::FileDescriptor& file, const path& name,
                                              Bytes end,
                                              const std::vector<BlockChecksums>& datasets) {
  std::vector<base::Range<Bytes>> gaps;
  std::vector<base::Range<Bytes>> taken;
  for (const BlockChecksums& dataset : datasets) {
    const auto last = base::checked_add(dataset.offset.value(), dataset.bytes.value());
    if (!last || *last > end.value()) return std::nullopt;
    taken.push_back({dataset.offset, Bytes{*last}});
  }
  std::sort(taken.begin(), taken.end(),
            [](const auto& a, const auto& b) { return a.begin < b.begin; });
  Bytes done;
  for (const base::Range<Bytes>& range : taken) {
    if (range.begin < done) return std::nullopt;
    gaps.push_back({done, range.begin});
    done = range.end;
  }
  gaps.push_back({done, end});

  std::vector<std::byte> buffer(std::min<std::uint64_t>(end.value(), kChecksumBlock.value()));
  XXH3_state_t hash;
  XXH3_64bits_reset(&hash);
  for (base::Range<Bytes> gap : gaps) {
    while (!gap.empty()) {
      const auto part =
          std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), gap.count().value()));
      base::read_exactly(file, name, gap.begin, part);
      XXH3_64bits_update(&hash, part.data(), part.size());
      gap.begin += Bytes{part.size()};
    }
  }
  return XXH3_64bits_digest(&hash);
}

// One file of a directory.
struct FileChecksums {
  BlockChecksums values;
  std::uint64_t file_bytes = 0;
  std::uint64_t rest = 0;
};

// Of a file as it is now; `values` are known.
FileChecksums checksums_of(const path& directory, const BlockChecksums& values) {
  const path file = directory / values.name;
  const base::FileDescriptor read = base::open_for_reading(file);
  const Bytes size = base::file_size(read, file);
  const auto rest = checksum_of_rest(read, file, size, {values});
  if (!rest)
    throw base::Error(base::ErrorKind::bug, fmt::format("{}: has fewer bytes", file.string()));
  return {values, size.value(), *rest};
}

std::optional<FileChecksums> file_from_json(const nlohmann::json& json) {
  auto values = dataset_from_json(json);
  const auto rest = values ? checksum_from_json(json, "rest") : std::nullopt;
  const bool plain = values && values->name.find('/') == std::string::npos;
  if (!rest || !plain || !json.value("file_bytes", nlohmann::json()).is_number_unsigned())
    return std::nullopt;
  return FileChecksums{std::move(*values), json["file_bytes"].get<std::uint64_t>(), *rest};
}

void check_file(const path& directory, const FileChecksums& expected) {
  const path file = directory / expected.values.name;
  const base::FileDescriptor read = base::open_for_reading(file);
  const Bytes size = base::file_size(read, file);
  if (size.value() != expected.file_bytes) {
    damaged(file, fmt::format("it has {} bytes and was written with {}", size.value(),
                              expected.file_bytes));
  }
  const auto rest = checksum_of_rest(read, file, size, {expected.values});
  if (!rest) damaged(directory / kChecksumsFile, "the checksums are not those of this directory");
  if (*rest == expected.rest) return;
  damaged(file, expected.values.bytes > Bytes{} ? "the header: names, shapes, types or metadata"
                                                : "its content is not what was written");
}

}  // namespace

void append_checksums(const path& file, std::vector<BlockChecksums> datasets) {
  const base::FileDescriptor read = base::open_for_reading(file);
  const Bytes size = base::file_size(read, file);
  Checksums checksums{std::move(datasets), 0};
  const auto rest = checksum_of_rest(read, file, size, checksums.datasets);
  if (!rest)
    throw base::Error(base::ErrorKind::bug, fmt::format("{}: its datasets overlap", file.string()));
  checksums.rest = *rest;
  std::string bytes = to_json(checksums);
  const Tail tail{size.value(), bytes.size(), XXH3_64bits(bytes.data(), bytes.size()), kMagic};
  bytes.append(reinterpret_cast<const char*>(&tail), sizeof(tail));
  append_to_file(file, size, std::as_bytes(std::span(bytes)));
}

Checksums read_checksums(const path& file) {
  const base::FileDescriptor read = base::open_for_reading(file);
  const std::uint64_t size = base::file_size(read, file).value();
  Tail tail{};
  if (size >= sizeof(tail))
    base::read_exactly(read, file, Bytes{size - sizeof(tail)},
                       std::as_writable_bytes(std::span(&tail, 1)));
  if (tail.magic != kMagic) {
    throw base::Error(
        base::ErrorKind::input,
        fmt::format(
            "{}: no checksums stand at its end; it is truncated, or was written or changed by "
            "another program than mpimerge",
            file.string()));
  }
  const auto json_end = base::checked_add(tail.hdf5_bytes, tail.json_bytes);
  if (!json_end || *json_end != size - sizeof(tail))
    damaged(file, "its length is not what it says at its end");
  constexpr std::uint64_t kNamesAndNumbers = std::uint64_t{1} << 20;
  if (tail.json_bytes > kNamesAndNumbers + tail.hdf5_bytes / kChecksumBlock.value() * kDigits)
    damaged(file, "the checksums at its end are longer than any of a file of this size");
  std::string json(tail.json_bytes, '\0');
  base::read_exactly(read, file, Bytes{tail.hdf5_bytes}, std::as_writable_bytes(std::span(json)));
  auto checksums =
      XXH3_64bits(json.data(), json.size()) == tail.json_checksum ? from_json(json) : std::nullopt;
  if (!checksums) damaged(file, "the checksums themselves, at its end");
  const auto rest = checksum_of_rest(read, file, Bytes{tail.hdf5_bytes}, checksums->datasets);
  if (!rest) damaged(file, "the checksums are not those of this file");
  if (*rest != checksums->rest) damaged(file, "the metadata: names, shapes, types or attributes");
  return std::move(*checksums);
}

void write_directory_checksums(const path& directory, const std::vector<BlockChecksums>& shards) {
  auto files = nlohmann::ordered_json::array();
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    names.insert(entry.path().filename().string());
  const auto add = [&](const BlockChecksums& values) {
    const FileChecksums file = checksums_of(directory, values);
    files.push_back(to_json(values));
    files.back()["file_bytes"] = file.file_bytes;
    files.back()["rest"] = hexadecimal({&file.rest, 1});
    names.erase(values.name);
  };
  for (const BlockChecksums& shard : shards) add(shard);
  while (!names.empty()) add({*names.begin(), {}, {}, {}});
  const std::string json = nlohmann::ordered_json{
      {"algorithm", "XXH3-64"},
      {"block_bytes", kChecksumBlock.value()},
      {"files", files}}.dump();
  const std::uint64_t checksum = XXH3_64bits(json.data(), json.size());
  write_text_file(directory / kChecksumsFile,
                  fmt::format("{}\n{}\n", json, hexadecimal({&checksum, 1})));
}

std::vector<BlockChecksums> read_directory_checksums(const path& directory) {
  const path file = directory / kChecksumsFile;
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) {
    throw base::Error(base::ErrorKind::input,
                      fmt::format("{}: holds no {}; expected a directory that mpimerge wrote",
                                  directory.string(), kChecksumsFile));
  }
  const base::FileDescriptor read = base::open_for_reading(file);
  const Bytes size = base::file_size(read, file);
  // That of an output of 100 TB.
  constexpr Bytes kLargest{std::uint64_t{1} << 30};
  if (size > kLargest) damaged(file, "it is longer than any list of checksums");
  std::string text(size.value(), '\0');
  base::read_exactly(read, file, Bytes{}, std::as_writable_bytes(std::span(text)));
  const std::string_view json = std::string_view(text).substr(0, text.find('\n'));
  const std::uint64_t checksum = XXH3_64bits(json.data(), json.size());
  const bool whole = text == fmt::format("{}\n{}\n", json, hexadecimal({&checksum, 1}));
  const auto found = whole ? object_with(json, "files") : std::nullopt;
  if (!found) damaged(file, "the checksums themselves");
  std::vector<BlockChecksums> shards;
  for (const nlohmann::json& each : (*found)["files"]) {
    auto expected = file_from_json(each);
    if (!expected) damaged(file, "the checksums themselves");
    check_file(directory, *expected);
    if (expected->values.bytes > Bytes{}) shards.push_back(std::move(expected->values));
  }
  return shards;
}

}  // namespace mpimerge::output
