#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "mpimerge/base/error.hpp"

namespace mpimerge::test {

/// The bytes of a safetensors file whose header says `length`, true or not.
inline std::string safetensors(std::uint64_t length, std::string_view header,
                               std::string_view data) {
  std::string bytes;
  for (int byte = 0; byte < 8; ++byte) bytes += static_cast<char>(length >> (8 * byte) & 0xff);
  return bytes.append(header).append(data);
}

inline std::string safetensors(std::string_view header, std::string_view data) {
  return safetensors(header.size(), header, data);
}

inline void write_file(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// The text of the Error{input} that `action` throws: one line of bearable length, else a failure.
template <class Action>
std::string input_error(Action&& action) {
  try {
    action();
  } catch (const base::Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(error.kind(), base::ErrorKind::input) << text;
    EXPECT_EQ(text.find_first_of("\n\r\x1b"), text.npos) << text;
    EXPECT_LT(text.size(), 700U) << text;
    return text;
  }
  ADD_FAILURE() << "no error was thrown";
  return "";
}

}  // namespace mpimerge::test
