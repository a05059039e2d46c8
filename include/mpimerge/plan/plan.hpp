#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/base/index.hpp"
#include "mpimerge/plan/shard_map.hpp"

namespace mpimerge::plan {

/// What happens to a tensor.
enum class Role : std::uint8_t {
  merge,  ///< floating: takes part in the merge
  copy,   ///< everything else, and what the job leaves out: the base's values
};

/// One tensor of the output, or its first rows: where some model lacks the others, these follow as a
/// tensor of their own, to be copied.
struct Tensor {
  std::string name;
  std::vector<std::uint64_t> shape;
  base::Elements elements;
  base::Elements offset;  ///< of its first element in its group
  Role role = Role::merge;
  bool is_rest = false;  ///< of the tensor before it, whose last rows it holds
  /// The tensor that this one is again in all models, in Plan::tensors: it is merged alike, and
  /// counts in nothing that is found out about the whole model.
  std::uint64_t twin = kNone;

  static constexpr std::uint64_t kNone = UINT64_MAX;
  /// Local. Whether its elements are among Plan::merged.
  [[nodiscard]] bool counts() const noexcept { return role == Role::merge && twin == kNone; }

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& name& shape& elements& offset& role& is_rest& twin;
  }
};

/// All tensors of one output type, back to back in the base's storage order: one dataset of the
/// output. Each group is cut over all ranks, so that every rank has a part in every write.
struct Group {
  base::Dtype dtype = base::Dtype::f32;  ///< of the output
  base::Elements elements;
  base::Elements block;            ///< shards begin at multiples of it
  base::Elements chunk;            ///< a shard is worked on in pieces of at most these
  std::uint64_t first_tensor = 0;  ///< its tensors are [first_tensor, last_tensor) of Plan::tensors
  std::uint64_t last_tensor = 0;

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& dtype& elements& block& chunk& first_tensor& last_tensor;
  }
};

/// Where the values of a tensor come from.
enum class Origin : std::uint8_t {
  file,      ///< they are read
  zeros,     ///< they all are 0
  ones,      ///< they all are 1
  low_rank,  ///< those that are read, and what an adapter adds (Source::low_ranks)
  scaled,    ///< those that are read, times those of a vector (Source::scalings)
  mosaic,    ///< those of several tensors (Source::mosaics)
};

/// Where a checkpoint holds a tensor.
struct Extent {
  std::uint32_t file = 0;                ///< index into Source::files
  base::Dtype dtype = base::Dtype::f32;  ///< of its values in memory
  Origin origin = Origin::file;
  base::Bytes offset;  ///< of its first byte in the file

  static constexpr std::uint32_t kAbsent = UINT32_MAX;
  /// Local. Whether the checkpoint has no such tensor.
  [[nodiscard]] bool is_absent() const noexcept { return file == kAbsent; }
  /// Local. What each element takes in memory; nothing of an absent tensor.
  [[nodiscard]] std::uint64_t element_bytes() const {
    return is_absent() ? 0 : base::element_bytes(dtype).value();
  }

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& file& dtype& origin& offset;
  }
};

/// What an adapter adds to a matrix: scaling · B · A, in float32.
struct LowRank {
  base::Dtype dtype = base::Dtype::f32;  ///< of the matrix in its file
  Extent a;                              ///< [rank, in]
  Extent b;                              ///< [out, rank]
  std::uint64_t rank = 0;
  std::uint64_t rows = 0;  ///< of the matrix
  std::uint64_t columns = 0;
  bool is_transposed = false;  ///< the matrix is [in, out], not [out, in]
  float scaling = 0;

  /// Local. What both factors take in memory.
  [[nodiscard]] base::Bytes memory() const {
    return base::Bytes{rank * (rows + columns) * sizeof(float)};
  }

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& dtype& a& b& rank& rows& columns& is_transposed& scaling;
  }
};

/// A tensor that an adapter multiplies by a vector, in float32.
struct Scaling {
  base::Dtype dtype = base::Dtype::f32;  ///< of the tensor in its file
  Extent vector;                         ///< [rows], or [columns]
  std::uint64_t rows = 0;                ///< of the tensor
  std::uint64_t columns = 0;
  bool by_column = false;

  /// Local. What the vector takes in memory.
  [[nodiscard]] base::Bytes memory() const {
    return base::Bytes{(by_column ? columns : rows) * sizeof(float)};
  }

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& dtype& vector& rows& columns& by_column;
  }
};

/// A tensor that consists of others, each times a number, in float32.
struct Mosaic {
  struct Part {
    Extent extent;
    std::uint64_t first = 0;  ///< of the tensor's rows, or columns where they stand side by side
    std::uint64_t last = 0;   ///< the first behind it
    float scale = 1;

