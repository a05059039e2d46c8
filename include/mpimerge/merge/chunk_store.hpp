#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/index.hpp"
#include "mpimerge/plan/plan.hpp"

namespace mpimerge::merge {

/// The raw bytes of one chunk of every source that it needs: all for tensors to merge, the base's
/// for tensors to copy.
struct ChunkData {
  std::size_t group = 0;
  base::ElementRange range;
  std::vector<plan::Segment> segments;

  /// Local. The bytes of `segments[segment]` in `source`, in that source's type; any alignment.
  [[nodiscard]] std::span<const std::byte> bytes(std::size_t source, std::size_t segment) const;

  std::unique_ptr<std::byte[]> memory;
  std::size_t memory_bytes = 0;
  std::vector<std::span<const std::byte>> parts;  ///< [sources × segments]
};

/// Opens input files when they are first needed and keeps at most `most` of them open.
class FileCache {
 public:
  explicit FileCache(std::size_t most) : most_(most) {}
  /// Local.
  /// Errors: Error{input} as base::open_for_reading.
  const base::FileDescriptor& open(const std::string& path);

 private:
  struct Entry {
    std::string path;
    base::FileDescriptor file;
  };
  std::size_t most_;
  std::list<Entry> entries_;  ///< latest used first
};

/// Gives a rank its chunks, pass after pass. As many as fit the budget stay in memory and are read
/// once; the others are read again in every pass. All local.
class ChunkStore {
 public:
  /// Local. @param memory  bytes that resident chunks may take together
  ChunkStore(const plan::Plan& plan, std::uint64_t rank, base::Bytes memory);

  /// Local. The chunk of a round; valid until the next call. Reads what is not resident, adjacent
  /// ranges of a file in one go.
  /// Errors: Error{input} that names the file: shorter than its header said, unreadable.
  const ChunkData& load(std::size_t group, std::uint64_t round);

  /// Local. Gives back a resident chunk's memory after its last use.
  void release(std::size_t group, std::uint64_t round);

  /// Local. So far.
  [[nodiscard]] base::Bytes bytes_read() const noexcept { return bytes_read_; }

  /// Local. Whether every chunk loaded so far stayed in memory.
  [[nodiscard]] bool resident() const noexcept { return resident_; }

 private:
  [[nodiscard]] ChunkData read(std::size_t group, std::uint64_t round);

  const plan::Plan& plan_;
  std::uint64_t rank_;
  std::uint64_t budget_;
  bool resident_ = true;
  base::Bytes bytes_read_;
  FileCache files_;
  std::map<std::pair<std::size_t, std::uint64_t>, ChunkData> kept_;
  ChunkData passing_;  ///< the chunk of the last `load` that is not kept
};

}  // namespace mpimerge::merge
