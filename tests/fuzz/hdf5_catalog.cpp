// The reader of our own HDF5 files. HDF5's parser is not what is tested: the input is a script, of
// which a valid HDF5 file is made, with attributes, names, shapes and links as the script says.
// A line each, words apart by single spaces, the last takes the rest of the line:
//
//   group NAME                            a group
//   data TYPE LAYOUT SHAPE PATH           a dataset: contiguous, compact, chunked, external, late
//   show TYPE SHAPE FILE COUNT OFFSET SOURCE PATH
//                                         a virtual dataset that shows COUNT elements of SOURCE
//   soft TARGET PATH | link FILE PATH | hard TARGET PATH
//                                         links: soft, external (to /parameters of FILE), hard
//   text OBJECT NAME VALUE                an attribute; `fixed`: of fixed length; `list`: an array
//   number TYPE OBJECT NAME VALUE         an attribute of any type, VALUE being a whole number
//
// SHAPE is 2x3, `one` for a single value or `null` for none. What HDF5 does not take is left out.
#include "mpimerge/output/hdf5_catalog.hpp"

#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <hdf5.h>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/hdf5/attribute.hpp"
#include "mpimerge/hdf5/file.hpp"

#include "fuzz/target.hpp"
#include "fuzz/tensors.hpp"
#include "hdf5/type.hpp"
#include "support/temp_dir.hpp"

namespace {

using namespace mpimerge;

constexpr std::uint64_t kMostElements = 1 << 16;  // of a dataset with space in the file
constexpr std::size_t kMostLines = 100;

/// The words of a line, taken one by one.
class Words {
 public:
  explicit Words(std::string_view line) : rest_(line) {}

  std::string next() {
    const std::size_t end = std::min(rest_.find(' '), rest_.size());
    std::string word(rest_.substr(0, end));
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    return word;
  }
  std::string rest() { return std::string(std::exchange(rest_, {})); }
  std::int64_t number() {
    const std::string word = next();
    std::int64_t value = 0;
    std::from_chars(word.data(), word.data() + word.size(), value);
    return value;
  }

 private:
  std::string_view rest_;
};

/// Makes what a script says in an open file. Handles close in the order of their declaration,
/// backwards; what HDF5 refuses has the value -1, which it then refuses again.
class Builder {
 public:
  explicit Builder(hid_t file) : file_(file) {
    H5Pset_create_intermediate_group(link_.get(), 1);
    H5Pset_char_encoding(link_.get(), H5T_CSET_UTF8);
  }

  void line(std::string_view line) {
    Words words(line);
    const std::string verb = words.next();
    if (verb == "group") {
      const hdf5::Group made(
          H5Gcreate2(file_, words.rest().c_str(), link_.get(), H5P_DEFAULT, H5P_DEFAULT));
    } else if (verb == "data") {
      data(words);
    } else if (verb == "show") {
      show(words);
    } else if (verb == "soft") {
      const std::string target = words.next();
      H5Lcreate_soft(target.c_str(), file_, words.rest().c_str(), link_.get(), H5P_DEFAULT);
    } else if (verb == "hard") {
      const std::string target = words.next();
      H5Lcreate_hard(file_, target.c_str(), file_, words.rest().c_str(), link_.get(), H5P_DEFAULT);
    } else if (verb == "link") {
      const std::string target = words.next();
      H5Lcreate_external(target.c_str(), "/parameters", file_, words.rest().c_str(), link_.get(),
                         H5P_DEFAULT);
    } else if (verb == "text" || verb == "fixed" || verb == "list") {
      text(verb, words);
    } else if (verb == "number") {
      number(words);
    }
  }

 private:
  static hdf5::Space space(const std::string& shape) {
    if (shape == "one") return hdf5::Space(H5Screate(H5S_SCALAR));
    if (shape == "null") return hdf5::Space(H5Screate(H5S_NULL));
    std::vector<hsize_t> lengths;
    for (std::size_t begin = 0; begin < shape.size() && lengths.size() < H5S_MAX_RANK;) {
      const std::size_t end = std::min(shape.find('x', begin), shape.size());
      hsize_t length = 0;
      std::from_chars(shape.data() + begin, shape.data() + end, length);
      lengths.push_back(length);
      begin = end + 1;
    }
    return hdf5::Space(H5Screate_simple(static_cast<int>(lengths.size()), lengths.data(), nullptr));
  }

  /// A safetensors name, or one of HDF5's that none of those stands for.
  static hdf5::Type type(const std::string& name) {
    if (const auto dtype = base::parse_dtype(name)) return hdf5::stored_type(*dtype);
    if (name == "BE16") return hdf5::Type(H5Tcopy(H5T_STD_I16BE));
    if (name == "BITS") return hdf5::Type(H5Tcopy(H5T_STD_B8LE));
    if (name == "TEXT") return hdf5::Type(H5Tcopy(H5T_C_S1));
    hdf5::Type odd(H5Tcopy(H5T_STD_I32LE));
    if (name == "ODD") H5Tset_precision(odd.get(), 13);
    return odd;
  }

