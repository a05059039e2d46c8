#include "hdf5/calls.hpp"

#include <concepts>
#include <string_view>

#include <fmt/format.h>

#include "mpimerge/base/text.hpp"

namespace mpimerge::hdf5::call {
namespace {

// The error stack, innermost entry first.
struct Reasons {
  std::string innermost;
  bool no_space = false;
};

bool tells_no_space(std::string_view text) {
  for (const std::string_view mark : {"No space left", "NO_SPACE", "quota", "QUOTA"}) {
    if (text.find(mark) != std::string_view::npos) return true;
  }
  return false;
}

// "file write failed: time = ..., error message = 'No space left on device', ...": the quoted part
// is what a user needs.
std::string_view quoted_message(std::string_view description) {
  for (const std::string_view mark : {"error message = '", "MPI error string is '"}) {
    const auto begin = description.find(mark);
    if (begin == std::string_view::npos) continue;
    description.remove_prefix(begin + mark.size());
    return description.substr(0, description.find('\''));
  }
  return description;
}

herr_t note_reason(unsigned /*depth*/, const H5E_error2_t* entry, void* to) noexcept {
  auto& reasons = *static_cast<Reasons*>(to);
  if (entry->desc == nullptr) return 0;
  try {
    reasons.no_space = reasons.no_space || tells_no_space(entry->desc);
    if (reasons.innermost.empty()) reasons.innermost = quoted_message(entry->desc);
  } catch (...) {
    return -1;  // no memory: an exception may not pass through HDF5
  }
  return 0;
}

// HDF5 tells a failure by a negative number, whatever the type.
template <std::signed_integral Result>
Result check(Result result, const char* what) {
  if (result < 0) fail(what);
  return result;
}

}  // namespace

void fail(const std::string& what) {
  Reasons reasons;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, note_reason, &reasons);
  if (reasons.innermost.empty()) reasons.innermost = "it gave no reason";
  // It may quote names from the file.
  throw Failure(fmt::format("HDF5 could not {}: {}", what, base::printable(reasons.innermost, 400)),
                reasons.no_space);
}

void leave_exit_alone() { check(H5dont_atexit(), "leave the end of the process alone"); }

void open_library() { check(H5open(), "start"); }

void silence_errors() {
  check(H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr), "silence its error stack");
}

File create_file(const std::filesystem::path& path, const Properties& access) {
  return File(
      check(H5Fcreate(path.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, access.get()), "create the file"));
}

File open_file(const std::filesystem::path& path, unsigned flags, const Properties& access) {
  return File(check(H5Fopen(path.c_str(), flags, access.get()), "open the file"));
}

void flush(const File& file) { check(H5Fflush(file.get(), H5F_SCOPE_GLOBAL), "flush the file"); }

void close(File file) { check(H5Fclose(file.release()), "close the file"); }

Properties create_properties(hid_t kind) {
  return Properties(check(H5Pcreate(kind), "make a property list"));
}

void set_version_bounds(const Properties& access, H5F_libver_t low, H5F_libver_t high) {
  check(H5Pset_libver_bounds(access.get(), low, high), "set the versions of the file format");
}

void set_alignment(const Properties& access, hsize_t threshold, hsize_t alignment) {
  check(H5Pset_alignment(access.get(), threshold, alignment), "set the alignment");
}

void set_mpi_io(const Properties& access, MPI_Comm comm, MPI_Info info) {
  check(H5Pset_fapl_mpio(access.get(), comm, info), "choose MPI-IO");
}

void set_collective_metadata_reads(const Properties& access) {
  check(H5Pset_all_coll_metadata_ops(access.get(), true), "ask for collective metadata reads");
}

void set_collective_metadata_writes(const Properties& access) {
  check(H5Pset_coll_metadata_write(access.get(), true), "ask for collective metadata writes");
}

void set_intermediate_groups(const Properties& link) {
  check(H5Pset_create_intermediate_group(link.get(), 1), "ask for intermediate groups");
}

void set_utf8(const Properties& link) {
  check(H5Pset_char_encoding(link.get(), H5T_CSET_UTF8), "ask for UTF-8 names");
}

void set_early_allocation(const Properties& creation) {
  check(H5Pset_alloc_time(creation.get(), H5D_ALLOC_TIME_EARLY), "ask for early allocation");
}

void set_no_fill(const Properties& creation) {
  check(H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER), "switch filling off");
}

