#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <boost/serialization/map.hpp>
#include <boost/serialization/string.hpp>
#include <boost/serialization/vector.hpp>

namespace mpimerge::test {

/// A structure in a structure, as plans and jobs are.
struct Inner {
  std::string name;
  std::vector<std::uint64_t> numbers;

  bool operator==(const Inner&) const = default;

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& name& numbers;
  }
};

struct Outer {
  double value = 0;
  bool flag = false;
  std::vector<Inner> list;
  std::map<std::string, std::string> map;

  bool operator==(const Outer&) const = default;

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& value& flag& list& map;
  }
};

/// Local. An object whose archive takes more than `bytes`.
inline Outer outer_of(std::size_t bytes) {
  Outer outer{0.1, true, {}, {{"", "empty key"}, {"key", std::string("a\0b", 3)}}};
  outer.list.push_back({});
  outer.list.push_back({"numbers", {}});
  for (std::uint64_t i = 0; i < bytes / sizeof(std::uint64_t); ++i)
    outer.list.back().numbers.push_back(i * 0x9e3779b97f4a7c15U);
  outer.list.push_back({"läst", {UINT64_MAX}});
  return outer;
}

}  // namespace mpimerge::test
