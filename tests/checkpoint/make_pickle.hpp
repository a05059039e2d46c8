#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/make_zip.hpp"

/// The bytes of pickles, put together from the opcodes that torch writes.
namespace mpimerge::test::pickle {

using Parts = std::vector<std::string>;
using Dimensions = std::vector<std::int64_t>;

inline std::string text(std::string_view text) {
  return std::string("X")
      .append(little_endian(static_cast<std::uint32_t>(text.size())))
      .append(text);
}

inline std::string integer(std::int64_t value) {
  return "\x8a\x08" + little_endian(static_cast<std::uint64_t>(value));
}

inline std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}

inline std::string tuple(const Parts& parts) {
  std::string all = "(";
  for (const std::string& part : parts) all += part;
  return all + "t";
}

inline std::string integers(const Dimensions& values) {
  Parts parts;
  for (const std::int64_t value : values) parts.push_back(integer(value));
  return tuple(parts);
}

inline std::string call(const std::string& function, const Parts& arguments) {
  return function + tuple(arguments) + "R";
}

inline std::string ordered_dict() { return call(global("collections", "OrderedDict"), {}); }

/// Keys are texts; for others use the opcodes.
inline std::string dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string all = "}(";
  for (const auto& [key, value] : items) all += text(key) + value;
  return all + "u";
}

inline std::string storage(std::int64_t elements,
                           const std::string& type = global("torch", "FloatStorage"),
                           const std::string& key = "0") {
  return tuple({text("storage"), type, text(key), text("cpu"), integer(elements)}) + "Q";
}

inline const std::string kRebuild = global("torch._utils", "_rebuild_tensor_v2");

inline std::string tensor(const std::string& storage, const Dimensions& shape,
                          const Dimensions& strides, std::int64_t offset = 0) {
  return call(kRebuild, {storage, integer(offset), integers(shape), integers(strides), "\x89",
                         ordered_dict()});
}

/// Of one dimension: all of a storage.
inline std::string vector(std::int64_t elements, const std::string& key = "0") {
  return tensor(storage(elements, global("torch", "FloatStorage"), key), {elements}, {1});
}

inline std::string whole(const std::string& body) { return "\x80\x02" + body + "."; }

}  // namespace mpimerge::test::pickle
