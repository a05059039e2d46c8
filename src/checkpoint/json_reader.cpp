#include "checkpoint/json_reader.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "mpimerge/base/text.hpp"

#include "checkpoint/refuse.hpp"

namespace mpimerge::checkpoint {
namespace {

using nlohmann::json;

// The parser's own text without its prefix and without the token, which can be as long as the file.
std::string reason_of(const json::exception& error) {
  std::string_view text = error.what();
  if (const auto prefix = text.find(": "); prefix != std::string_view::npos)
    text.remove_prefix(prefix + 2);
  return base::printable(text.substr(0, text.find("; last read: '")));
}

// From the 13 events of nlohmann-json to the 8 of JsonReader.
class Adapter final : public nlohmann::json_sax<json> {
 public:
  Adapter(const std::filesystem::path& file, std::string_view part, JsonReader& reader)
      : file_(file), part_(part), reader_(reader) {}

  bool null() override { return reader_.other("null"), true; }
  bool boolean(bool value) override { return reader_.other(value ? "true" : "false"), true; }
  bool number_integer(number_integer_t value) override {
    // Only negative numbers come here, and -0.
    return reader_.other(value == 0 ? "-0" : std::to_string(value)), true;
  }
  bool number_unsigned(number_unsigned_t value) override { return reader_.count(value), true; }
  bool number_float(number_float_t, const string_t& text) override {
    return reader_.other(base::printable(text)), true;
  }
  bool string(string_t& text) override { return reader_.string(std::move(text)), true; }
  bool binary(binary_t&) override { return false; }  // not in JSON text
  bool key(string_t& text) override { return reader_.key(std::move(text)), true; }
  bool start_object(std::size_t) override { return descend(), reader_.begin_object(), true; }
  bool end_object() override { return --depth_, reader_.end_object(), true; }
  bool start_array(std::size_t) override { return descend(), reader_.begin_list(), true; }
  bool end_array() override { return --depth_, reader_.end_list(), true; }

  bool parse_error(std::size_t position, const std::string& token,
                   const json::exception& error) override {
    constexpr int kNumberAboveDouble = 406;
    if (error.id == kNumberAboveDouble) reader_.other(base::printable(token));
    refuse(file_, "{} is not JSON near its byte {}: {}", part_, position, reason_of(error));
  }

 private:
  void descend() {
    if (++depth_ > kMaxJsonDepth) {
      refuse(file_, "{} has lists and objects inside each other more than {} deep", part_,
             kMaxJsonDepth);
    }
  }

  const std::filesystem::path& file_;
  std::string_view part_;
  JsonReader& reader_;
  std::size_t depth_ = 0;
};

}  // namespace

void read_json(std::string_view text, const std::filesystem::path& file, std::string_view part,
               JsonReader& reader) {
  // nlohmann-json takes this byte for the end of its input and would not look at what follows.
  if (const auto zero = text.find('\0'); zero != std::string_view::npos) {
    refuse(file, "{} is not JSON near its byte {}: a zero byte", part, zero + 1);
  }
  Adapter adapter(file, part, reader);
  json::sax_parse(text.begin(), text.end(), &adapter);
}

}  // namespace mpimerge::checkpoint
