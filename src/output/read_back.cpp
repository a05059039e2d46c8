#include "output/read_back.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <tuple>
#include <type_traits>

#include <fmt/format.h>
#include <xxhash.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/comm/collectives.hpp"

namespace mpimerge::output {
namespace {

using base::Bytes;
using std::filesystem::path;

class Reader {
 public:
  Reader(const path& name, const std::vector<PlacedDataset>& datasets, const GoesOn& goes_on)
      : name_(name),
        datasets_(datasets),
        goes_on_(goes_on),
        file_(base::open_for_reading(name)),
        buffer_(kBuffer) {}

  void read(const Slab& slab) {
    const PlacedDataset& dataset = datasets_[slab.dataset];
    const Bytes begin{slab.range.begin.value() * dataset.element.value()};
    const Bytes end{slab.range.end.value() * dataset.element.value()};
    if (slab.dataset != which_ || begin != at_) leave_for(slab.dataset, begin);
    XXH3_64bits_reset(&slab_hash_);
    pass(end, [&](std::span<const std::byte> part) {
      XXH3_64bits_update(&slab_hash_, part.data(), part.size());
    });
    if (XXH3_64bits_digest(&slab_hash_) == slab.checksum) return;
    throw base::Error(
        base::ErrorKind::input,
        fmt::format("{}: {} {} to {} of {} do not read back as they were written: the file "
                    "system lost or changed data; check it and its free space, then run again",
                    name_.string(), dataset.element == Bytes{1} ? "bytes" : "elements",
                    slab.range.begin.value(), slab.range.end.value(), dataset.name));
  }

  std::vector<BlockChecksum> finish() {
    complete_block();
    return std::move(blocks_);
  }

 private:
  static constexpr std::size_t kBuffer = std::size_t{1} << 20;  // in the cache when it is hashed

  // Ends a run of slabs that lie together, and begins another.
  void leave_for(std::uint64_t dataset, Bytes begin) {
    complete_block();
    which_ = dataset;
    at_ = begin;
    in_block_ = false;
  }

  // The rest of the block in hand, whoever wrote it.
  void complete_block() {
    if (!in_block_) return;
    pass(block_end(), [](std::span<const std::byte>) {});
  }

  [[nodiscard]] Bytes block_end() const {
    const Bytes whole{(at_.value() / kChecksumBlock.value() + 1) * kChecksumBlock.value()};
    return std::min(whole, datasets_[which_].bytes);
  }

  // Reads on up to `end`, cut where blocks end.
  template <class Use>
  void pass(Bytes end, Use use) {
    while (at_ < end) {
      if (at_.value() % kChecksumBlock.value() == 0) {
        in_block_ = true;
        XXH3_64bits_reset(&block_hash_);
      }
      const Bytes stop = std::min({end, block_end(), at_ + Bytes{kBuffer}});
      const auto part = std::span(buffer_).first((stop - at_).value());
      base::read_exactly(file_, name_, datasets_[which_].offset + at_, part);
      use(part);
      goes_on_();
      if (in_block_) XXH3_64bits_update(&block_hash_, part.data(), part.size());
      const bool block_ends = stop == block_end();
      const std::uint64_t block = at_.value() / kChecksumBlock.value();
      at_ = stop;
      if (!in_block_ || !block_ends) continue;
      blocks_.push_back({which_, block, XXH3_64bits_digest(&block_hash_)});
      in_block_ = false;
    }
  }

  const path& name_;
  const std::vector<PlacedDataset>& datasets_;
  const GoesOn& goes_on_;
  base::FileDescriptor file_;
  std::vector<std::byte> buffer_;
  std::vector<BlockChecksum> blocks_;
  std::uint64_t which_ = 0;
  Bytes at_;               // in the dataset
  bool in_block_ = false;  // from whose first byte on
  XXH3_state_t slab_hash_;
  XXH3_state_t block_hash_;
};

}  // namespace

std::vector<BlockChecksum> read_back(const path& file, const std::vector<PlacedDataset>& datasets,
                                     std::vector<Slab> slabs, const GoesOn& goes_on) {
  if (slabs.empty()) return {};
  std::sort(slabs.begin(), slabs.end(), [](const Slab& a, const Slab& b) {
    return std::tie(a.dataset, a.range.begin) < std::tie(b.dataset, b.range.begin);
  });
  Reader reader(file, datasets, goes_on);
  for (const Slab& slab : slabs) reader.read(slab);
  return reader.finish();
}

std::vector<BlockChecksums> gather_checksums(const comm::Comm& comm,
                                             const std::vector<PlacedDataset>& datasets,
                                             const std::vector<BlockChecksum>& mine) {
  static_assert(std::is_trivially_copyable_v<BlockChecksum>);
  const auto* const bytes = reinterpret_cast<const char*>(mine.data());
  const std::vector<char> all =
      comm::gather_bytes(comm, {bytes, mine.size() * sizeof(BlockChecksum)});
  std::vector<BlockChecksums> checksums;
  if (!comm.is_root()) return checksums;
  for (const PlacedDataset& dataset : datasets) {
    checksums.push_back({dataset.name, dataset.offset, dataset.bytes,
                         std::vector<std::uint64_t>(checksum_blocks(dataset.bytes))});
  }
  for (std::size_t begin = 0; begin < all.size(); begin += sizeof(BlockChecksum)) {
    BlockChecksum block{};
    std::memcpy(&block, all.data() + begin, sizeof(block));
    checksums[block.dataset].blocks[block.block] = block.checksum;
  }
  return checksums;
}

}  // namespace mpimerge::output
