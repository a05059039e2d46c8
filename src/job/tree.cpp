#include "job/tree.hpp"

#include <algorithm>
#include <istream>
#include <sstream>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>
#include <yaml-cpp/emitter.h>
#include <yaml-cpp/emittermanip.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include "mpimerge/base/text.hpp"

#include "job/utf8.hpp"

namespace mpimerge::job {
namespace {

int line_of(const YAML::Mark& mark) { return mark.line + 1; }

struct Extent {
  std::size_t nodes = 1;
  std::size_t depth = 1;
};

Extent extent_of(const Node& node) {
  Extent whole;
  std::size_t deepest = 0;
  const auto include = [&](const Node& part) {
    const Extent extent = extent_of(part);
    whole.nodes += extent.nodes;
    deepest = std::max(deepest, extent.depth);
  };
  for (const Node& item : node.items) include(item);
  for (const Entry& entry : node.entries) include(entry.value);
  whole.depth += deepest;
  return whole;
}

/// Whether the quoted scalar at `position`, perhaps behind an anchor, ends. yaml-cpp 0.7 takes a
/// last line end for the closing quote, so that a forgotten one would swallow the rest of the file.
bool is_closed(std::string_view yaml, std::size_t position) {
  if (position < yaml.size() && yaml[position] == '&') {
    position = yaml.find_first_not_of(
        " \t\r\n", std::min(yaml.find_first_of(" \t\r\n", position), yaml.size()));
  }
  if (position >= yaml.size() || (yaml[position] != '"' && yaml[position] != '\'')) return true;
  const char quote = yaml[position];
  for (++position; position < yaml.size(); ++position) {
    if (quote == '"' && yaml[position] == '\\') {
      ++position;
    } else if (yaml[position] == quote) {
      const bool doubled =
          quote == '\'' && position + 1 < yaml.size() && yaml[position + 1] == quote;
      if (!doubled) return true;
      ++position;
    }
  }
  return false;
}

std::string spelled_tag(const std::string& tag) {
  constexpr std::string_view kStandard = "tag:yaml.org,2002:";
  return tag.starts_with(kStandard) ? "!!" + tag.substr(kStandard.size()) : tag;
}

/// Makes a tree of yaml-cpp's events. Its own Node is not used: it shares what aliases name, keeps
/// both of two equal keys, and could not say of a value whether it came from the file or from a
/// `--set`.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(std::string_view yaml, int set, std::string_view key, Faults& faults)
      : yaml_(yaml), set_(set), key_(key), faults_(faults) {}

