// What a look at the inputs saved: the head of the file, as it stands and behind a start whose checksum fits; and the
// state of a search for thresholds, whose words come from the same bytes.
#include <cstddef>
#include <cstring>
#include <span>
#include <stdexcept>
#include <vector>

#include <xxhash.h>

#include "mpimerge/output/pass_file.hpp"
#include "mpimerge/select/threshold_search.hpp"

#include "fuzz/target.hpp"

namespace {

using namespace mpimerge;

void decode(std::span<const std::byte> bytes) {
  const auto head = output::decode_pass_head(bytes);
  if (!head) return;
  fuzz::require(output::decode_pass_head(output::encode(*head)) == head,
                "what was read comes back from its own encoding");
  const auto length = output::pass_file_bytes(*head);
  fuzz::require(!length || *length >= output::encode(*head).size(), "the parts follow the head");
}

void search(std::span<const std::uint64_t> words) {
  constexpr std::uint64_t kElements = 1000;
  constexpr base::Bytes kMemory{std::uint64_t{1} << 20};
  select::ThresholdSearch taken(kElements, {1, 500, 0}, kMemory);
  const std::size_t common = taken.common().size();
  if (words.size() < common || !taken.take_common(words.first(common))) return;
  fuzz::require(taken.common() == std::vector(words.begin(), words.begin() + common),
                "what all know comes back as it was taken");
  auto left = words.subspan(common);
  try {
    const bool fits = taken.take_own([&] {
      if (left.empty()) throw std::out_of_range("no more words");
      const std::uint64_t word = left[0];
      left = left.subspan(1);
      return word;
    });
    if (!fits) return;
  } catch (const std::out_of_range&) {
    return;
  }
  std::vector<std::uint64_t> own;
  taken.put_own([&](auto more) { own.insert(own.end(), more.begin(), more.end()); });
  select::ThresholdSearch again(kElements, {1, 500, 0}, kMemory);
  std::size_t next = 0;
  fuzz::require(again.take_common(taken.common()) && again.take_own([&] { return own.at(next++); }),
                "what was taken can be put and taken once more");
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  decode(bytes);
  std::vector<std::uint64_t> words(size / sizeof(std::uint64_t));
  if (!words.empty()) std::memcpy(words.data(), data, words.size() * sizeof(std::uint64_t));
  search(words);
  std::vector<std::byte> fitting = output::encode({});
  constexpr std::size_t kStart = 24;
  fitting.resize(kStart);
  fitting.insert(fitting.end(), bytes.begin(),
                 bytes.begin() + words.size() * sizeof(std::uint64_t));
  const std::uint64_t count = words.size();
  const std::uint64_t checksum = XXH3_64bits(fitting.data() + kStart, fitting.size() - kStart);
  std::memcpy(fitting.data() + 8, &count, sizeof(count));
  std::memcpy(fitting.data() + 16, &checksum, sizeof(checksum));
  decode(fitting);
  return 0;
}
