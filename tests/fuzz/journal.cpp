// A journal, of which --resume asks where to go on: as it stands, and behind a head whose checksum fits.
#include "mpimerge/output/journal.hpp"

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include <xxhash.h>

#include "fuzz/target.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mpimerge;
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto decode = [](std::span<const std::byte> journal) {
    fuzz::may_refuse({base::ErrorKind::output}, 1, [&] {
      const output::Journal read = output::decode_journal(journal, "out.journal");
      fuzz::require(output::decode_journal(output::encode(read), "again") == read,
                    "what was read comes back from its own encoding");
    });
  };
  decode(bytes);
  std::vector<std::byte> fitting = output::encode({});
  constexpr std::size_t kHead = 24;
  fitting.resize(kHead);
  fitting.insert(fitting.end(), bytes.begin(), bytes.end());
  const std::uint64_t length = size;
  const std::uint64_t checksum = XXH3_64bits(data, size);
  std::memcpy(fitting.data() + 8, &length, sizeof(length));
  std::memcpy(fitting.data() + 16, &checksum, sizeof(checksum));
  decode(fitting);
  return 0;
}
