#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "job/faults.hpp"

namespace mpimerge::job {

struct Entry;

/// A YAML value, every alias replaced by what it stands for, that knows where it was written: a
/// map's value at its key, a list's item at its own start.
struct Node {
  enum class Kind : std::uint8_t { nothing, scalar, list, map };

  Kind kind = Kind::nothing;
  bool quoted = false;  ///< scalar: "0.2" rather than 0.2
  Place place;
  std::string text;            ///< scalar
  std::vector<Node> items;     ///< list
  std::vector<Entry> entries;  ///< map, in the order of the file, no key twice

  /// Local. The value of `key`, or null; for maps. Walks the entries.
  [[nodiscard]] const Node* find(std::string_view key) const;
  [[nodiscard]] Node* find(std::string_view key);
};

struct Entry {
  std::string key;
  Node value;
};

/// Text that is no YAML, or YAML beyond what is read here: nothing more can be said about it.
struct UnreadableYaml : std::runtime_error {
  UnreadableYaml(int at_line, const std::string& message)
      : std::runtime_error(message), line(at_line) {}
  int line;
};

/// A job needs neither; what exceeds them is an accident or an alias bomb.
inline constexpr std::size_t kMaxYamlDepth = 64;
inline constexpr std::size_t kMaxYamlNodes = 100'000;

/// Local. Reads one YAML document; an empty text gives a node of kind `nothing`.
///
/// @param set     the `--set` that the text belongs to, or -1 for the job file
/// @param key     the dotted path of the text's root, for messages
/// @param faults  gets what is wrong but leaves a tree: a key given twice, a key that is not text,
///                a tag
/// Errors: UnreadableYaml for a syntax error, more than one document, bytes that are not UTF-8
/// text, an anchor inside itself, and more than `kMaxYamlDepth` levels or `kMaxYamlNodes` values,
/// aliases counted as what they stand for.
Node read_tree(std::string_view yaml, int set, std::string_view key, Faults& faults);

/// Local. The tree as YAML, ending in a line end. Quoted scalars stay quoted.
std::string write_tree(const Node& root);

/// Local. "a list of 3", "a map", "no value", "`foo`": what a message found.
std::string describe(const Node& node);

}  // namespace mpimerge::job
