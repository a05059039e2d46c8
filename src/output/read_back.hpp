#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mpimerge/base/index.hpp"
#include "mpimerge/comm/comm.hpp"
#include "mpimerge/output/checksums.hpp"
#include "mpimerge/output/slab.hpp"

namespace mpimerge::output {

/// Where a dataset of the output lies.
struct PlacedDataset {
  std::string name;  ///< "/parameters/BF16"
  base::Bytes element;
  base::Bytes offset;  ///< of its first byte in the file
  base::Bytes bytes;
};

/// The checksum of one block (kChecksumBlock) of a dataset.
struct BlockChecksum {
  std::uint64_t dataset;
  std::uint64_t block;
  std::uint64_t checksum;
};

/// Local. Reads slabs back from the file that they were written to and proves that they are what was
/// written. On the way it takes the checksums of all blocks that begin in them; where such a block
/// ends in another rank's slab, that part is read too: everything has to be written by then.
/// @param slabs    in any order
/// @param goes_on  called after every MiB
/// Errors: Error{input} that names dataset and elements.
std::vector<BlockChecksum> read_back(const std::filesystem::path& file,
                                     const std::vector<PlacedDataset>& datasets,
                                     std::vector<Slab> slabs, const GoesOn& goes_on);

/// Collective over `comm`. The block checksums of all ranks, by dataset, on rank 0; nothing on the
/// others.
std::vector<BlockChecksums> gather_checksums(const comm::Comm& comm,
                                             const std::vector<PlacedDataset>& datasets,
                                             const std::vector<BlockChecksum>& mine);

}  // namespace mpimerge::output
