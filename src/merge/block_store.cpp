#include "mpimerge/merge/block_store.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/narrow.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/kernel/convert.hpp"

namespace mpimerge::merge {
namespace {

std::size_t aligned(std::size_t bytes) {
  return (bytes + plan::kMemoryAlignment - 1) / plan::kMemoryAlignment * plan::kMemoryAlignment;
}

// MADV_POPULATE_READ of Linux 5.14; older ones refuse it, and older headers do not name it.
constexpr int kPopulateRead = 22;

bool is_local(const base::FileDescriptor& file) {
  constexpr std::array<std::uint64_t, 6> kLocal{EXT4_SUPER_MAGIC,  XFS_SUPER_MAGIC,
                                                BTRFS_SUPER_MAGIC, TMPFS_MAGIC,
                                                F2FS_SUPER_MAGIC,  OVERLAYFS_SUPER_MAGIC};
  struct statfs status {};
  if (::fstatfs(file.get(), &status) != 0) return false;
  const auto type = static_cast<std::uint64_t>(status.f_type);
  return std::find(kLocal.begin(), kLocal.end(), type) != kLocal.end();
}

// Of the values that a block's bytes are made from.
base::Dtype dtype_in_file(const plan::Source& source, std::size_t tensor) {
  switch (source.extents[tensor].origin) {
    case plan::Origin::low_rank: return source.low_ranks.at(tensor).dtype;
    case plan::Origin::scaled: return source.scalings.at(tensor).dtype;
    default: return source.extents[tensor].dtype;
  }
}

}  // namespace

const base::FileDescriptor& FileCache::open(Key key, const std::string& path) {
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->second;
  }
  base::FileDescriptor file = base::open_for_reading(path);
  if (entries_.size() >= most_) {
    by_key_.erase(entries_.back().first);
    entries_.pop_back();
  }
  entries_.emplace_front(key, std::move(file));
  by_key_[key] = entries_.begin();
  return entries_.front().second;
}

std::size_t open_files_limit() {
  constexpr rlim_t kFewest = 16;
  constexpr rlim_t kMost = 4096;
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  return std::clamp(limit.rlim_cur / 2, kFewest, kMost);
}

LargeMemory::LargeMemory(std::size_t bytes) {
  if (bytes == 0) return;
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    throw base::Error(base::ErrorKind::resources,
                      fmt::format("the system gives no {} of memory for data: {}; give less "
                                  "with --memory",
                                  base::human_bytes(base::Bytes{bytes}), std::strerror(errno)));
  }
  ::madvise(memory, bytes, MADV_HUGEPAGE);
  bytes_ = {static_cast<std::byte*>(memory), bytes};
}

