#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/base/index.hpp"
#include "mpimerge/output/hdf5_layout.hpp"

namespace mpimerge::output {

/// What a shard of a Hugging Face directory holds at most, unless the user says otherwise: as the
/// Hugging Face libraries have it.
inline constexpr base::Bytes kDefaultShardSize{5'000'000'000};

/// One safetensors file of a directory.
struct SafetensorsFile {
  std::string name;    ///< "model.safetensors", or "model-00002-of-00007.safetensors"
  std::string header;  ///< length, JSON and padding: everything before the first value
  base::Bytes bytes;   ///< of the whole file
};

/// A part of a dataset that lies in one piece in one file.
struct Stretch {
  base::ElementRange elements;  ///< of the dataset
  std::size_t file = 0;         ///< in SafetensorsPlan::files
  base::Bytes offset;           ///< of the first element, from the start of the file

  bool operator==(const Stretch&) const = default;
};

/// A dataset of the layout, cut at the ends of files.
struct CutDataset {
  base::Dtype dtype = base::Dtype::f32;
  std::vector<Stretch> stretches;  ///< in order, without gaps
};

/// Where every byte of the tensors of a Hugging Face directory is going to be. Pure data.
///
/// Tensors go into files in the order of the layout. A file is closed when the next tensor would
/// make its values larger than the shard size; a tensor that is larger by itself has a file of its
/// own. In a file larger elements come first, so that every tensor is aligned to its elements, as
/// the safetensors library has it; tensors of one type stay in order. So what a file holds of a
/// dataset is one piece.
///
/// Example: a BF16 [3], b F32 [2], c BF16 [2], d BF16 [4], at most 20 bytes per file. The first file
/// takes a, b, c (6 + 8 + 4 bytes) and holds b a c, the second d. Datasets: F32 is b; BF16 is a c d,
/// with the stretches [0,5) in the first file, 8 bytes behind its header, and [5,9) in the second.
struct SafetensorsPlan {
  std::vector<SafetensorsFile> files;
  std::vector<CutDataset> datasets;  ///< those of the layout
  std::vector<std::size_t> file_of;  ///< by tensor of the layout
  base::Bytes total;                 ///< of all values
};

/// Local. Plans the files; the same on all ranks that have the same layout.
/// @param layout  its tensors in the order of the output; those of one type in that of their offsets
/// @param stem    what the files are called, before number and ending
/// Errors: Error{input}: a tensor name that safetensors cannot hold (empty, `__metadata__`, not
/// UTF-8), a header above 100 MB; {bug}: tensors that are not the datasets cut into pieces.
/// Cost: O(n log n) in the number of tensors, and the memory of all headers.
SafetensorsPlan plan_safetensors(const Hdf5Layout& layout, base::Bytes shard_size,
                                 std::string_view stem = "model");

/// Local. Where a part of a dataset belongs: one stretch per file that has some of it, in order.
std::vector<Stretch> stretches(const SafetensorsPlan& plan, std::size_t dataset,
                               base::ElementRange range);

/// Local. The text of model.safetensors.index.json.
std::string index_json(const SafetensorsPlan& plan, const Hdf5Layout& layout);

}  // namespace mpimerge::output
