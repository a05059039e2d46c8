#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include <boost/serialization/string.hpp>
#include <boost/serialization/vector.hpp>
#include <fmt/format.h>
#include <xxhash.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/checkpoint/catalog.hpp"
#include "mpimerge/comm/abort.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/comm/object.hpp"
#include "mpimerge/output/checksums.hpp"

#include "app/commands/commands.hpp"
#include "app/inputs.hpp"
#include "app/standard_streams.hpp"
#include "app/watchdog.hpp"

namespace mpimerge::app {
namespace {

using base::Bytes;

constexpr std::size_t kBadBlocksShown = 5;

/// Files whose parameters are covered by blocks, and these blocks.
struct Covered {
  std::vector<std::string> files;
  std::vector<output::BlockChecksums> parts;  ///< of files[file_of[part]]
  std::vector<std::uint64_t> file_of;

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& files& parts& file_of;
  }
};

// Everything but the parameters is proved on the way.
Covered open_covered(const std::string& path) {
  Covered covered;
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    covered.parts = output::read_directory_checksums(path);
    for (const output::BlockChecksums& part : covered.parts) {
      covered.file_of.push_back(covered.files.size());
      covered.files.push_back((std::filesystem::path(path) / part.name).string());
    }
    return covered;
  }
  covered.files = {path};
  covered.parts = output::read_checksums(path).datasets;
  covered.file_of.resize(covered.parts.size());
  return covered;
}

// A block of a file, and the checksum that it was written with.
struct Block {
  std::uint64_t file;
  Bytes begin;  // in the file
  Bytes end;
  std::uint64_t checksum;
};

std::vector<Block> all_blocks(const Covered& covered) {
  std::vector<Block> blocks;
  for (std::size_t which = 0; which < covered.parts.size(); ++which) {
    const output::BlockChecksums& part = covered.parts[which];
    for (std::size_t number = 0; number < part.blocks.size(); ++number) {
      const Bytes begin{number * output::kChecksumBlock.value()};
      const Bytes end = std::min(begin + output::kChecksumBlock, part.bytes);
      blocks.push_back(
          {covered.file_of[which], part.offset + begin, part.offset + end, part.blocks[number]});
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
std::string tensors_in(const checkpoint::Catalog& catalog, const std::string& file,
                       const Block& block) {
  std::string first;
  std::size_t count = 0;
  for (const checkpoint::TensorInfo& tensor : catalog.tensors) {
    if (catalog.files[tensor.file] != file || tensor.offset >= block.end ||
        tensor.offset + tensor.bytes <= block.begin)
      continue;
    if (count++ == 0) first = base::printable(tensor.name);
  }
  if (count == 0) return "no tensor";
  return count == 1 ? fmt::format("tensor `{}`", first)
                    : fmt::format("tensor `{}` and {} more", first, count - 1);
}

[[noreturn]] void report(const std::string& path, const Covered& covered,
                         const std::vector<Block>& blocks, const std::vector<std::uint64_t>& bad) {
  const checkpoint::Catalog catalog = open_checkpoint(path);
  std::string text;
  for (std::size_t number = 0; number < std::min(bad.size(), kBadBlocksShown); ++number) {
    const Block& block = blocks[bad[number]];
    const std::string& file = covered.files[block.file];
    text += fmt::format("{}: damaged: bytes {} to {} are not what was written there: {}\n", file,
                        block.begin.value(), block.end.value(), tensors_in(catalog, file, block));
  }
  throw base::Error(base::ErrorKind::input,
                    fmt::format("{}{}: {} of {} blocks are damaged; merge again", text, path,
                                bad.size(), blocks.size()));
}

// This rank's share of the blocks, those that are damaged.
std::vector<std::uint64_t> damaged_blocks(const comm::Comm& comm, const Covered& covered,
                                          const std::vector<Block>& blocks, Watchdog& watchdog) {
  std::vector<std::uint64_t> bad;
  const auto rank = static_cast<std::uint64_t>(comm.rank());
  const auto ranks = static_cast<std::uint64_t>(comm.ranks());
  std::vector<std::byte> buffer(std::size_t{1} << 20);
  base::FileDescriptor file;
  std::uint64_t opened = covered.files.size();  // none; blocks are in the order of files
  for (std::uint64_t number = blocks.size() * rank / ranks;
       number < blocks.size() * (rank + 1) / ranks; ++number) {
    watchdog.feed("verify");
    const Block& block = blocks[number];
    const std::string& path = covered.files[block.file];
    if (block.file != opened) file = base::open_for_reading(path);
    opened = block.file;
    if (!is_whole(file, path, block, buffer)) bad.push_back(number);
  }
  return bad;
}

}  // namespace

int run_verify(const comm::Comm& comm, const VerifyOptions& options) {
  Watchdog watchdog(comm::name_of_rank(comm), options.watchdog, kRunAgain);
  watchdog.feed("open");
  Covered covered;
  comm::collectively(comm, "open", [&] {
    if (comm.is_root()) covered = open_covered(options.path);
  });
  comm::bcast_object(comm, covered);
  const std::vector<Block> blocks = all_blocks(covered);

  std::vector<std::uint64_t> bad;
  comm::collectively(comm, "verify",
                     [&] { bad = damaged_blocks(comm, covered, blocks, watchdog); });
  const std::vector<char> gathered = comm::gather_bytes(
      comm, {reinterpret_cast<const char*>(bad.data()), bad.size() * sizeof(std::uint64_t)});
  comm::collectively(comm, "verify", [&] {
    std::vector<std::uint64_t> all(gathered.size() / sizeof(std::uint64_t));
    std::copy_n(gathered.begin(), gathered.size(), reinterpret_cast<char*>(all.data()));
    if (!all.empty()) report(options.path, covered, blocks, all);
  });
  Bytes bytes;
  for (const output::BlockChecksums& part : covered.parts) bytes += part.bytes;
  comm::collectively(comm, "print", [&] {
    if (!comm.is_root()) return;
    print_result(fmt::format("whole: {} of parameters in {} blocks, and all metadata\n",
                             base::human_bytes(bytes), blocks.size()));
  });
  return 0;
}

}  // namespace mpimerge::app
