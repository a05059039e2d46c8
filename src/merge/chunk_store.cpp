#include "mpimerge/merge/chunk_store.hpp"

#include <utility>

namespace mpimerge::merge {
namespace {

// Far below the usual limit of 1,024 descriptors, which MPI and HDF5 need a part of.
constexpr std::size_t kOpenFiles = 128;

// Bytes that lie together in a file and are wanted together in memory.
struct Read {
  std::uint32_t file;
  std::uint64_t offset;
  std::uint64_t bytes;
  std::size_t to;
};

}  // namespace

const base::FileDescriptor& FileCache::open(const std::string& path) {
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    if (entry->path != path) continue;
    entries_.splice(entries_.begin(), entries_, entry);
    return entry->file;
  }
  if (entries_.size() >= most_) entries_.pop_back();
  entries_.push_front({path, base::open_for_reading(path)});
  return entries_.front().file;
}

std::span<const std::byte> ChunkData::bytes(std::size_t source, std::size_t segment) const {
  return parts[source * segments.size() + segment];
}

ChunkStore::ChunkStore(const plan::Plan& plan, std::uint64_t rank, base::Bytes memory)
    : plan_(plan), rank_(rank), budget_(memory.value()), files_(kOpenFiles) {}

const ChunkData& ChunkStore::load(std::size_t group, std::uint64_t round) {
  const std::pair key(group, round);
  if (const auto kept = kept_.find(key); kept != kept_.end()) return kept->second;
  passing_ = ChunkData{};  // before the next is allocated
  ChunkData chunk = read(group, round);
  if (chunk.memory_bytes <= budget_) {
    budget_ -= chunk.memory_bytes;
    return kept_.emplace(key, std::move(chunk)).first->second;
  }
  resident_ = false;
  passing_ = std::move(chunk);
  return passing_;
}

void ChunkStore::release(std::size_t group, std::uint64_t round) {
  const auto kept = kept_.find({group, round});
  if (kept == kept_.end()) return;
  // The budget is not given back: a chunk that was not resident in one pass should not take it in
  // the next.
  kept_.erase(kept);
}

ChunkData ChunkStore::read(std::size_t group, std::uint64_t round) {
  ChunkData chunk;
  chunk.group = group;
  chunk.range = plan_.chunk(group, rank_, round);
  chunk.segments = plan::segments(plan_, group, chunk.range);
  const std::size_t sources = plan_.sources.size();
  chunk.parts.resize(sources * chunk.segments.size());
  for (std::size_t source = 0; source < sources; ++source) {
    for (const plan::Segment& segment : chunk.segments) {
      if (source > 0 && plan_.tensors[segment.tensor].role == plan::Role::copy) continue;
      chunk.memory_bytes += plan::source_bytes(plan_, source, segment).value();
    }
  }
  chunk.memory = std::make_unique_for_overwrite<std::byte[]>(chunk.memory_bytes);

  std::size_t filled = 0;
  for (std::size_t source = 0; source < sources; ++source) {
    const auto& extents = plan_.sources[source].extents;
    std::vector<Read> reads;
    for (std::size_t number = 0; number < chunk.segments.size(); ++number) {
      const plan::Segment& segment = chunk.segments[number];
      if (source > 0 && plan_.tensors[segment.tensor].role == plan::Role::copy) continue;
      const plan::Extent& extent = extents[segment.tensor];
      const std::uint64_t bytes = plan::source_bytes(plan_, source, segment).value();
      const std::uint64_t offset =
          extent.offset.value() +
          segment.elements.begin.value() * base::element_bytes(extent.dtype).value();
      chunk.parts[source * chunk.segments.size() + number] = {chunk.memory.get() + filled, bytes};
      if (!reads.empty() && reads.back().file == extent.file &&
          reads.back().offset + reads.back().bytes == offset) {
        reads.back().bytes += bytes;
      } else {
        reads.push_back({extent.file, offset, bytes, filled});
      }
      filled += bytes;
    }
    for (const Read& part : reads) {
      const std::string& path = plan_.sources[source].files[part.file];
      base::read_exactly(files_.open(path), path, base::Bytes{part.offset},
                         {chunk.memory.get() + part.to, part.bytes});
      bytes_read_ += base::Bytes{part.bytes};
    }
  }
  return chunk;
}

}  // namespace mpimerge::merge
