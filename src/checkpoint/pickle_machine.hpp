#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "checkpoint/byte_cursor.hpp"
#include "checkpoint/refuse.hpp"

namespace mpimerge::checkpoint {

/// Steps that a pickle may take, which bounds its memory. torch takes about 40 for a tensor.
inline constexpr std::uint64_t kMaxPickleSteps = 10'000'000;

/// Reads a pickle of protocol 2 into values of its own: numbers, texts, tuples, lists, dictionaries,
/// and objects that only the deriving class understands. There is no Python here that could be
/// executed: where a pickle names a class, calls a function or asks for something outside, that
/// class is asked, which knows a few names and refuses all others.
///
/// No recursion, so nesting costs no stack; every step adds a value or two.
class PickleMachine {
 public:
  struct None {};
  struct Number {};  ///< a fraction, or an integer beyond 64 bits: no tensor depends on its value
  struct Text {
    std::uint32_t begin, bytes;
  };
  struct Tuple {
    std::uint32_t begin, count;
  };
  struct List {};  ///< no tensor depends on what it holds
  struct Dict {
    std::uint32_t number;
  };
  struct Object {
    std::uint32_t kind, number;
  };
  using Value = std::variant<None, bool, std::int64_t, Number, Text, Tuple, List, Dict, Object>;
  using Item = std::pair<Value, Value>;  ///< of a dictionary: key, value

  virtual ~PickleMachine() = default;
  PickleMachine(const PickleMachine&) = delete;
  PickleMachine& operator=(const PickleMachine&) = delete;

 protected:
  /// `pickle`, at most kMaxHeaderBytes, and `file`, for messages, outlive this.
  PickleMachine(std::string_view pickle, const std::filesystem::path& file)
      : pickle_(pickle), file_(file), cursor_(pickle, file, "data.pkl") {}

  /// Local. What the pickle describes.
  /// Errors: Error{input}, one line: another protocol, an unknown opcode, a step without the values
  /// that it works on, bytes behind the end, more than kMaxPickleSteps; what the next three throw.
  Value run();

  /// The class or function of that name.
  virtual Value global(std::string_view module, std::string_view name) = 0;
  /// What `function` makes of `arguments`.
  virtual Value call(const Value& function, Tuple arguments) = 0;
  /// What lies outside the pickle and is called `id` in it.
  virtual Value persistent(const Value& id) = 0;

  /// Local. A dictionary without items.
  Dict new_dict();
  /// Local. Free.
  std::string_view text(Text text) const { return pickle_.substr(text.begin, text.bytes); }
  std::span<const Value> elements(Tuple tuple) const {
    return std::span(elements_).subspan(tuple.begin, tuple.count);
  }
  bool is_empty(Dict dict) const { return item_counts_[dict.number] == 0; }
  /// Local. In the order in which they were set. Cost: a walk over the items of all dictionaries.
  std::vector<Item> items(Dict dict) const;

  /// Local. Free: for messages.
  const std::filesystem::path& file() const { return file_; }

  /// Local. "a tuple", "None": for messages.
  static std::string_view describe(const Value& value);

  /// Local. Throws one line: the file, the step in hand, what is wrong with it.
  template <class... Args>
  [[noreturn]] void refuse_step(fmt::format_string<Args...> text, Args&&... args) const {
    refuse(file_, "data.pkl, byte {}: {}", step_, fmt::format(text, std::forward<Args>(args)...));
  }

 private:
  void take_step(std::uint8_t opcode);
  void check_not_below_mark(std::size_t count) const;
  Value& top();
  Value pop();
  std::vector<Value> pop(std::size_t count);
  std::vector<Value> pop_to_mark();
  void push_tuple(std::span<const Value> values);
  void push_integer(std::string_view bytes);
  void append();
  void set_item(const Value& key, const Value& value);
  void memoise(std::uint64_t number);
  void recall(std::uint64_t number);

  std::string_view pickle_;
  const std::filesystem::path& file_;
  ByteCursor cursor_;
  std::size_t step_ = 0;  // where the step in hand begins
  std::vector<Value> stack_;
  std::vector<std::size_t> marks_;  // heights of the stack
  std::vector<Value> memo_;
  std::vector<Value> elements_;                        // of all tuples
  std::vector<std::pair<std::uint32_t, Item>> items_;  // of all dictionaries, with their numbers
  std::vector<std::uint64_t> item_counts_;             // by dictionary
};

}  // namespace mpimerge::checkpoint