  void data(Words& words) {
    const hdf5::Type kind = type(words.next());
    const std::string layout = words.next();
    const hdf5::Space extent = space(words.next());
    const std::string path = words.rest();
    const hdf5::Properties creation(H5Pcreate(H5P_DATASET_CREATE));
    const hssize_t elements = H5Sget_simple_extent_npoints(extent.get());
    if (layout == "compact") H5Pset_layout(creation.get(), H5D_COMPACT);
    if (layout == "external") H5Pset_external(creation.get(), "/dev/null", 0, H5F_UNLIMITED);
    if (layout == "chunked") {
      constexpr std::array<hsize_t, 1> kChunk{16};
      H5Pset_chunk(creation.get(), 1, kChunk.data());
    }
    if (layout == "contiguous") {
      if (elements < 0 || static_cast<std::uint64_t>(elements) > kMostElements) return;
      H5Pset_alloc_time(creation.get(), H5D_ALLOC_TIME_EARLY);
      H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER);
    }
    const hdf5::Dataset made(H5Dcreate2(file_, path.c_str(), kind.get(), extent.get(), link_.get(),
                                        creation.get(), H5P_DEFAULT));
  }

  void show(Words& words) {
    const hdf5::Type kind = type(words.next());
    const hdf5::Space shown = space(words.next());
    const std::string file = words.next();
    const auto count = static_cast<hsize_t>(words.number());
    const auto offset = static_cast<hsize_t>(words.number());
    const std::string source = words.next();
    const std::string path = words.rest();
    const std::array<hsize_t, 1> length{offset + count};
    const std::array<hsize_t, 1> unlimited{H5S_UNLIMITED};
    const hdf5::Space slice(H5Screate_simple(1, length.data(), unlimited.data()));
    constexpr hsize_t kOne = 1;
    H5Sselect_hyperslab(slice.get(), H5S_SELECT_SET, &offset, nullptr, &kOne, &count);
    const hdf5::Properties creation(H5Pcreate(H5P_DATASET_CREATE));
    H5Pset_virtual(creation.get(), shown.get(), file.c_str(), source.c_str(), slice.get());
    const hdf5::Dataset made(H5Dcreate2(file_, path.c_str(), kind.get(), shown.get(), link_.get(),
                                        creation.get(), H5P_DEFAULT));
  }

  hdf5::Attribute attribute(const std::string& object, const std::string& name, hid_t type,
                            const hdf5::Space& extent) const {
    return hdf5::Attribute(H5Acreate_by_name(file_, object.c_str(), name.c_str(), type,
                                             extent.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  }

  void text(std::string_view verb, Words& words) const {
    const std::string object = words.next();
    const std::string name = words.next();
    const std::string value = words.rest();
    const hdf5::Type kind(H5Tcopy(H5T_C_S1));
    H5Tset_size(kind.get(),
                verb == "fixed" ? std::max<std::size_t>(value.size(), 1) : H5T_VARIABLE);
    const hdf5::Space extent = space(verb == "list" ? "2" : "one");
    const hdf5::Attribute made = attribute(object, name, kind.get(), extent);
    const std::array<const char*, 2> values{value.c_str(), value.c_str()};
    H5Awrite(made.get(), kind.get(),
             verb == "fixed" ? static_cast<const void*>(value.c_str()) : values.data());
  }

  void number(Words& words) const {
    const hdf5::Type kind = type(words.next());
    const std::string object = words.next();
    const std::string name = words.next();
    const std::int64_t value = words.number();
    const hdf5::Attribute made = attribute(object, name, kind.get(), space("one"));
    H5Awrite(made.get(), H5T_NATIVE_INT64, &value);
  }

  hid_t file_;
  hdf5::Properties link_{H5Pcreate(H5P_LINK_CREATE)};
};

void build(const std::filesystem::path& name, std::string_view script) {
  const hdf5::Properties access(H5Pcreate(H5P_FILE_ACCESS));
  H5Pset_libver_bounds(access.get(), H5F_LIBVER_V18, H5F_LIBVER_LATEST);
  const hdf5::File file(H5Fcreate(name.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()));
  fuzz::require(static_cast<bool>(file), "HDF5 makes a file");
  Builder builder(file.get());
  for (std::size_t lines = 0; !script.empty() && lines < kMostLines; ++lines) {
    const std::size_t end = std::min(script.find('\n'), script.size());
    builder.line(script.substr(0, end));
    script.remove_prefix(std::min(end + 1, script.size()));
  }
}

// Opening a file that is not there silences HDF5 and sets it up as the program does.
void start() {
  try {
    hdf5::open_file("/", hdf5::Access::read);
  } catch (const hdf5::Failure&) {
    return;
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool started = (start(), true);
  static_cast<void>(started);
  static const test::TempDir directory;  // not a file in memory: HDF5 resolves links by itself
  static const std::filesystem::path file = directory / "a.h5";
  build(file, fuzz::text_of(data, size));
  fuzz::may_refuse({base::ErrorKind::input}, 1, [&] {
    const checkpoint::Catalog catalog = output::open_hdf5(file);
    fuzz::require_sound(catalog.tensors, base::Bytes{0},
                        base::Bytes{std::filesystem::file_size(file)});
  });
  return 0;
}