  Node take_root() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) {
      throw UnreadableYaml(
          line_of(mark),
          "a second YAML document, or text outside of the first, begins here; expected one");
    }
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(make(Node::Kind::nothing, mark), anchor, line_of(mark));
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    Node node = make(Node::Kind::scalar, mark);
    node.quoted = tag == "!";
    node.text = value;
    if (node.quoted && !is_closed(yaml_, static_cast<std::size_t>(mark.pos))) {
      throw UnreadableYaml(line_of(mark),
                           "not valid YAML: a quote that begins here is never closed");
    }
    check_tag(mark, tag);
    check_escapes(mark, value);
    add(std::move(node), anchor, line_of(mark));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto known = anchors_.find(anchor);
    if (known == anchors_.end()) {
      throw UnreadableYaml(line_of(mark),
                           "an anchor contains an alias of itself; expected YAML that ends");
    }
    const Extent extent = extent_of(known->second);
    check_depth(mark, open_.size() + extent.depth);
    count(mark, extent.nodes);
    Node node = known->second;
    node.place = place(mark);
    if (expects_key()) return refuse_key(line_of(mark));
    attach(std::move(node));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    open(Node::Kind::list, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    open(Node::Kind::map, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  /// A list or map whose end has not come yet.
  struct Open {
    Node node;
    YAML::anchor_t anchor = 0;
    int line = 0;
    bool has_key = false;    // map: the key is read, its value comes next
    bool keep_value = true;  // map: false if the key was refused
    std::string key;
    Place key_place;
    std::unordered_map<std::string, int> key_lines;
  };

  [[nodiscard]] Place place(const YAML::Mark& mark) const {
    return set_ < 0 ? Place{line_of(mark), -1} : Place{0, set_};
  }

  Node make(Node::Kind kind, const YAML::Mark& mark) {
    count(mark, 1);
    Node node;
    node.kind = kind;
    node.place = place(mark);
    return node;
  }

  void open(Node::Kind kind, const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor) {
    check_depth(mark, open_.size() + 1);
    check_tag(mark, tag);
    Open opened;
    opened.node = make(kind, mark);
    opened.anchor = anchor;
    opened.line = line_of(mark);
    open_.push_back(std::move(opened));
  }

  void close() {
    Open closed = std::move(open_.back());
    open_.pop_back();
    add(std::move(closed.node), closed.anchor, closed.line);
  }

  void add(Node node, YAML::anchor_t anchor, int line) {
    if (anchor != 0) {
      count_at(line, extent_of(node).nodes);  // the copy is memory too
      anchors_[anchor] = node;
    }
    if (!expects_key()) return attach(std::move(node));
    if (node.kind != Node::Kind::scalar) return refuse_key(line);
    accept_key(std::move(node.text), node.place, line);
  }

  [[nodiscard]] bool expects_key() const {
    return !open_.empty() && open_.back().node.kind == Node::Kind::map && !open_.back().has_key;
  }

  void accept_key(std::string key, Place where, int line) {
    Open& map = open_.back();
    const auto [first, is_new] = map.key_lines.emplace(key, line);
    map.has_key = true;
    map.keep_value = is_new;
    map.key = std::move(key);
    map.key_place = where;
    if (is_new) return;
    const std::string first_place =
        set_ < 0 ? fmt::format(", first on line {}", first->second) : std::string();
    faults_.add(
        where, path(),
        fmt::format("given twice{}; expected each key once; keep one of them", first_place));
  }

  void refuse_key(int line) {
    faults_.add(set_ < 0 ? Place{line, -1} : Place{0, set_}, parent_path(),
                "a key here is not plain text; expected KEY: VALUE with a key that is a word");
    open_.back().has_key = true;
    open_.back().keep_value = false;
    open_.back().key.clear();
  }

  void attach(Node node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = open_.back();
    if (parent.node.kind == Node::Kind::list) {
      parent.node.items.push_back(std::move(node));
      return;
    }
    parent.has_key = false;
    if (!parent.keep_value) return;
    node.place = parent.key_place;
    parent.node.entries.push_back({std::exchange(parent.key, {}), std::move(node)});
  }

  [[nodiscard]] std::string path_of(std::size_t levels) const {
    std::string path = key_;
    for (std::size_t level = 0; level < levels; ++level) {
      const Open& at = open_[level];
      const std::string step =
          at.node.kind == Node::Kind::list ? std::to_string(at.node.items.size()) : at.key;
      if (!path.empty() && !step.empty()) path += '.';
      path += step;
    }
    return path;
  }
  [[nodiscard]] std::string path() const { return path_of(open_.size()); }
  [[nodiscard]] std::string parent_path() const { return path_of(open_.size() - 1); }

  void check_tag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    faults_.add(place(mark), path(),
                fmt::format("found the YAML tag `{}`; expected a plain value; leave the tag out",
                            base::printable(spelled_tag(tag))));
  }

  /// "\x00" in quotes is a NUL, and yaml-cpp 0.7 makes a lone byte, not UTF-8, of "\N" and "\_".
  void check_escapes(const YAML::Mark& mark, const std::string& value) {
    if (!first_unreadable_byte(value)) return;
    faults_.add(place(mark), path(),
                "found an escape that makes a control character or no UTF-8; expected plain text");
  }

  static void check_depth(const YAML::Mark& mark, std::size_t depth) {
    if (depth > kMaxYamlDepth) {
      throw UnreadableYaml(
          line_of(mark), fmt::format("lists and maps are nested deeper than {} levels; a job needs "
                                     "fewer than ten",
                                     kMaxYamlDepth));
    }
  }

  void count(const YAML::Mark& mark, std::size_t nodes) { count_at(line_of(mark), nodes); }

  void count_at(int line, std::size_t nodes) {
    nodes_ += nodes;
    if (nodes_ > kMaxYamlNodes) {
      throw UnreadableYaml(
          line,
          fmt::format("more than {} values, with aliases counted as what they stand for; a job "
                      "needs far fewer",
                      kMaxYamlNodes));
    }
  }

  std::string_view yaml_;
  int set_;
  std::string key_;
  Faults& faults_;
  Node root_;
  std::vector<Open> open_;
  std::unordered_map<YAML::anchor_t, Node> anchors_;
  std::size_t nodes_ = 0;
  int documents_ = 0;
};

void check_bytes(std::string_view yaml) {
  const auto bad = first_unreadable_byte(yaml);
  if (!bad) return;
  const auto line =
      1 + std::count(yaml.begin(), yaml.begin() + static_cast<std::ptrdiff_t>(*bad), '\n');
  throw UnreadableYaml(
      static_cast<int>(line),
      fmt::format("found byte {:#04x} at position {}; expected UTF-8 without control "
                  "characters; save the file as UTF-8",
                  static_cast<unsigned char>(yaml[*bad]), *bad));
}

void write(YAML::Emitter& out, const Node& node) {
  switch (node.kind) {
    case Node::Kind::nothing: out << YAML::Null; break;
    case Node::Kind::scalar:
      if (node.quoted) out << YAML::DoubleQuoted;
      out << node.text;
      break;
    case Node::Kind::list:
      out << YAML::BeginSeq;
      for (const Node& item : node.items) write(out, item);
      out << YAML::EndSeq;
      break;
    case Node::Kind::map:
      out << YAML::BeginMap;
      for (const Entry& entry : node.entries) {
        out << YAML::Key << entry.key << YAML::Value;
        write(out, entry.value);
      }
      out << YAML::EndMap;
      break;
  }
}

}  // namespace

