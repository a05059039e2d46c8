#pragma once

#include <filesystem>
#include <string>

namespace mpimerge::app {

/// Local. A file that is read by people too: a job, a summary, a README. Empty if there is none.
/// Errors: Error{input}: it cannot be read, or has more than 64 MiB.
std::string read_text_file(const std::filesystem::path& file);

}  // namespace mpimerge::app
