#pragma once

#include <string>
#include <vector>

#include "mpimerge/base/index.hpp"

#include "checkpoint/byte_source.hpp"

namespace mpimerge::checkpoint {

/// One file inside a zip file, stored as it is.
struct ZipEntry {
  std::string name;
  base::Range<base::Bytes> data;  ///< from the start of the zip file
};

/// Local. Reads and validates the directory of a zip file, zip64 too, and the header before each
/// entry: what src/checkpoint/README.md says of it. No data is read, checksums are not looked at.
/// @return the entries in the order of their data; they do not overlap, and lie before the directory
/// Errors: Error{input}, one line: no directory at the end, a damaged or contradictory one, entries
/// that are compressed, encrypted, twice there, outside the file or overlap.
/// Cost: O(n log n) in the number of entries, one small read for each; memory in proportion to the
/// directory, which is at most kMaxHeaderBytes.
std::vector<ZipEntry> parse_zip_directory(const ByteSource& source);

}  // namespace mpimerge::checkpoint
