#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace mpimerge::checkpoint {

/// Takes the parts of a JSON text in the order in which they stand there. Keys come as they are,
/// repeated ones too. What does not belong there is refused by throwing.
class JsonReader {
 public:
  virtual ~JsonReader() = default;
  virtual void begin_object() = 0;
  virtual void end_object() = 0;
  virtual void begin_list() = 0;
  virtual void end_list() = 0;
  virtual void key(std::string text) = 0;
  virtual void string(std::string text) = 0;
  /// An integer from 0 to 2^64 - 1.
  virtual void count(std::uint64_t value) = 0;
  /// Any other number, true, false or null: `found` names it in a message.
  virtual void other(std::string_view found) = 0;
};

/// Lists and objects inside each other; real headers have 3.
inline constexpr std::size_t kMaxJsonDepth = 64;

/// Local. Hands every part of `text` to `reader`: one pass, nothing kept, no recursion.
/// @param part  what of `file` the text is, for messages: "the header"
/// Errors: Error{input}, one line: not JSON, not UTF-8, deeper than kMaxJsonDepth; what `reader`
/// throws.
void read_json(std::string_view text, const std::filesystem::path& file, std::string_view part,
               JsonReader& reader);

}  // namespace mpimerge::checkpoint
