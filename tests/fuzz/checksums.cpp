// What stands behind an output, which `verify` believes only if it fits.
#include "mpimerge/output/checksums.hpp"

#include <string>
#include <string_view>

#include <xxhash.h>

#include "fuzz/memory_file.hpp"
#include "fuzz/target.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mpimerge;
  static const fuzz::MemoryFile file;
  const auto read = [](std::string_view content) {
    file.assign(content);
    fuzz::may_refuse({base::ErrorKind::input}, 1, [&] {
      const output::Checksums found = output::read_checksums(file.name());
      for (const output::BlockChecksums& dataset : found.datasets) {
        fuzz::require(dataset.offset <= base::Bytes{content.size()} &&
                          dataset.bytes <= base::Bytes{content.size()} - dataset.offset,
                      "every dataset lies in the file");
        fuzz::require(dataset.blocks.size() == output::checksum_blocks(dataset.bytes),
                      "every block has a checksum");
      }
    });
  };
  const std::string_view input = fuzz::text_of(data, size);
  read(input);
  // The same as the JSON of a file of no bytes, behind which a tail stands that fits.
  std::string fitting(input);
  const std::uint64_t tail[3] = {0, size, XXH3_64bits(data, size)};
  fitting.append(reinterpret_cast<const char*>(tail), sizeof(tail));
  fitting += "mpimsum1";
  read(fitting);
  return 0;
}