LargeMemory::LargeMemory(LargeMemory&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

LargeMemory& LargeMemory::operator=(LargeMemory&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

LargeMemory::~LargeMemory() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

MappedFile::MappedFile(const base::FileDescriptor& file, base::Bytes size) {
  if (size == base::Bytes{} || !is_local(file)) return;
  void* const memory = ::mmap(nullptr, size.value(), PROT_READ, MAP_SHARED, file.get(), 0);
  if (memory != MAP_FAILED) bytes_ = {static_cast<const std::byte*>(memory), size.value()};
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

std::optional<std::span<const std::byte>> MappedFile::populate(std::uint64_t offset,
                                                               std::uint64_t bytes) const {
  if (offset + bytes > bytes_.size()) return std::nullopt;
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t begin = offset / page * page;
  // Unlike a touch, this tells of an unreadable disk by its return value.
  if (::madvise(const_cast<std::byte*>(bytes_.data()) + begin, offset + bytes - begin,
                kPopulateRead) != 0)
    return std::nullopt;
  return bytes_.subspan(offset, bytes);
}

BlockStore::BlockStore(const plan::Plan& plan, const plan::ReadPlan& reads, std::uint64_t rank,
                       bool keeps)
    : plan_(plan), rank_(rank), keeps_(keeps), files_(open_files_limit()) {
  if (!keeps) return;
  const plan::Traffic traffic = plan::predict_traffic(plan, reads, rank, {});
  // Mapped pages come with their neighbours: too many where the memory is short.
  maps_ = traffic.resident == traffic.keepable;
  capacity_ = traffic.resident.value();
}

const BlockData& BlockStore::load(const plan::Block& block) {
  const std::pair key(block.group, block.range.begin.value());
  if (const auto kept = kept_.find(key); kept != kept_.end()) return kept->second;
  if (holds_ && passing_is_whole_ && passing_.group == block.group && passing_.range == block.range)
    return passing_;
  Layout layout = lay_out(block, 0, plan_.sources.size() - 1);
  const std::size_t needed = plan::memory_bytes(plan_, block).value();
  if (keeps_ && plan_.merges(block.group) && needed <= capacity_ - filled_) {
    if (!maps_ || !map(layout)) {
      // Only now: where the system promises no memory that it does not have, address space counts.
      if (resident_.bytes().empty()) resident_ = LargeMemory(capacity_);
      read(layout, resident_.bytes().subspan(filled_, needed));
    }
    filled_ += needed;
    return kept_.emplace(key, std::move(layout.data)).first->second;
  }
  passing_is_whole_ = false;  // should the read fail
  read(layout, passing(layout.bytes));
  passing_ = std::move(layout.data);
  passing_is_whole_ = true;
  return passing_;
}

const BlockData& BlockStore::peek(const plan::Block& block, std::size_t first_task,
                                  std::size_t last_task) {
  Layout layout = lay_out(block, first_task, last_task);
  passing_is_whole_ = false;
  read(layout, passing(layout.bytes));
  passing_ = std::move(layout.data);
  return passing_;
}

void BlockStore::read_ahead(const plan::Block& block) {
  if (kept_.contains({block.group, block.range.begin.value()})) return;
  const Layout layout = lay_out(block, 0, plan_.sources.size() - 1);
  const auto advise = [&](const Read& part) {
    const base::FileDescriptor& file = files_.open(part.file, path_of(part.file));
    ::posix_fadvise(file.get(), base::narrow<off_t>(part.offset), base::narrow<off_t>(part.bytes),
                    POSIX_FADV_WILLNEED);
  };
  for (const Read& part : layout.reads) advise(part);
  for (const Made& part : layout.made) {
    if (part.base.bytes > 0) advise(part.base);
  }
}

BlockStore::Layout BlockStore::lay_out(const plan::Block& block, std::size_t first_task,
                                       std::size_t last_task) const {
  Layout layout;
  BlockData& data = layout.data;
  data.group = block.group;
  data.range = block.range;
  data.segments = plan::segments(plan_, block.group, block.range);
  data.parts.resize(plan_.sources.size() * data.segments.size());
  layout.places.resize(data.parts.size());
  for (std::size_t source = 0; source < plan_.sources.size(); ++source) {
    if (source > 0 && (source - 1 < first_task || source - 1 >= last_task)) continue;
    const std::size_t first_read = layout.reads.size();
    for (std::size_t number = 0; number < data.segments.size(); ++number) {
      const plan::Segment& segment = data.segments[number];
      if (source > 0 && plan_.tensors[segment.tensor].role == plan::Role::copy) continue;
      const plan::Extent& extent = plan_.sources[source].extents[segment.tensor];
      if (extent.is_absent()) continue;
      const std::uint64_t bytes = plan::source_bytes(plan_, source, segment).value();
      const base::Dtype dtype = dtype_in_file(plan_.sources[source], segment.tensor);
      const std::uint64_t offset = extent.offset.value() + segment.elements.begin.value() *
                                                               base::element_bytes(dtype).value();
      const std::size_t part = source * data.segments.size() + number;
      Read* const last = layout.reads.size() > first_read ? &layout.reads.back() : nullptr;
      if (extent.origin != plan::Origin::file) {
        layout.bytes = aligned(layout.bytes);
        layout.places[part].begin = layout.bytes;
        const std::uint64_t of_base = extent.origin == plan::Origin::mosaic
                                          ? 0
                                          : plan::read_bytes(plan_, source, segment).value();
        layout.made.push_back({source, number, {{source, extent.file}, offset, of_base, 0}});
      } else if (last != nullptr && last->file.second == extent.file &&
                 last->offset + last->bytes == offset && last->to + last->bytes == layout.bytes) {
        // Goes on where the tensor before ends: in memory too, whatever the alignment.
        layout.places[part].begin = last->to + last->bytes;
        last->bytes += bytes;
      } else {
        layout.bytes = aligned(layout.bytes);
        layout.places[part].begin = layout.bytes;
        layout.reads.push_back({{source, extent.file}, offset, bytes, layout.bytes});
      }
      layout.places[part].bytes = bytes;
      layout.bytes = layout.places[part].begin + bytes;
    }
  }
  layout.bytes = aligned(layout.bytes);
  return layout;
}

void BlockStore::read(Layout& layout, std::span<std::byte> memory) {
  for (const Read& part : layout.reads) {
    const std::string& path = path_of(part.file);
    base::read_exactly(files_.open(part.file, path), path, base::Bytes{part.offset},
                       memory.subspan(part.to, part.bytes));
    bytes_read_ += base::Bytes{part.bytes};
  }
  for (std::size_t part = 0; part < layout.places.size(); ++part) {
    const Place& place = layout.places[part];
    layout.data.parts[part] = memory.subspan(place.begin, place.bytes);
  }
  for (const Made& part : layout.made) {
    const Place& place = layout.places[part.source * layout.data.segments.size() + part.segment];
    make(layout, part, memory.subspan(place.begin, place.bytes));
  }
}

// Fills a part whose values no file holds.
void BlockStore::make(const Layout& layout, const Made& part, std::span<std::byte> memory) {
  const plan::Segment& segment = layout.data.segments[part.segment];
  const plan::Extent& extent = plan_.sources[part.source].extents[segment.tensor];
  // Parts of memory are aligned to much more.
  const std::span floats(reinterpret_cast<float*>(memory.data()), memory.size() / sizeof(float));
  switch (extent.origin) {
    case plan::Origin::low_rank: return make_sum(part, segment, floats);
    case plan::Origin::scaled: return make_product(part, segment, floats);
    case plan::Origin::mosaic: return make_mosaic(part, segment, floats);
    default: break;
  }
  const std::uint64_t element = extent.element_bytes();
  std::array<float, 1024> values{};
  values.fill(extent.origin == plan::Origin::ones ? 1.0F : 0.0F);
  while (!memory.empty()) {
    const std::size_t elements = std::min<std::size_t>(values.size(), memory.size() / element);
    kernel::from_f32(extent.dtype, std::span(values).first(elements),
                     memory.first(elements * element));
    memory = memory.subspan(elements * element);
  }
}

// Values of the base, and what an adapter adds to them.
void BlockStore::make_sum(const Made& part, const plan::Segment& segment, std::span<float> values) {
  const plan::LowRank& low = plan_.sources[part.source].low_ranks.at(segment.tensor);
  read_floats(part.base.file, low.dtype, part.base.offset, values);
  bytes_read_ += base::Bytes{part.base.bytes};
  add_low_rank(factors_of(part.source, segment.tensor), segment.elements.begin.value(), values);
}

// Values of the base, each times the number that an adapter has for its row or column.
void BlockStore::make_product(const Made& part, const plan::Segment& segment,
                              std::span<float> values) {
  const plan::Scaling& scaling = plan_.sources[part.source].scalings.at(segment.tensor);
  read_floats(part.base.file, scaling.dtype, part.base.offset, values);
  bytes_read_ += base::Bytes{part.base.bytes};
  const std::vector<float>& vector = vector_of(part.source, segment.tensor);
  const std::uint64_t first = segment.elements.begin.value();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint64_t element = first + i;
    values[i] *= vector[scaling.by_column ? element % scaling.columns : element / scaling.columns];
  }
}

// Values of several tensors that make up one.
void BlockStore::make_mosaic(const Made& part, const plan::Segment& segment,
                             std::span<float> values) {
  const plan::Mosaic& mosaic = plan_.sources[part.source].mosaics.at(segment.tensor);
  const std::uint64_t first = segment.elements.begin.value();
  std::vector<float> found;
  for (const plan::MosaicRead& read : plan::mosaic_reads(mosaic, segment.elements)) {
    const plan::Mosaic::Part& of = mosaic.parts[read.part];
    const std::uint64_t element = of.extent.element_bytes();
    found.resize(read.elements.count().value());
    read_floats({part.source, of.extent.file}, of.extent.dtype,
                of.extent.offset.value() + read.elements.begin.value() * element, found);
    bytes_read_ += base::Bytes{found.size() * element};
    const std::uint64_t row = mosaic.is_side_by_side ? of.last - of.first : mosaic.columns;
    const std::uint64_t before = mosaic.is_side_by_side ? of.first : of.first * mosaic.columns;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const std::uint64_t at = read.elements.begin.value() + i;
      values[at / row * mosaic.columns + before + at % row - first] = of.scale * found[i];
    }
  }
}

// What is known of the tensor's adapter; another tensor's is forgotten.
BlockStore::Kept& BlockStore::kept_of(std::size_t source, std::size_t tensor) {
  const auto known = factors_.find(source);
  if (known != factors_.end() && known->second.tensor == tensor) return known->second;
  if (known != factors_.end()) factors_.erase(known);  // before the next take memory
  return factors_.emplace(source, Kept{tensor, {}, {}}).first->second;
}

const Factors& BlockStore::factors_of(std::size_t source, std::size_t tensor) {
  Factors& factors = kept_of(source, tensor).factors;
  if (factors.rank != 0) return factors;
  const plan::LowRank& low = plan_.sources[source].low_ranks.at(tensor);
  Factors read{low.rank, low.columns, low.scaling, {}, {}};
  if (low.is_transposed) {
    read.left = transposed(read_factor(source, low.a, low.rank * low.rows), low.rank);
    read.right = transposed(read_factor(source, low.b, low.columns * low.rank), low.columns);
  } else {
    read.left = read_factor(source, low.b, low.rows * low.rank);
    read.right = read_factor(source, low.a, low.rank * low.columns);
  }
  return factors = std::move(read);
}

const std::vector<float>& BlockStore::vector_of(std::size_t source, std::size_t tensor) {
  std::vector<float>& vector = kept_of(source, tensor).vector;
  const plan::Scaling& scaling = plan_.sources[source].scalings.at(tensor);
  if (vector.empty()) {
    vector =
        read_factor(source, scaling.vector, scaling.by_column ? scaling.columns : scaling.rows);
  }
  return vector;
}

std::vector<float> BlockStore::read_factor(std::size_t source, const plan::Extent& extent,
                                           std::uint64_t elements) {
  std::vector<float> values(elements);
  read_floats({source, extent.file}, extent.dtype, extent.offset.value(), values);
  return values;
}

void BlockStore::read_floats(FileCache::Key key, base::Dtype dtype, std::uint64_t offset,
                             std::span<float> values) {
  constexpr std::size_t kElementsPerRead = std::size_t{1} << 18;
  const std::uint64_t element = base::element_bytes(dtype).value();
  const std::string& path = path_of(key);
  while (!values.empty()) {
    const std::size_t elements = std::min(kElementsPerRead, values.size());
    raw_.resize(elements * element);
    base::read_exactly(files_.open(key, path), path, base::Bytes{offset}, raw_);
    kernel::to_f32(dtype, raw_, values.first(elements));
    offset += raw_.size();
    values = values.subspan(elements);
  }
}

// Shows the block's files in memory. false: it has to be read.
bool BlockStore::map(Layout& layout) {
  if (!layout.made.empty()) return false;
  std::vector<std::span<const std::byte>> ranges;
  for (const Read& part : layout.reads) {
    auto found = mapped_.find(part.file);
    if (found == mapped_.end()) {
      const std::string& path = path_of(part.file);
      const base::FileDescriptor& file = files_.open(part.file, path);
      found = mapped_.emplace(part.file, MappedFile(file, base::file_size(file, path))).first;
    }
    const auto range = found->second.populate(part.offset, part.bytes);
    if (!range) return false;
    ranges.push_back(*range);
  }
  for (std::size_t number = 0; number < ranges.size(); ++number) {
    const Read& part = layout.reads[number];
    bytes_read_ += base::Bytes{part.bytes};
    for (std::size_t each = 0; each < layout.places.size(); ++each) {
      const Place& place = layout.places[each];
      if (place.bytes > 0 && place.begin >= part.to && place.begin < part.to + part.bytes)
        layout.data.parts[each] = ranges[number].subspan(place.begin - part.to, place.bytes);
    }
  }
  return true;
}

std::span<std::byte> BlockStore::passing(std::size_t bytes) {
  if (passing_memory_.bytes().size() < bytes) {
    passing_memory_ = LargeMemory();  // before the next is taken
    passing_memory_ = LargeMemory(bytes);
  }
  return passing_memory_.bytes().first(bytes);
}

const std::string& BlockStore::path_of(const FileCache::Key& file) const {
  return plan_.sources[file.first].files[file.second];
}

}  // namespace mpimerge::merge
