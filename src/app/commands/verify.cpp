#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include <boost/serialization/vector.hpp>
#include <fmt/format.h>
#include <xxhash.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/checkpoint/catalog.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/comm/object.hpp"
#include "mpimerge/output/checksums.hpp"

#include "app/commands/commands.hpp"
#include "app/inputs.hpp"
#include "app/standard_streams.hpp"

namespace mpimerge::app {
namespace {

using base::Bytes;

constexpr std::size_t kBadBlocksShown = 5;

// A block of the file, and whether it is as it was written.
struct Block {
  Bytes begin;  // in the file
  Bytes end;
  std::uint64_t checksum;
};

std::vector<Block> all_blocks(const output::Checksums& checksums) {
  std::vector<Block> blocks;
  for (const output::BlockChecksums& dataset : checksums.datasets) {
    for (std::size_t number = 0; number < dataset.blocks.size(); ++number) {
      const Bytes begin{number * output::kChecksumBlock.value()};
      const Bytes end = std::min(begin + output::kChecksumBlock, dataset.bytes);
      blocks.push_back({dataset.offset + begin, dataset.offset + end, dataset.blocks[number]});
    }
  }
  return blocks;
}

bool is_whole(const base::FileDescriptor& file, const std::string& path, const Block& block,
              std::vector<std::byte>& buffer) {
  XXH3_state_t hash;
  XXH3_64bits_reset(&hash);
  for (Bytes at = block.begin; at < block.end;) {
    const auto part =
        std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), (block.end - at).value()));
    base::read_exactly(file, path, at, part);
    XXH3_64bits_update(&hash, part.data(), part.size());
    at += Bytes{part.size()};
  }
  return XXH3_64bits_digest(&hash) == block.checksum;
}

// Which tensors have bytes in a block.
std::string tensors_in(const checkpoint::Catalog& catalog, const Block& block) {
  std::string first;
  std::size_t count = 0;
  for (const checkpoint::TensorInfo& tensor : catalog.tensors) {
    if (tensor.offset >= block.end || tensor.offset + tensor.bytes <= block.begin) continue;
    if (count++ == 0) first = base::printable(tensor.name);
  }
  if (count == 0) return "no tensor";
  return count == 1 ? fmt::format("tensor `{}`", first)
                    : fmt::format("tensor `{}` and {} more", first, count - 1);
}

[[noreturn]] void report(const std::string& path, const std::vector<Block>& blocks,
                         const std::vector<std::uint64_t>& bad) {
  const checkpoint::Catalog catalog = open_checkpoint(path);
  std::string text;
  for (std::size_t number = 0; number < std::min(bad.size(), kBadBlocksShown); ++number) {
    const Block& block = blocks[bad[number]];
    text += fmt::format("{}: damaged: bytes {} to {} are not what was written there: {}\n", path,
                        block.begin.value(), block.end.value(), tensors_in(catalog, block));
  }
  throw base::Error(base::ErrorKind::input,
                    fmt::format("{}{}: {} of {} blocks are damaged; merge again", text, path,
                                bad.size(), blocks.size()));
}

}  // namespace

int run_verify(const comm::Comm& comm, const VerifyOptions& options) {
  output::Checksums checksums;
  comm::collectively(comm, "open", [&] {
    if (comm.is_root()) checksums = output::read_checksums(options.path);
  });
  comm::bcast_object(comm, checksums);
  const std::vector<Block> blocks = all_blocks(checksums);

  std::vector<std::uint64_t> bad;
  comm::collectively(comm, "verify", [&] {
    const auto rank = static_cast<std::uint64_t>(comm.rank());
    const auto ranks = static_cast<std::uint64_t>(comm.ranks());
    const base::FileDescriptor file = base::open_for_reading(options.path);
    std::vector<std::byte> buffer(std::size_t{1} << 20);
    for (std::uint64_t number = blocks.size() * rank / ranks;
         number < blocks.size() * (rank + 1) / ranks; ++number) {
      if (!is_whole(file, options.path, blocks[number], buffer)) bad.push_back(number);
    }
  });
  const std::vector<char> gathered = comm::gather_bytes(
      comm, {reinterpret_cast<const char*>(bad.data()), bad.size() * sizeof(std::uint64_t)});
  comm::collectively(comm, "verify", [&] {
    std::vector<std::uint64_t> all(gathered.size() / sizeof(std::uint64_t));
    std::copy_n(gathered.begin(), gathered.size(), reinterpret_cast<char*>(all.data()));
    if (!all.empty()) report(options.path, blocks, all);
  });
  Bytes bytes;
  for (const output::BlockChecksums& dataset : checksums.datasets) bytes += dataset.bytes;
  comm::collectively(comm, "print", [&] {
    if (!comm.is_root()) return;
    print_result(fmt::format("whole: {} of parameters in {} blocks, and all metadata\n",
                             base::human_bytes(bytes), blocks.size()));
  });
  return 0;
}

}  // namespace mpimerge::app
