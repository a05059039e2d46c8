#pragma once

#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "job/faults.hpp"
#include "job/tree.hpp"

namespace mpimerge::job {

class Section;

/// One value of the job with its dotted key. Every reader below either gives what was asked for or
/// notes a fault and gives nothing. Refers to the tree and to `faults`; both outlive it.
class Value {
 public:
  Value(const Node& node, std::string key, Faults& faults)
      : node_(&node), key_(std::move(key)), faults_(&faults) {}

  /// Local. Free.
  [[nodiscard]] const Node& node() const { return *node_; }
  [[nodiscard]] const std::string& key() const { return key_; }

  /// Local. Notes a fault of this value.
  void fault(std::string_view message) const { faults_->add(node_->place, key_, message); }

  /// Local. Notes "found ...; expected `expected`", and a remedy if there is one.
  void fault_expected(std::string_view expected, std::string_view remedy = {}) const;

  /// Local. A scalar's text, not empty. `expected` is what the message asks for: "a path".
  [[nodiscard]] std::optional<std::string> text(std::string_view expected) const;

  /// Local. A number that float32 can hold, quoted or not.
  [[nodiscard]] std::optional<double> number() const;

  /// Local. The items of a list that is not empty. `expected`: "a list of models".
  [[nodiscard]] std::optional<std::vector<Value>> items(std::string_view expected) const;

  /// Local. A map to read key by key. `expected`: "a map with density, weight".
  [[nodiscard]] std::optional<Section> section(std::string_view expected) const;

  /// Local. The position of the text in `supported`.
  [[nodiscard]] std::optional<std::size_t> choice(
      std::span<const std::string_view> supported) const;

  /// Local. Reads one of `supported` (text, meaning) into `target`, which keeps its value in case
  /// of a fault.
  template <class T>
  void read_choice(
      T& target,
      std::initializer_list<std::pair<std::string_view, std::type_identity_t<T>>> supported) const {
    std::vector<std::string_view> names;
    for (const auto& [name, meaning] : supported) names.push_back(name);
    const auto chosen = choice(names);
    if (chosen) target = std::data(supported)[*chosen].second;
  }

 private:
  const Node* node_;
  std::string key_;
  Faults* faults_;
};

/// A map of the job. It remembers which keys were asked for; `finish` reports all others.
class Section {
 public:
  Section(const Node& map, std::string key, Faults& faults)
      : node_(&map), key_(std::move(key)), faults_(&faults) {}

  /// Local. The value of an optional key.
  std::optional<Value> find(std::string_view key);

  /// Local. The same, where `key:` without a value means what mergekit takes it for: not given.
  std::optional<Value> find_filled(std::string_view key);

  /// Local. The value of a key that must be there. `expected`: "the path of the base model".
  std::optional<Value> require(std::string_view key, std::string_view expected);

  /// Local. Keys that belong to the format, or are often taken for it, but cannot stand here; `why`
  /// tells what to do.
  void refuse(std::initializer_list<std::string_view> keys, std::string_view why);

  /// Local. A key that other tools know and that changes nothing here.
  void pass_over(std::string_view key) { refused_.push_back(key); }

  /// Local. Notes a fault of a key, at its place, or at the map's if it is not there.
  void fault(std::string_view key, std::string_view message) const;
  /// Local. The same of a key of the map that is the value of `key`, as far as they are there.
  void fault(std::string_view key, std::string_view inner, std::string_view message) const;

  /// Local. Every key of the map that is none of those named above `finish`, with its value.
  std::vector<Value> rest();

  /// Local. Notes a fault for every key of the map that none of the calls above named. `method`:
  /// the one whose parameters the map holds, if it does.
  void finish(std::string_view method = {});

 private:
  [[nodiscard]] Value value(const std::string& key, const Node& node) const;

  const Node* node_;
  std::string key_;
  Faults* faults_;
  std::vector<std::string_view> known_;    // literals: keys that may stand here
  std::vector<std::string_view> refused_;  // literals: keys that others do not stand for
};

}  // namespace mpimerge::job