const Node* Node::find(std::string_view key) const {
  const auto found = std::ranges::find(entries, key, &Entry::key);
  return found == entries.end() ? nullptr : &found->value;
}

Node* Node::find(std::string_view key) {
  const auto found = std::ranges::find(entries, key, &Entry::key);
  return found == entries.end() ? nullptr : &found->value;
}

Node read_tree(std::string_view yaml, int set, std::string_view key, Faults& faults) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  check_bytes(yaml);
  if (yaml.starts_with(kByteOrderMark)) yaml.remove_prefix(kByteOrderMark.size());
  TreeBuilder builder(yaml, set, key, faults);
  std::istringstream stream{std::string(yaml)};
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    throw UnreadableYaml(
        error.mark.is_null() ? 1 : line_of(error.mark),
        fmt::format(
            "not valid YAML: {}; check indentation (spaces, no tabs), colons, brackets and quotes",
            base::printable(error.msg, 400)));
  }
  return builder.take_root();
}

std::string write_tree(const Node& root) {
  YAML::Emitter out;
  write(out, root);
  return std::string(out.c_str(), out.size()) + "\n";
}

std::string describe(const Node& node) {
  switch (node.kind) {
    case Node::Kind::nothing: return "no value";
    case Node::Kind::scalar:
      return node.text.empty() ? "an empty text" : fmt::format("`{}`", base::printable(node.text));
    case Node::Kind::list:
      return node.items.empty() ? "an empty list" : fmt::format("a list of {}", node.items.size());
    case Node::Kind::map: return "a map";
  }
  return {};
}

}  // namespace mpimerge::job
