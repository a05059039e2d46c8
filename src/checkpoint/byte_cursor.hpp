#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>

#include "checkpoint/refuse.hpp"

namespace mpimerge::checkpoint {

/// Local. The little-endian number that `bytes` are, at most 8 of them.
constexpr std::uint64_t little_endian(std::string_view bytes) noexcept {
  std::uint64_t value = 0;
  for (auto byte = bytes.rbegin(); byte != bytes.rend(); ++byte) {
    value = value << 8 | static_cast<unsigned char>(*byte);
  }
  return value;
}

/// Takes numbers and texts from `bytes`, one behind the other. What is not there is refused.
class ByteCursor {
 public:
  /// `file` and `part`, what of it `bytes` are ("its zip directory"), are named in messages and
  /// outlive this.
  ByteCursor(std::string_view bytes, const std::filesystem::path& file, std::string_view part)
      : bytes_(bytes), file_(file), part_(part) {}

  /// Local. Free.
  [[nodiscard]] std::size_t at() const noexcept { return at_; }
  [[nodiscard]] bool done() const noexcept { return at_ == bytes_.size(); }

  /// Local. The next `count` bytes.
  /// Errors: Error{input} if there are fewer.
  std::string_view take(std::uint64_t count) {
    if (count > bytes_.size() - at_) {
      refuse(file_, "{} ends too early: {} bytes at its byte {} are more than the {} that follow",
             part_, count, at_, bytes_.size() - at_);
    }
    const auto taken = bytes_.substr(at_, count);
    at_ += taken.size();
    return taken;
  }

  /// Local. The next number.
  template <std::unsigned_integral Number>
  Number number() {
    return static_cast<Number>(little_endian(take(sizeof(Number))));
  }

  /// Local. What stands before the next line feed, which is taken too.
  std::string_view line() {
    const auto end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) refuse(file_, "{} ends within a line of text", part_);
    const auto text = take(end - at_);
    take(1);
    return text;
  }

 private:
  std::string_view bytes_;
  const std::filesystem::path& file_;
  std::string_view part_;
  std::size_t at_ = 0;
};

}  // namespace mpimerge::checkpoint
