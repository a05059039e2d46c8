#pragma once

#include <cstdint>
#include <string>

#include "mpimerge/hdf5/failure.hpp"
#include "mpimerge/hdf5/handle.hpp"

namespace mpimerge::hdf5 {

// `object` is the id of a file (then its root group is meant), a group or a dataset.

/// Local. Makes an attribute of UTF-8 text of any length.
/// Errors: Failure; also for text with a NUL character, which HDF5 would cut there.
void write_text(Id object, const std::string& name, const std::string& text);

/// Local. Makes an attribute of one signed 64-bit integer, or changes the value of one in place.
/// (Signed: numpy before 2.0 turns the sum of an unsigned 64-bit scalar and an int into a float,
/// which no longer works as an index.)
void write_number(Id object, const std::string& name, std::int64_t number);

/// Local.
/// Errors: Failure if there is no such attribute, or not one that `write_text` makes.
std::string read_text(Id object, const std::string& name);

/// Local.
/// Errors: Failure if there is no such attribute, or not a single integer.
std::int64_t read_number(Id object, const std::string& name);

}  // namespace mpimerge::hdf5
