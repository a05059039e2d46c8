#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <optional>
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
    bytes += static_cast<char>(value >> (8 * byte) & 0xffU);
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
  static constexpr std::uint64_t kMost = 0xffffffff;
  const auto narrow = [](std::uint64_t value) {
    return static_cast<std::uint32_t>(std::min(value, kMost));
  };
  const bool sizes_behind = (style.flags & 8) != 0;
  Zip zip;
  for (const auto& [name, data, hole] : contents) {
    const std::uint64_t size = data.size() + hole;
    zip.headers.push_back(zip.bytes.size());
    const std::uint64_t unpadded = zip.bytes.size() + 30 + name.size() + 4;
    const std::uint64_t padding = (style.alignment - unpadded % style.alignment) % style.alignment;
    const std::uint32_t before = sizes_behind ? style.size_before : narrow(size);
    zip.bytes.append("PK\3\4" + little_endian<std::uint16_t>(20) + little_endian(style.flags) +
                     std::string(10, '\0'));
    zip.bytes.append(little_endian(before) + little_endian(before));
    zip.bytes.append(little_endian(static_cast<std::uint16_t>(name.size())));
    zip.bytes.append(little_endian(static_cast<std::uint16_t>(4 + padding)) + name);
    zip.bytes.append("FB" + little_endian(static_cast<std::uint16_t>(padding)) +
                     std::string(padding, 'Z'));
    zip.data.push_back(zip.bytes.size());
    zip.bytes.append(data);
    zip.bytes.append_hole(hole);
    if (sizes_behind) zip.bytes.append("PK\7\10" + std::string(12, '\0'));
  }
  zip.directory = zip.bytes.size();
  for (std::size_t i = 0; i < contents.size(); ++i) {
    const std::uint64_t size = contents[i].data.size() + contents[i].hole;
    std::string wide;
    for (const std::uint64_t value : {size, size, zip.headers[i]}) {
      if (value >= kMost) wide += little_endian(value);
    }
    if (!wide.empty()) {
      wide = little_endian<std::uint16_t>(1) +
             little_endian(static_cast<std::uint16_t>(wide.size())) + wide;
    }
    zip.entries.push_back(zip.bytes.size());
    zip.bytes.append("PK\1\2" + std::string(4, '\0') + little_endian(style.flags) +
                     std::string(10, '\0'));
    zip.bytes.append(little_endian(narrow(size)) + little_endian(narrow(size)));
    zip.bytes.append(little_endian(static_cast<std::uint16_t>(contents[i].name.size())));
    zip.bytes.append(little_endian(static_cast<std::uint16_t>(wide.size())) +
                     std::string(10, '\0'));
    zip.bytes.append(little_endian(narrow(zip.headers[i])) + contents[i].name + wide);
  }
  const std::uint64_t directory_bytes = zip.bytes.size() - zip.directory;
  const auto count = static_cast<std::uint16_t>(contents.size());
  if (style.zip64) {
    zip.end64 = zip.bytes.size();
    zip.bytes.append("PK\6\6" + little_endian<std::uint64_t>(44) + std::string(12, '\0'));
    zip.bytes.append(little_endian<std::uint64_t>(count) + little_endian<std::uint64_t>(count));
    zip.bytes.append(little_endian(directory_bytes) + little_endian(zip.directory));
    zip.locator = zip.bytes.size();
    zip.bytes.append("PK\6\7" + little_endian<std::uint32_t>(0) + little_endian(zip.end64) +
                     little_endian<std::uint32_t>(1));
  }
  zip.end = zip.bytes.size();
  zip.bytes.append("PK\5\6" + std::string(4, '\0') + little_endian(count) + little_endian(count));
  zip.bytes.append(little_endian(narrow(directory_bytes)) + little_endian(narrow(zip.directory)) +
                   std::string(2, '\0'));
  return zip;
}

}  // namespace mpimerge::test