    template <class Archive>
    void serialize(Archive& archive, unsigned /*version*/) {
      archive& extent& first& last& scale;
    }
  };
  std::vector<Part> parts;  ///< in order, without gaps
  std::uint64_t columns = 0;
  bool is_side_by_side = false;

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& parts& columns& is_side_by_side;
  }
};

/// One checkpoint to read.
struct Source {
  std::string name;  ///< for messages and the summary, as the job spells it
  std::vector<std::string> files;
  std::vector<Extent> extents;                 ///< by tensor, in the order of Plan::tensors
  std::map<std::uint64_t, LowRank> low_ranks;  ///< by tensor: those of Origin::low_rank
  std::map<std::uint64_t, Scaling> scalings;   ///< of Origin::scaled
  std::map<std::uint64_t, Mosaic> mosaics;     ///< of Origin::mosaic

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& name& files& extents& low_ranks& scalings& mosaics;
  }
};

/// A tensor of a file beside a model.
struct SideTensor {
  std::string name;
  std::vector<std::uint64_t> shape;
  Extent extent;

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& name& shape& extent;
  }
};

/// A file beside a model whose tensors are read whole, by the ranks that need them.
struct SideFile {
  std::string name;  ///< for messages, as the job spells it
  std::vector<std::string> files;
  std::vector<SideTensor> tensors;  ///< by name

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& name& files& tensors;
  }
};

/// Who reads, computes and writes what. Made on rank 0, equal on all ranks; pure data.
///
/// The parameter space is the list of groups; a position in it is (group, element). Rank r owns
/// `shards(group).shard(r)` of every group and works on it in rounds of one chunk; all ranks have
/// the same number of rounds, the last of which may be empty.
struct Plan {
  std::uint64_t ranks = 1;
  std::vector<Group> groups;
  std::vector<Tensor> tensors;       ///< by group, then by offset
  std::vector<Source> sources;       ///< [0] is the base, then the tasks in job order
  std::vector<SideFile> side_files;  ///< in job order; none unless the method reads such
  base::Elements merged;             ///< elements that take part: the d of the trim
  base::Bytes alignment;             ///< of shards in the output file

  /// Local. How group `group` is cut over the ranks.
  [[nodiscard]] ShardMap shards(std::size_t group) const;
  /// Local. Rounds that every rank makes over its shard of `group`.
  [[nodiscard]] std::uint64_t rounds(std::size_t group) const;
  /// Local. What `rank` works on in round `round`; empty past its shard's end.
  [[nodiscard]] base::ElementRange chunk(std::size_t group, std::uint64_t rank,
                                         std::uint64_t round) const;
  /// Local. Whether any tensor of `group` takes part in the merge.
  [[nodiscard]] bool merges(std::size_t group) const;

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& ranks& groups& tensors& sources& side_files& merged& alignment;
  }
};

/// Local. Tensors of the output.
std::size_t output_tensors(const Plan& plan);

/// A part of one tensor that lies in a chunk.
struct Segment {
  std::size_t tensor = 0;       ///< in Plan::tensors
  base::ElementRange elements;  ///< of the tensor
  base::Elements chunk_offset;  ///< of its first element in the chunk
};

/// Elements of one part of a mosaic that lie together in its file.
struct MosaicRead {
  std::size_t part = 0;         ///< of Mosaic::parts
  base::ElementRange elements;  ///< of the part
};

/// Local. What is read for a range of a mosaic's elements: of each part just those that lie there.
std::vector<MosaicRead> mosaic_reads(const Mosaic& mosaic, base::ElementRange range);

/// Local. The non-empty parts of tensors that make up `range` of `group`, in order. Their lengths
/// add up to the range's.
/// Cost: O(log tensors + parts).
std::vector<Segment> segments(const Plan& plan, std::size_t group, base::ElementRange range);

/// Local. Bytes that the part of `source` takes in memory.
base::Bytes source_bytes(const Plan& plan, std::size_t source, const Segment& segment);

/// Local. Bytes that are read for it, but for the factors of adapters: these are read once for all
/// blocks of a tensor that follow each other.
base::Bytes read_bytes(const Plan& plan, std::size_t source, const Segment& segment);

/// Local. Bytes of all inputs that `rank` reads for its shards when it reads them once, and of the
/// output that it writes.
struct ShardBytes {
  base::Bytes read;
  base::Bytes written;
};
ShardBytes shard_bytes(const Plan& plan, std::uint64_t rank);

}  // namespace mpimerge::plan
