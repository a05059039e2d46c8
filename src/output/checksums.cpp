#include "mpimerge/output/checksums.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <xxhash.h>

#include "mpimerge/base/checked.hpp"
#include "mpimerge/base/error.hpp"
#include "mpimerge/base/file_descriptor.hpp"

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

std::string to_json(const Checksums& checksums) {
  auto datasets = nlohmann::ordered_json::array();
  for (const BlockChecksums& dataset : checksums.datasets) {
    datasets.push_back({{"name", dataset.name},
                        {"offset", dataset.offset.value()},
                        {"bytes", dataset.bytes.value()},
                        {"blocks", hexadecimal(dataset.blocks)}});
  }
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

std::optional<Checksums> from_json(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || json.value("algorithm", nlohmann::json()) != "XXH3-64" ||
      json.value("block_bytes", nlohmann::json()) != kChecksumBlock.value() ||
      !json.value("datasets", nlohmann::json()).is_array() ||
      !json.value("rest", nlohmann::json()).is_string())
    return std::nullopt;
  const auto rest = from_hexadecimal(json["rest"].get<std::string>());
  if (!rest || rest->size() != 1) return std::nullopt;
  Checksums checksums;
  checksums.rest = rest->front();
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

}  // namespace mpimerge::output
