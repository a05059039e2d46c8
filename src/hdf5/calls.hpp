#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <hdf5.h>
#include <mpi.h>

#include "mpimerge/hdf5/failure.hpp"
#include "mpimerge/hdf5/handle.hpp"

// One function per call of HDF5's C API. Each throws Failure if the call does, with the innermost
// reason of HDF5's error stack. All are local unless the file was opened with MPI-IO.
namespace mpimerge::hdf5::call {

/// Local. Throws Failure "HDF5 could not WHAT: REASON", the reason from the error stack of the last
/// call.
[[noreturn]] void fail(const std::string& what);

// library
void leave_exit_alone();
void open_library();
void silence_errors();

// files
File create_file(const std::filesystem::path& path, const Properties& access);
File open_file(const std::filesystem::path& path, unsigned flags, const Properties& access);
void flush(const File& file);
void close(File file);

// property lists
Properties create_properties(hid_t kind);
void set_version_bounds(const Properties& access, H5F_libver_t low, H5F_libver_t high);
void set_alignment(const Properties& access, hsize_t threshold, hsize_t alignment);
void set_mpi_io(const Properties& access, MPI_Comm comm, MPI_Info info);
void set_collective_metadata_reads(const Properties& access);
void set_collective_metadata_writes(const Properties& access);
void set_intermediate_groups(const Properties& link);
void set_utf8(const Properties& link);
void set_early_allocation(const Properties& creation);
void set_no_fill(const Properties& creation);
void set_virtual(const Properties& creation, const Space& shown, const std::string& dataset,
                 const Space& source);
void set_collective_transfer(const Properties& transfer);
H5D_layout_t layout(const Properties& creation);
std::size_t virtual_sources(const Properties& creation);
std::string virtual_source_file(const Properties& creation, std::size_t which);
int external_files(const Properties& creation);
H5D_mpio_actual_io_mode_t actual_io_mode(const Properties& transfer);
/// The causes on this rank and those on all ranks, as one set of bits.
std::uint32_t no_collective_cause(const Properties& transfer);

// groups, links and objects
Group create_group(const File& file, const std::string& path, const Properties& link);
Group open_group(const File& file, const std::string& path);
Object open_object(const Group& group, const std::string& path);
H5I_type_t kind(const Object& object);
H5L_type_t link_type(const File& file, const std::string& path);
void visit_links(const Group& group, H5L_iterate_t visit, void* data);

// datasets
Dataset create_dataset(const File& file, const std::string& path, const Type& type,
                       const Space& space, const Properties& link, const Properties& creation);
Dataset open_dataset(const File& file, const std::string& path);
Type dataset_type(const Dataset& dataset);
Space dataset_space(const Dataset& dataset);
Properties creation_properties(const Dataset& dataset);
haddr_t offset(const Dataset& dataset) noexcept;
void write(const Dataset& dataset, const Type& memory_type, hid_t memory, hid_t file,
           hid_t transfer, const void* data);

// dataspaces
Space create_scalar_space();
Space create_space(std::span<const hsize_t> dimensions);
void select_range(const Space& space, hsize_t begin, hsize_t count);
void select_none(const Space& space);
std::vector<hsize_t> dimensions(const Space& space);
bool is_single_value(const Space& space);
hsize_t elements(const Space& space);

// types
Type copy_type(hid_t type);
Type create_enum(hid_t base);
void insert_enum(const Type& type, const char* name, const void* value);
void set_float_fields(const Type& type, std::size_t sign, std::size_t exponent,
                      std::size_t exponent_bits, std::size_t mantissa, std::size_t mantissa_bits);
void set_precision(const Type& type, std::size_t bits);
void set_type_size(const Type& type, std::size_t bytes);
void set_exponent_bias(const Type& type, std::size_t bias);
void set_text_utf8(const Type& type);
std::size_t type_size(const Type& type);
H5T_class_t type_class(const Type& type);
bool is_variable_text(const Type& type);
bool equal(const Type& a, const Type& b);

// attributes
bool attribute_exists(hid_t object, const std::string& name);
Attribute create_attribute(hid_t object, const std::string& name, const Type& type,
                           const Space& space);
Attribute open_attribute(hid_t object, const std::string& name);
Type attribute_type(const Attribute& attribute);
Space attribute_space(const Attribute& attribute);
void write_attribute(const Attribute& attribute, hid_t memory_type, const void* value);
void read_attribute(const Attribute& attribute, hid_t memory_type, void* value);

}  // namespace mpimerge::hdf5::call
