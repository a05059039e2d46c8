#pragma once

#include <filesystem>
#include <string>

namespace mpimerge::app {

/// Local. Whether an output of that name is one HDF5 file; any other is a directory.
bool is_hdf5_name(const std::string& path);

/// Local. The same name without slashes at its end.
std::string without_last_slashes(std::string path);

/// Local. The name of an output with what tells it from others of a sweep: before the ending of an
/// HDF5 file's, else at the end.
std::string with_label(const std::string& path, const std::string& label);

/// Local. The last part of an output's name, for people.
std::string title_of(const std::string& path);

/// Local. Whether an output, once it has its name, takes the place of an input file: it is that file,
/// or the directory that holds it.
bool takes_place_of(const std::string& output, const std::filesystem::path& input);

}  // namespace mpimerge::app
