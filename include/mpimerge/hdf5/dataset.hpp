#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/base/index.hpp"
#include "mpimerge/hdf5/failure.hpp"
#include "mpimerge/hdf5/handle.hpp"

namespace mpimerge::hdf5 {

/// What a slice shows: `offset` is its first element in the 1-D dataset `dataset` of `elements`
/// elements.
struct Source {
  std::string dataset;
  base::Elements elements;
  base::Elements offset;
};

// The functions that create make the groups on the way to `path`, and name links in UTF-8.

/// Local. A 1-D dataset in one piece; its space is allocated now and not filled.
Dataset create_contiguous(const File& file, const std::string& path, base::Dtype dtype,
                          base::Elements elements);

/// Local. A virtual dataset of that shape over a slice of another dataset in the same file,
/// wherever the file may be moved to.
/// @param shape  at least one dimension, none of them 0
Dataset create_slice(const File& file, const std::string& path, base::Dtype dtype,
                     std::span<const std::uint64_t> shape, const Source& source);

/// Local. An ordinary dataset for what a slice cannot show: a single value (empty `shape`), or a
/// shape with a 0 in it.
Dataset create_small(const File& file, const std::string& path, base::Dtype dtype,
                     std::span<const std::uint64_t> shape);

/// Local.
Dataset open_dataset(const File& file, const std::string& path);

/// Local. The dimensions; none for a single value.
std::vector<std::uint64_t> shape(const Dataset& dataset);

/// Local. Whether the elements are stored as `create_contiguous` stores that type.
bool is_stored_as(const Dataset& dataset, base::Dtype dtype);

/// Local. Where the first byte of a contiguous dataset is in the file; nothing if the dataset is
/// not contiguous, is not allocated, or has its data in other files.
std::optional<base::Bytes> file_offset(const Dataset& dataset);

/// Local. Replaces all values.
/// @param data  little-endian and of the stored type; as many bytes as the dataset has
void write_all(const Dataset& dataset, std::span<const std::byte> data);

}  // namespace mpimerge::hdf5