void set_virtual(const Properties& creation, const Space& shown, const std::string& dataset,
                 const Space& source) {
  check(H5Pset_virtual(creation.get(), shown.get(), ".", dataset.c_str(), source.get()),
        "map a virtual dataset");
}

void set_collective_transfer(const Properties& transfer) {
  check(H5Pset_dxpl_mpio(transfer.get(), H5FD_MPIO_COLLECTIVE), "ask for collective transfers");
}

H5D_layout_t layout(const Properties& creation) {
  const H5D_layout_t layout = H5Pget_layout(creation.get());
  if (layout == H5D_LAYOUT_ERROR) fail("tell a dataset's layout");
  return layout;
}

std::size_t virtual_sources(const Properties& creation) {
  std::size_t sources = 0;
  check(H5Pget_virtual_count(creation.get(), &sources), "count what a virtual dataset shows");
  return sources;
}

std::string virtual_source_file(const Properties& creation, std::size_t which) {
  const ssize_t bytes = check(H5Pget_virtual_filename(creation.get(), which, nullptr, 0),
                              "tell what a virtual dataset shows");
  std::string file(static_cast<std::size_t>(bytes) + 1, '\0');
  check(H5Pget_virtual_filename(creation.get(), which, file.data(), file.size()),
        "tell what a virtual dataset shows");
  file.pop_back();
  return file;
}

int external_files(const Properties& creation) {
  return check(H5Pget_external_count(creation.get()), "count the files of a dataset");
}

H5D_mpio_actual_io_mode_t actual_io_mode(const Properties& transfer) {
  H5D_mpio_actual_io_mode_t mode{};
  check(H5Pget_mpio_actual_io_mode(transfer.get(), &mode), "tell the mode of a transfer");
  return mode;
}

std::uint32_t no_collective_cause(const Properties& transfer) {
  std::uint32_t here = 0;
  std::uint32_t anywhere = 0;
  check(H5Pget_mpio_no_collective_cause(transfer.get(), &here, &anywhere),
        "tell why a transfer was not collective");
  return here | anywhere;
}

Group create_group(const File& file, const std::string& path, const Properties& link) {
  return Group(check(H5Gcreate2(file.get(), path.c_str(), link.get(), H5P_DEFAULT, H5P_DEFAULT),
                     "make a group"));
}

Group open_group(const File& file, const std::string& path) {
  return Group(check(H5Gopen2(file.get(), path.c_str(), H5P_DEFAULT), "open a group"));
}

Object open_object(const Group& group, const std::string& path) {
  return Object(check(H5Oopen(group.get(), path.c_str(), H5P_DEFAULT), "open an object"));
}

H5I_type_t kind(const Object& object) {
  const H5I_type_t kind = H5Iget_type(object.get());
  if (kind == H5I_BADID) fail("tell what an object is");
  return kind;
}

H5L_type_t link_type(const File& file, const std::string& path) {
  H5L_info_t info{};
  if (H5Lget_info(file.get(), path.c_str(), &info, H5P_DEFAULT) < 0) fail("find " + path);
  return info.type;
}

void visit_links(const Group& group, H5L_iterate_t visit, void* data) {
  check(H5Lvisit(group.get(), H5_INDEX_NAME, H5_ITER_NATIVE, visit, data),
        "list the links of a group");
}

Dataset create_dataset(const File& file, const std::string& path, const Type& type,
                       const Space& space, const Properties& link, const Properties& creation) {
  return Dataset(check(H5Dcreate2(file.get(), path.c_str(), type.get(), space.get(), link.get(),
                                  creation.get(), H5P_DEFAULT),
                       "make a dataset"));
}

Dataset open_dataset(const File& file, const std::string& path) {
  return Dataset(check(H5Dopen2(file.get(), path.c_str(), H5P_DEFAULT), "open a dataset"));
}

Type dataset_type(const Dataset& dataset) {
  return Type(check(H5Dget_type(dataset.get()), "tell the type of a dataset"));
}

Space dataset_space(const Dataset& dataset) {
  return Space(check(H5Dget_space(dataset.get()), "tell the shape of a dataset"));
}

Properties creation_properties(const Dataset& dataset) {
  return Properties(check(H5Dget_create_plist(dataset.get()), "tell how a dataset is stored"));
}

haddr_t offset(const Dataset& dataset) noexcept { return H5Dget_offset(dataset.get()); }

void write(const Dataset& dataset, const Type& memory_type, hid_t memory, hid_t file,
           hid_t transfer, const void* data) {
  check(H5Dwrite(dataset.get(), memory_type.get(), memory, file, transfer, data), "write data");
}

