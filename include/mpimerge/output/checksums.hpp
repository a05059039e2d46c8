#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mpimerge/base/index.hpp"

namespace mpimerge::output {

/// How many bytes of a dataset share a checksum. A dataset's last block may be shorter.
inline constexpr base::Bytes kChecksumBlock{std::uint64_t{4} << 20};

/// The bytes of one dataset in its file, and the checksum (XXH3, 64 bits) of each block of them.
struct BlockChecksums {
  std::string name;    ///< "/parameters/BF16"
  base::Bytes offset;  ///< of the first byte in the file
  base::Bytes bytes;
  std::vector<std::uint64_t> blocks;

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& name& offset& bytes& blocks;
  }
};

/// Local. How many blocks cover `bytes`.
constexpr std::uint64_t checksum_blocks(base::Bytes bytes) noexcept {
  return bytes.value() / kChecksumBlock.value() +
         (bytes.value() % kChecksumBlock.value() != 0 ? 1 : 0);
}

/// What proves a finished file whole. It stands behind the end of the HDF5 file, where readers of
/// HDF5 do not look (src/output/README.md has the bytes), so that a damaged file can be examined
/// without HDF5.
struct Checksums {
  std::vector<BlockChecksums> datasets;
  std::uint64_t rest = 0;  ///< of all bytes of the HDF5 file that belong to no dataset

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& datasets& rest;
  }
};

/// Local. Takes the checksum of what lies outside `datasets` and appends all to a closed file.
/// Errors: Error{output}, Error{resources}.
void append_checksums(const std::filesystem::path& file, std::vector<BlockChecksums> datasets);

/// Local. Reads the checksums of a file and proves that all but the datasets' blocks is as it was
/// written; the blocks are the caller's to prove.
/// Errors: Error{input} that says what is damaged; also for a file without checksums.
/// Cost: reads the file without its datasets; no allocation is sized by an unchecked number.
Checksums read_checksums(const std::filesystem::path& file);

/// Local. The same for a directory of safetensors: takes the checksums of the files' headers and of
/// all files without tensors, and writes all to `mpimerge_checksums.json` in it.
/// @param shards  the values of each file of tensors; `name` is the file's
/// Errors: Error{output}, Error{resources}.
void write_directory_checksums(const std::filesystem::path& directory,
                               const std::vector<BlockChecksums>& shards);

/// Local. Reads the checksums of a directory and proves that all but the blocks of values is as it
/// was written; those are the caller's to prove. Files that came later are passed over.
/// @return what `write_directory_checksums` was given
/// Errors: Error{input} that names the file: missing, of another size, damaged; no checksums.
std::vector<BlockChecksums> read_directory_checksums(const std::filesystem::path& directory);

}  // namespace mpimerge::output
