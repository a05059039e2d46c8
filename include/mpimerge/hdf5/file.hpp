#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "mpimerge/base/index.hpp"
#include "mpimerge/hdf5/failure.hpp"
#include "mpimerge/hdf5/handle.hpp"

namespace mpimerge::hdf5 {

/// Local. Makes a new file with the serial driver, with permissions as the umask leaves them.
///
/// Never replaces: whatever has the name already, a symbolic link included, is a Failure.
/// @param alignment  objects of that size or larger begin at a multiple of it in the file
File create_file(const std::filesystem::path& path, base::Bytes alignment);

enum class Access { read, update };

/// Local. Opens a file with the serial driver.
File open_file(const std::filesystem::path& path, Access access);

/// Local. Hands everything that HDF5 holds back to the system (no fsync).
void flush_file(const File& file);

/// Local. The normal end of a file that was written: reports what the destructor would hide.
void close_file(File file);

/// Local. Makes one group.
void create_group(const File& file, const std::string& path);

/// Local. Opens all datasets in `group`, which is in the root group, and in the groups below, one
/// after another, in no particular order, and hands each to `use` with its path relative to
/// `group`.
///
/// No other file is touched, whatever this one says.
/// Errors: Failure for a soft or external link, `group` included, for an object that is neither
/// dataset nor group, and for a dataset that has its data in other files.
void for_each_dataset(
    const File& file, const std::string& group,
    const std::function<void(const std::string& path, const Dataset& dataset)>& use);

}  // namespace mpimerge::hdf5
