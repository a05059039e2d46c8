#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/text.hpp"

/// What a fuzz target offers: libFuzzer calls it with inputs that it makes up, replay.cpp with files.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace mpimerge::fuzz {

/// Local. The input as text.
inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Local. A claim about what was read. One that does not hold is a finding, in every build.
inline void require(bool holds, std::string_view claim) {
  if (holds) return;
  std::fputs(fmt::format("does not hold: {}\n", claim).c_str(), stderr);
  std::abort();
}

/// Local. Runs `read`, which may refuse its input by an Error of one of `kinds` whose message is fit
/// for a terminal. Whatever else it throws ends the process, which is a finding.
/// @param lines  most lines of the message
template <class Read>
void may_refuse(std::initializer_list<base::ErrorKind> kinds, std::size_t lines, Read&& read) {
  try {
    read();
  } catch (const base::Error& error) {
    const std::string_view message = error.what();
    bool expected = false;
    for (const base::ErrorKind kind : kinds) expected = expected || kind == error.kind();
    require(expected, "the error is of a kind that such an input may cause");
    require(!message.empty(), "the error has a message");
    std::size_t breaks = 0;
    std::string one_line(message);
    for (char& letter : one_line) {
      if (letter != '\n') continue;
      ++breaks;
      letter = ' ';
    }
    require(breaks < lines, "the message has no more lines than faults");
    require(base::printable(one_line, std::string::npos) == one_line,
            "the message has no control characters");
  }
}

}  // namespace mpimerge::fuzz
