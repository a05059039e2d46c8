#pragma once

#include <filesystem>
#include <string>

#include "mpimerge/checkpoint/catalog.hpp"

namespace mpimerge::output {

/// Local. Whether the file begins as HDF5 files do.
bool is_hdf5(const std::filesystem::path& path);

/// Local. Opens an HDF5 file that mpimerge wrote, as a checkpoint to read. Uses the serial driver
/// and reads metadata only: /parameters/<DTYPE> are contiguous, so every tensor is a byte range.
/// Errors: Error{input}: not HDF5, not written by mpimerge, `complete` not 1, a version too new, a
/// dataset that is not contiguous or lies outside the file, a tensor outside its dataset, tensors
/// that overlap, anything that leads to another file.
checkpoint::Catalog open_hdf5(const std::filesystem::path& path);

/// What a result of mpimerge says of how it was made; empty where it says nothing.
struct MergeRecord {
  std::string job;      ///< YAML
  std::string summary;  ///< JSON
};

/// Local. The attributes `job` and `summary` of an HDF5 file that mpimerge wrote.
/// Errors: Error{input}: they cannot be read.
MergeRecord read_merge_record(const std::filesystem::path& path);

}  // namespace mpimerge::output