Space create_scalar_space() { return Space(check(H5Screate(H5S_SCALAR), "make a dataspace")); }

Space create_space(std::span<const hsize_t> dimensions) {
  return Space(
      check(H5Screate_simple(static_cast<int>(dimensions.size()), dimensions.data(), nullptr),
            "make a dataspace"));
}

void select_range(const Space& space, hsize_t begin, hsize_t count) {
  // One block of `count` elements, not `count` blocks of one: that is one contiguous request for
  // MPI-IO.
  constexpr hsize_t kOne = 1;
  check(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, &begin, nullptr, &kOne, &count),
        "select a range");
}

void select_none(const Space& space) { check(H5Sselect_none(space.get()), "select nothing"); }

std::vector<hsize_t> dimensions(const Space& space) {
  const int rank = check(H5Sget_simple_extent_ndims(space.get()), "count dimensions");
  std::vector<hsize_t> dimensions(static_cast<std::size_t>(rank));
  check(H5Sget_simple_extent_dims(space.get(), dimensions.data(), nullptr), "tell dimensions");
  return dimensions;
}

bool is_single_value(const Space& space) {
  return H5Sget_simple_extent_type(space.get()) == H5S_SCALAR;
}

hsize_t elements(const Space& space) {
  return static_cast<hsize_t>(check(H5Sget_simple_extent_npoints(space.get()), "count elements"));
}

Type copy_type(hid_t type) { return Type(check(H5Tcopy(type), "copy a type")); }

Type create_enum(hid_t base) { return Type(check(H5Tenum_create(base), "make an enumeration")); }

void insert_enum(const Type& type, const char* name, const void* value) {
  check(H5Tenum_insert(type.get(), name, value), "make an enumeration");
}

void set_float_fields(const Type& type, std::size_t sign, std::size_t exponent,
                      std::size_t exponent_bits, std::size_t mantissa, std::size_t mantissa_bits) {
  check(H5Tset_fields(type.get(), sign, exponent, exponent_bits, mantissa, mantissa_bits),
        "describe a float type");
}

void set_precision(const Type& type, std::size_t bits) {
  check(H5Tset_precision(type.get(), bits), "describe a float type");
}

void set_type_size(const Type& type, std::size_t bytes) {
  check(H5Tset_size(type.get(), bytes), "set a type's size");
}

void set_exponent_bias(const Type& type, std::size_t bias) {
  check(H5Tset_ebias(type.get(), bias), "describe a float type");
}

void set_text_utf8(const Type& type) {
  check(H5Tset_cset(type.get(), H5T_CSET_UTF8), "describe a text type");
}

std::size_t type_size(const Type& type) {
  const std::size_t bytes = H5Tget_size(type.get());
  if (bytes == 0) fail("tell a type's size");
  return bytes;
}

H5T_class_t type_class(const Type& type) {
  const H5T_class_t result = H5Tget_class(type.get());
  if (result == H5T_NO_CLASS) fail("tell the class of a type");
  return result;
}

bool is_variable_text(const Type& type) {
  return check(H5Tis_variable_str(type.get()), "tell whether a type is text") > 0;
}

bool equal(const Type& a, const Type& b) {
  return check(H5Tequal(a.get(), b.get()), "compare types") > 0;
}

bool attribute_exists(hid_t object, const std::string& name) {
  return check(H5Aexists(object, name.c_str()), "look for an attribute") > 0;
}

Attribute create_attribute(hid_t object, const std::string& name, const Type& type,
                           const Space& space) {
  return Attribute(
      check(H5Acreate2(object, name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
            "make an attribute"));
}

Attribute open_attribute(hid_t object, const std::string& name) {
  return Attribute(check(H5Aopen(object, name.c_str(), H5P_DEFAULT), "open an attribute"));
}

Type attribute_type(const Attribute& attribute) {
  return Type(check(H5Aget_type(attribute.get()), "tell the type of an attribute"));
}

Space attribute_space(const Attribute& attribute) {
  return Space(check(H5Aget_space(attribute.get()), "tell the shape of an attribute"));
}

void write_attribute(const Attribute& attribute, hid_t memory_type, const void* value) {
  check(H5Awrite(attribute.get(), memory_type, value), "write an attribute");
}

void read_attribute(const Attribute& attribute, hid_t memory_type, void* value) {
  check(H5Aread(attribute.get(), memory_type, value), "read an attribute");
}

}  // namespace mpimerge::hdf5::call
