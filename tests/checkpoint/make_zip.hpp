#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "checkpoint/byte_source.hpp"

namespace mpimerge::test {

template <std::unsigned_integral Number>
std::string little_endian(Number value) {
  std::string bytes;
  for (std::size_t byte = 0; byte < sizeof(value); ++byte) {
    bytes += static_cast<char>(std::uint64_t{value} >> (8 * byte) & 0xffU);
  }
  return bytes;
}

/// The bytes of a file that may be larger than memory: zeros where nothing was written.
class Bytes {
 public:
  std::uint64_t size() const { return size_; }

  void append(std::string_view bytes) {
    if (pieces_.empty() || pieces_.back().end() != size_) pieces_.push_back({size_, ""});
    pieces_.back().bytes += bytes;
    size_ += bytes.size();
  }
  void append_hole(std::uint64_t bytes) { size_ += bytes; }

  template <std::unsigned_integral Number>
  void patch(std::uint64_t at, Number value) {
    replace(at, little_endian(value));
  }
  void replace(std::uint64_t at, std::string_view bytes) {
    for (Piece& piece : pieces_) {
      if (at >= piece.begin && at + bytes.size() <= piece.end()) {
        piece.bytes.replace(at - piece.begin, bytes.size(), bytes);
        return;
      }
    }
    ADD_FAILURE() << "nothing was written at byte " << at;
  }
  void truncate(std::uint64_t size) {
    size_ = size;
    std::erase_if(pieces_, [&](const Piece& piece) { return piece.begin >= size; });
    if (!pieces_.empty())
      pieces_.back().bytes.resize(
          std::min(pieces_.back().bytes.size(), size - pieces_.back().begin));
  }

  std::string read(std::uint64_t from, std::uint64_t count) const {
    if (from > size_ || count > size_ - from) {
      ADD_FAILURE() << count << " bytes at " << from << " are not inside the " << size_;
      return std::string(count, '\0');
    }
    std::string bytes(count, '\0');
    for (const Piece& piece : pieces_) {
      const auto begin = std::max(from, piece.begin);
      const auto end = std::min(from + count, piece.end());
      if (begin < end)
        bytes.replace(begin - from, end - begin, piece.bytes, begin - piece.begin, end - begin);
    }
    return bytes;
  }

  /// While this lives.
  checkpoint::ByteSource source() const {
    return {"m.pt", base::Bytes{size_},
            [this](base::Bytes from, std::uint64_t count) { return read(from.value(), count); }};
  }

 private:
  struct Piece {
    std::uint64_t begin;
    std::string bytes;
    std::uint64_t end() const { return begin + bytes.size(); }
  };

  std::vector<Piece> pieces_;
  std::uint64_t size_ = 0;
};

/// Something to store in a zip file.
struct ZipContent {
  std::string name;
  std::string data;
  std::uint64_t hole = 0;  ///< zeros behind `data`
};

/// How a zip file is written; as torch does it, unless told otherwise.
struct ZipStyle {
  bool zip64 = true;              ///< a second, wide end of the directory
  std::uint16_t flags = 0x0808;   ///< sizes behind the data, name in UTF-8
  std::uint32_t size_before = 0;  ///< in the header before the data, if sizes stand behind
  std::uint64_t alignment = 64;   ///< of the data, by padding in the header's extra field
  std::string other_field = "";   ///< before the extra fields of the zip format
  std::string comment = "";       ///< of each entry
};

/// A zip file and where its parts are.
struct Zip {
  Bytes bytes;
  std::vector<std::uint64_t> headers;  ///< before the data of each entry
  std::vector<std::uint64_t> data;
  std::vector<std::uint64_t> entries;  ///< of the directory
  std::uint64_t directory = 0;
  std::uint64_t end64 = 0;
  std::uint64_t locator = 0;
  std::uint64_t end = 0;
};

inline Zip make_zip(const std::vector<ZipContent>& contents, const ZipStyle& style = {}) {
  constexpr auto kMost = std::numeric_limits<std::uint32_t>::max();
  // As many bytes of a number as its field has, or ones only if that is not enough.
  const auto u16 = [](std::uint64_t value) {
    return little_endian(static_cast<std::uint16_t>(std::min<std::uint64_t>(value, 0xffff)));
  };
  const auto u32 = [](std::uint64_t value) {
    return little_endian(static_cast<std::uint32_t>(std::min<std::uint64_t>(value, kMost)));
  };
  const auto u64 = [](std::uint64_t value) { return little_endian(value); };
  const auto zeros = [](std::size_t bytes) { return std::string(bytes, '\0'); };
  const bool sizes_behind = (style.flags & 8) != 0;
  Zip zip;
  Bytes& bytes = zip.bytes;
  for (const auto& [name, data, hole] : contents) {
    const std::uint64_t size = data.size() + hole;
    const std::uint64_t unpadded = bytes.size() + 30 + name.size() + style.other_field.size() + 4;
    const std::uint64_t padding = (style.alignment - unpadded % style.alignment) % style.alignment;
    const std::string extra = style.other_field + "FB" + u16(padding) + std::string(padding, 'Z');
    const std::string before = u32(sizes_behind ? style.size_before : size);
    zip.headers.push_back(bytes.size());
    bytes.append("PK\3\4" + u16(20) + u16(style.flags) + zeros(10) + before + before);
    bytes.append(u16(name.size()) + u16(extra.size()) + name + extra);
    zip.data.push_back(bytes.size());
    bytes.append(data);
    bytes.append_hole(hole);
    if (sizes_behind) bytes.append("PK\7\10" + zeros(12));
  }
  zip.directory = bytes.size();
  for (std::size_t i = 0; i < contents.size(); ++i) {
    const std::uint64_t size = contents[i].data.size() + contents[i].hole;
    std::string wide;
    for (const std::uint64_t value : {size, size, zip.headers[i]}) {
      if (value >= kMost) wide += u64(value);
    }
    const std::string extra =
        style.other_field + (wide.empty() ? "" : u16(1) + u16(wide.size()) + wide);
    zip.entries.push_back(bytes.size());
    bytes.append("PK\1\2" + zeros(4) + u16(style.flags) + zeros(10) + u32(size) + u32(size));
    bytes.append(u16(contents[i].name.size()) + u16(extra.size()) + u16(style.comment.size()));
    bytes.append(zeros(8) + u32(zip.headers[i]) + contents[i].name + extra + style.comment);
  }
  const std::uint64_t size = bytes.size() - zip.directory;
  const std::uint64_t count = contents.size();
  if (style.zip64) {
    zip.end64 = bytes.size();
    bytes.append("PK\6\6" + u64(44) + zeros(12) + u64(count) + u64(count));
    bytes.append(u64(size) + u64(zip.directory));
    zip.locator = bytes.size();
    bytes.append("PK\6\7" + u32(0) + u64(zip.end64) + u32(1));
  }
  zip.end = bytes.size();
  bytes.append("PK\5\6" + zeros(4) + u16(count) + u16(count) + u32(size) + u32(zip.directory));
  bytes.append(u16(0));
  return zip;
}

}  // namespace mpimerge::test
