#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/index.hpp"
#include "mpimerge/base/unique_handle.hpp"
#include "mpimerge/merge/low_rank.hpp"
#include "mpimerge/plan/plan.hpp"
#include "mpimerge/plan/read_plan.hpp"

namespace mpimerge::merge {

/// The raw bytes of one block of every source that it needs: all that have the tensor for tensors to
/// merge, the base's for tensors to copy.
struct BlockData {
  std::size_t group = 0;
  base::ElementRange range;
  std::vector<plan::Segment> segments;
  std::vector<std::span<const std::byte>> parts;  ///< [sources × segments]

  /// Local. The bytes of `segments[segment]` in `source`, in that source's type; any alignment.
  [[nodiscard]] std::span<const std::byte> bytes(std::size_t source, std::size_t segment) const {
    return parts[source * segments.size() + segment];
  }
};

/// Opens input files when they are first needed and keeps at most `most` of them open.
class FileCache {
 public:
  /// One file of one source of the plan.
  using Key = std::pair<std::size_t, std::uint32_t>;

  explicit FileCache(std::size_t most) : most_(most) {}
  /// Local.
  /// Errors: Error{input} as base::open_for_reading.
  const base::FileDescriptor& open(Key key, const std::string& path);

 private:
  using Entry = std::pair<Key, base::FileDescriptor>;
  std::size_t most_;
  std::list<Entry> entries_;  ///< latest used first
  std::map<Key, std::list<Entry>::iterator> by_key_;
};

/// Local. How many input files a process may hold open beside all else: half of its limit.
std::size_t open_files_limit();

/// Memory straight from the system, in large pages where it has them: touched for the first time,
/// small pages cost as much as reading the file.
class LargeMemory {
 public:
  LargeMemory() = default;
  /// Local. Takes address space; pages come when they are touched.
  /// Errors: Error{resources}: the system gives no more.
  explicit LargeMemory(std::size_t bytes);
  LargeMemory(LargeMemory&& other) noexcept;
  LargeMemory& operator=(LargeMemory&& other) noexcept;
  ~LargeMemory();

  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }

 private:
  std::span<std::byte> bytes_;
};

/// A file's bytes in the page cache, shown in memory: no copy, and no fresh memory to fill.
class MappedFile {
 public:
  /// Local. Empty where the file system is not a local one (pages of others come one by one, or
  /// slowly) or does not map.
  MappedFile(const base::FileDescriptor& file, base::Bytes size);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile();

  /// Local. Brings a range into memory and waits for it.
  /// @return nothing where that failed or the system cannot say: read it then, for the reason
  [[nodiscard]] std::optional<std::span<const std::byte>> populate(std::uint64_t offset,
                                                                   std::uint64_t bytes) const;

 private:
  std::span<const std::byte> bytes_;
};

/// Gives a rank its blocks, pass after pass. As many as fit the plan's memory stay there and are
/// read once; the others are read again in every pass. All local.
class BlockStore {
 public:
  /// Local. Keeps references to both plans.
  /// @param keeps  false: no block will be asked for twice, so none stays
  BlockStore(const plan::Plan& plan, const plan::ReadPlan& reads, std::uint64_t rank, bool keeps);

  /// Local. A block of the plan; valid until the next call. Reads what is not resident, adjacent
  /// ranges of a file in one go.
  /// Errors: Error{input} that names the file: shorter than its header said, unreadable.
  const BlockData& load(const plan::Block& block);

  /// Local. From now on (or not any more) a block that is asked for several times in a row is read
  /// once.
  void hold(bool holds) noexcept {
    holds_ = holds;
    passing_is_whole_ = false;
  }

  /// Local. Any range, of the base and of the tasks [first, last) only; never kept.
  const BlockData& peek(const plan::Block& block, std::size_t first_task, std::size_t last_task);

  /// Local. Asks the system to begin reading a block that will be loaded soon, if it has to be
  /// read. A hint: may do nothing.
  void read_ahead(const plan::Block& block);

  /// Local. Whose blocks these are.
  [[nodiscard]] std::uint64_t rank() const noexcept { return rank_; }
  /// Local. So far.
  [[nodiscard]] base::Bytes bytes_read() const noexcept { return bytes_read_; }
  /// Local. Bytes of memory that resident blocks hold.
  [[nodiscard]] base::Bytes resident_bytes() const noexcept { return base::Bytes{filled_}; }

 private:
  // Bytes that lie together in a file.
  struct Read {
    FileCache::Key file;
    std::uint64_t offset;
    std::uint64_t bytes;
    std::size_t to;  // in the block's memory
  };
  struct Place {
    std::size_t begin = 0;  // in the block's memory
    std::size_t bytes = 0;
  };
  // A part whose values no file holds as they are.
  struct Made {
    std::size_t source;
    std::size_t segment;
    Read base;  // what an adapter changes; nothing where there is no such
  };
  // Factors of an adapter, or its vector, and of which tensor.
  struct Kept {
    std::size_t tensor;
    Factors factors;
    std::vector<float> vector;
  };
  // What to read for a block, and where its parts stand then.
  struct Layout {
    BlockData data;
    std::vector<Read> reads;
    std::vector<Made> made;
    std::vector<Place> places;  // of data.parts
    std::size_t bytes = 0;
  };

  [[nodiscard]] Layout lay_out(const plan::Block& block, std::size_t first_task,
                               std::size_t last_task) const;
  void read(Layout& layout, std::span<std::byte> memory);
  void make(const Layout& layout, const Made& part, std::span<std::byte> memory);
  void make_sum(const Made& part, const plan::Segment& segment, std::span<float> values);
  void make_product(const Made& part, const plan::Segment& segment, std::span<float> values);
  void make_mosaic(const Made& part, const plan::Segment& segment, std::span<float> values);
  Kept& kept_of(std::size_t source, std::size_t tensor);
  const Factors& factors_of(std::size_t source, std::size_t tensor);
  const std::vector<float>& vector_of(std::size_t source, std::size_t tensor);
  void read_floats(FileCache::Key key, base::Dtype dtype, std::uint64_t offset,
                   std::span<float> values);
  std::vector<float> read_factor(std::size_t source, const plan::Extent& extent,
                                 std::uint64_t elements);
  bool map(Layout& layout);
  std::span<std::byte> passing(std::size_t bytes);
  const std::string& path_of(const FileCache::Key& file) const;

  const plan::Plan& plan_;
  std::uint64_t rank_;
  bool keeps_;
  bool maps_ =
      false;  ///< resident blocks are shown where they lie in the page cache, if they can be
  base::Bytes bytes_read_;
  FileCache files_;
  std::map<FileCache::Key, MappedFile> mapped_;
  std::size_t capacity_ = 0;  ///< bytes that resident blocks may take
  LargeMemory resident_;      ///< of `capacity_`, from the first block on that is not mapped
  std::size_t filled_ = 0;    ///< of `capacity_`
  std::map<std::pair<std::size_t, std::uint64_t>, BlockData> kept_;
  std::map<std::size_t, Kept> factors_;  ///< by source: those of its last tensor
  std::vector<std::byte> raw_;
  LargeMemory passing_memory_;
  BlockData passing_;  ///< the last block that is not kept
  bool holds_ = false;
  bool passing_is_whole_ = false;  ///< of all sources: `load` gave it
};

}  // namespace mpimerge::merge
