#include "checkpoint/zip_directory.hpp"

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string_view>
#include <utility>

#include "mpimerge/base/checked.hpp"
#include "mpimerge/checkpoint/safetensors.hpp"

#include "checkpoint/byte_cursor.hpp"
#include "checkpoint/refuse.hpp"

namespace mpimerge::checkpoint {
namespace {

using base::Bytes;

constexpr std::uint32_t kLocalSignature = 0x04034b50;
constexpr std::uint32_t kEntrySignature = 0x02014b50;
constexpr std::uint32_t kEndSignature = 0x06054b50;
constexpr std::uint32_t kEnd64Signature = 0x06064b50;
constexpr std::uint32_t kLocatorSignature = 0x07064b50;

constexpr std::uint64_t kLocalBytes = 30;
constexpr std::uint64_t kEndBytes = 22;
constexpr std::uint64_t kEnd64Bytes = 56;
constexpr std::uint64_t kLocatorBytes = 20;

// Bits of an entry's flags: sizes stand behind the data too; the name is UTF-8. What the others
// mean, encryption and patches among it, changes the data.
constexpr std::uint16_t kSizesBehind = 1U << 3;
constexpr std::uint16_t kKnownFlags = kSizesBehind | 1U << 11;
constexpr std::uint16_t kZip64Field = 1;

constexpr auto kDirectory = "its zip directory";
constexpr auto kDamaged = "Damaged? Download or copy it again";

// A number too large for its field: it stands in a zip64 record.
template <std::unsigned_integral Number>
constexpr Number kElsewhere = std::numeric_limits<Number>::max();

// Where the directory is, as its end says, narrow or wide (zip64).
struct End {
  std::uint64_t disk = 0;
  std::uint64_t directory_disk = 0;
  std::uint64_t entries_on_disk = 0;
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  std::uint64_t begin = 0;
};

template <class Disk, class Count, class Size>
End take_end(ByteCursor& cursor) {
  End end;
  end.disk = cursor.number<Disk>();
  end.directory_disk = cursor.number<Disk>();
  end.entries_on_disk = cursor.number<Count>();
  end.entries = cursor.number<Count>();
  end.bytes = cursor.number<Size>();
  end.begin = cursor.number<Size>();
  return end;
}

template <std::unsigned_integral Number>
bool agree(std::uint64_t narrow, std::uint64_t wide) {
  return narrow == wide || narrow == kElsewhere<Number>;
}

bool agree(const End& narrow, const End& wide) {
  return agree<std::uint16_t>(narrow.disk, wide.disk) &&
         agree<std::uint16_t>(narrow.directory_disk, wide.directory_disk) &&
         agree<std::uint16_t>(narrow.entries_on_disk, wide.entries_on_disk) &&
         agree<std::uint16_t>(narrow.entries, wide.entries) &&
         agree<std::uint32_t>(narrow.bytes, wide.bytes) &&
         agree<std::uint32_t>(narrow.begin, wide.begin);
}

// The wide end, if a locator at `locator` leads to it, right before itself.
bool take_end64(const ByteSource& source, std::uint64_t locator, End& end) {
  const std::string bytes = source.read(Bytes{locator}, kLocatorBytes);
  ByteCursor cursor(bytes, source.file, "its zip64 locator");
  if (cursor.number<std::uint32_t>() != kLocatorSignature) return false;
  const auto disk = cursor.number<std::uint32_t>();
  const auto position = cursor.number<std::uint64_t>();
  const auto disks = cursor.number<std::uint32_t>();
  if (disk != 0 || disks != 1 || locator < kEnd64Bytes || position != locator - kEnd64Bytes) {
    refuse(source.file, "its zip64 locator leads to byte {}, expected {}. {}", position,
           locator < kEnd64Bytes ? 0 : locator - kEnd64Bytes, kDamaged);
  }
  const std::string wide_bytes = source.read(Bytes{position}, kEnd64Bytes);
  ByteCursor wide(wide_bytes, source.file, "the end of its zip64 directory");
  const auto signature = wide.number<std::uint32_t>();
  const auto bytes_behind = wide.number<std::uint64_t>();
  wide.take(4);  // versions
  const End end64 = take_end<std::uint32_t, std::uint64_t, std::uint64_t>(wide);
  if (signature != kEnd64Signature || bytes_behind != kEnd64Bytes - 12 || !agree(end, end64)) {
    refuse(source.file, "the two ends of its zip directory, zip64 and plain, disagree. {}",
           kDamaged);
  }
  end = end64;
  return true;
}

// The end of the directory, proved to lead to bytes right before itself.
End read_end(const ByteSource& source) {
  const std::uint64_t size = source.size.value();
  const std::string bytes = size < kEndBytes ? "" : source.read(Bytes{size - kEndBytes}, kEndBytes);
  if (size < kEndBytes || little_endian(std::string_view(bytes).substr(0, 4)) != kEndSignature) {
    refuse(source.file, "does not end with a zip directory. Truncated? Download or copy it again");
  }
  ByteCursor cursor(bytes, source.file, kDirectory);
  cursor.take(4);
  End end = take_end<std::uint16_t, std::uint16_t, std::uint32_t>(cursor);
  std::uint64_t position = size - kEndBytes;
  if (position >= kLocatorBytes && take_end64(source, position - kLocatorBytes, end)) {
    position -= kLocatorBytes + kEnd64Bytes;
  }
  const auto comment_bytes = cursor.number<std::uint16_t>();
  if (end.disk != 0 || end.directory_disk != 0 || end.entries_on_disk != end.entries ||
      comment_bytes != 0 || base::checked_add(end.begin, end.bytes) != position) {
    refuse(source.file,
           "its zip directory should be {} bytes at byte {} and end at byte {}, where its end "
           "begins, on one disk and without a comment. {}",
           end.bytes, end.begin, position, kDamaged);
  }
  if (end.bytes > kMaxHeaderBytes) {
    refuse(source.file, "its zip directory is {} bytes long, expected at most {}", end.bytes,
           kMaxHeaderBytes);
  }
  return end;
}

// An entry as the directory has it.
struct Listed {
  std::string_view name;
  std::uint16_t flags = 0;
  std::uint64_t bytes = 0;
  std::uint64_t header = 0;  // position of the header before its data
};

// Replaces those of an entry's numbers that stand elsewhere by what the zip64 record among its
// extra fields has for them, in this order.
void widen(ByteCursor extra, const ByteSource& source,
           std::initializer_list<std::uint64_t*> numbers) {
  const auto is_elsewhere = [](const std::uint64_t* number) {
    return *number == kElsewhere<std::uint32_t>;
  };
  if (std::ranges::none_of(numbers, is_elsewhere)) return;
  std::string_view record;
  while (record.empty()) {
    const auto field = extra.number<std::uint16_t>();
    const auto content = extra.take(extra.number<std::uint16_t>());
    if (field == kZip64Field) record = content;
  }
  ByteCursor wide(record, source.file, "a zip64 record");
  for (std::uint64_t* const number : numbers) {
    if (is_elsewhere(number)) *number = wide.number<std::uint64_t>();
  }
}

Listed take_entry(ByteCursor& cursor, const ByteSource& source) {
  const auto at = cursor.at();
  if (cursor.number<std::uint32_t>() != kEntrySignature) {
    refuse(source.file, "its zip directory has no entry at its byte {}. {}", at, kDamaged);
  }
  Listed entry;
  cursor.take(4);  // versions
  entry.flags = cursor.number<std::uint16_t>();
  const auto method = cursor.number<std::uint16_t>();
  cursor.take(8);  // time, checksum
  std::uint64_t packed = cursor.number<std::uint32_t>();
  entry.bytes = cursor.number<std::uint32_t>();
  const auto name_bytes = cursor.number<std::uint16_t>();
  const auto extra_bytes = cursor.number<std::uint16_t>();
  const auto comment_bytes = cursor.number<std::uint16_t>();
  const auto disk = cursor.number<std::uint16_t>();
  cursor.take(6);  // attributes
  entry.header = cursor.number<std::uint32_t>();
  entry.name = cursor.take(name_bytes);
  widen(ByteCursor(cursor.take(extra_bytes), source.file, "the extra field of a zip entry"), source,
        {&entry.bytes, &packed, &entry.header});
  cursor.take(comment_bytes);
  if ((entry.flags & ~kKnownFlags) != 0) {
    refuse(source.file,
           "entry {} of the zip file is encrypted, or of an unknown kind (flags {:#x})",
           in_quotes(entry.name), entry.flags);
  }
  if (method != 0 || packed != entry.bytes) {
    refuse(
        source.file,
        "entry {} of the zip file is compressed, as in TorchScript archives and in repacked files; "
        "save the model's state dict with torch.save",
        in_quotes(entry.name));
  }
  if (disk != 0) {
    refuse(source.file, "entry {} of the zip file is on disk {}; expected a single file",
           in_quotes(entry.name), disk);
  }
  return entry;
}

// Where the entry's data are, by the header before them; both proved to lie before the directory.
ZipEntry locate(const Listed& listed, const End& end, const ByteSource& source) {
  const auto outside = [&] {
    refuse(source.file,
           "entry {} of the zip file, {} bytes behind the header at byte {}, does not lie before "
           "the directory at byte {}. {}",
           in_quotes(listed.name), listed.bytes, listed.header, end.begin, kDamaged);
  };
  const std::uint64_t header_bytes = kLocalBytes + listed.name.size();
  if (end.begin < header_bytes || listed.header > end.begin - header_bytes) outside();
  const std::string bytes = source.read(Bytes{listed.header}, header_bytes);
  ByteCursor cursor(bytes, source.file, "the header of an entry");
  const auto signature = cursor.number<std::uint32_t>();
  cursor.take(2);  // version
  const auto flags = cursor.number<std::uint16_t>();
  const auto method = cursor.number<std::uint16_t>();
  cursor.take(8);  // time, checksum
  const auto packed = cursor.number<std::uint32_t>();
  const auto unpacked = cursor.number<std::uint32_t>();
  const auto name_bytes = cursor.number<std::uint16_t>();
  const auto extra_bytes = cursor.number<std::uint16_t>();
  // Where sizes stand behind the data, or in a zip64 record, only the directory is asked.
  const auto fits = [&](std::uint32_t size) {
    return agree<std::uint32_t>(size, listed.bytes) || (size == 0 && (flags & kSizesBehind) != 0);
  };
  if (signature != kLocalSignature || flags != listed.flags || method != 0 || !fits(packed) ||
      !fits(unpacked) || name_bytes != listed.name.size() ||
      cursor.take(name_bytes) != listed.name) {
    refuse(source.file, "entry {} of the zip file: the header at byte {} says something else. {}",
           in_quotes(listed.name), listed.header, kDamaged);
  }
  const std::uint64_t begin = listed.header + header_bytes + extra_bytes;
  if (begin > end.begin || listed.bytes > end.begin - begin) outside();
  return {std::string(listed.name), {Bytes{begin}, Bytes{begin + listed.bytes}}};
}

}  // namespace

std::vector<ZipEntry> parse_zip_directory(const ByteSource& source) {
  const End end = read_end(source);
  const std::string bytes = source.read(Bytes{end.begin}, end.bytes);
  ByteCursor cursor(bytes, source.file, kDirectory);
  std::vector<Listed> listed;
  while (!cursor.done()) listed.push_back(take_entry(cursor, source));
  if (listed.size() != end.entries) {
    refuse(source.file, "its zip directory holds {} entries, but its end says {}. {}",
           listed.size(), end.entries, kDamaged);
  }
  std::ranges::sort(listed, {}, &Listed::name);
  if (const auto twice = std::ranges::adjacent_find(listed, {}, &Listed::name);
      twice != listed.end()) {
    refuse(source.file, "entry {} of the zip file stands there twice", in_quotes(twice->name));
  }
  std::ranges::sort(listed, {}, &Listed::header);
  std::vector<ZipEntry> entries;
  entries.reserve(listed.size());
  for (const Listed& each : listed) {
    entries.push_back(locate(each, end, source));
    if (entries.size() > 1 && entries.end()[-2].data.end > Bytes{each.header}) {
      refuse(source.file, "entries {} and {} of the zip file overlap. {}",
             in_quotes(entries.end()[-2].name), in_quotes(each.name), kDamaged);
    }
  }
  return entries;
}

}  // namespace mpimerge::checkpoint
