#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "mpimerge/base/index.hpp"
#include "mpimerge/output/slab.hpp"

namespace mpimerge::output {

/// A file that a merge reads, as it was found.
struct InputFile {
  std::string path;
  base::Bytes bytes;
  std::int64_t modified = 0;  ///< nanoseconds since 1970
  std::uint64_t header = 0;   ///< checksum of what its header says of its tensors

  bool operator==(const InputFile&) const = default;
};

/// One start of the program on a merge.
struct Run {
  std::string started;  ///< UTC, ISO 8601
  std::string ended;
  std::uint64_t ranks = 0;
  std::vector<std::string> hosts;  ///< in alphabetical order

  bool operator==(const Run&) const = default;
};

/// What a merge that was stopped needs to go on, by any number of ranks.
struct Journal {
  std::string program;  ///< version
  std::string job;      ///< YAML with its overrides
  std::vector<InputFile> inputs;
  std::vector<Run> runs;  ///< so far, the one that writes this included
  /// The method's own account (merge::TiesMerge::progress): empty before thresholds are known.
  std::vector<std::uint64_t> method;
  std::vector<Slab> slabs;  ///< written and synced, in every output

  bool operator==(const Journal&) const = default;
};

/// Local. The bytes of a journal file (src/output/README.md).
std::vector<std::byte> encode(const Journal& journal);

/// Local. Reads what `encode` made.
/// @param file  named in messages
/// Errors: Error{output}: damaged, or of another program. No allocation is sized by an unchecked
/// number.
Journal decode_journal(std::span<const std::byte> bytes, const std::filesystem::path& file);

/// Local. Writes the journal so that this one or the one before stands at every moment.
/// Errors: Error{output}, Error{resources}.
void write_journal(const std::filesystem::path& file, const Journal& journal);

/// Local. Whether a file, damaged or not, of this version or not, is what `write_journal` makes: it
/// begins so, or is empty.
bool is_journal(const std::filesystem::path& file);

/// Local.
/// Errors: Error{output} as `decode_journal`; the file cannot be read.
Journal read_journal(const std::filesystem::path& file);

}  // namespace mpimerge::output
