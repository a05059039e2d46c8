#pragma once

#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/job/parse.hpp"

namespace mpimerge::job::test {

/// A job with nothing but what is required, on lines 1 to 4.
inline constexpr std::string_view kSmallest =
    "merge_method: ties\n"
    "base_model: base\n"
    "models:\n"
    "  - model: math\n";

inline Job parse(std::string_view yaml, const std::vector<std::string>& sets = {}) {
  return parse_job(yaml, "dir/job.yaml", sets);
}

/// The lines of the error that parsing ends with; none if it does not.
inline std::vector<std::string> faults_of(std::string_view yaml,
                                          const std::vector<std::string>& sets = {},
                                          base::ErrorKind kind = base::ErrorKind::job) {
  std::vector<std::string> lines;
  try {
    parse(yaml, sets);
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    std::istringstream text(error.what());
    for (std::string line; std::getline(text, line);) lines.push_back(line);
  }
  return lines;
}

}  // namespace mpimerge::job::test
