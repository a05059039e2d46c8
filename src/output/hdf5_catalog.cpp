#include "mpimerge/output/hdf5_catalog.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "mpimerge/base/checked.hpp"
#include "mpimerge/base/error.hpp"
#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/hdf5/attribute.hpp"
#include "mpimerge/hdf5/dataset.hpp"
#include "mpimerge/hdf5/failure.hpp"
#include "mpimerge/hdf5/file.hpp"

#include "output/hdf5_skeleton.hpp"

namespace mpimerge::output {
namespace {

using std::filesystem::path;

constexpr std::array<unsigned char, 8> kSignature{0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};

[[noreturn]] void fail(const path& file, const std::string& what) {
  throw base::Error(base::ErrorKind::input,
                    fmt::format("{}: {}", base::printable_path(file), what));
}

bool has_signature(const base::FileDescriptor& file, const path& name) {
  std::array<std::byte, kSignature.size()> begin{};
  if (base::file_size(file, name).value() < begin.size()) return false;
  base::read_exactly(file, name, base::Bytes{0}, begin);
  return std::equal(
      begin.begin(), begin.end(), kSignature.begin(),
      [](std::byte found, unsigned char expected) { return found == std::byte{expected}; });
}

std::optional<std::uint64_t> checked_elements(const std::vector<std::uint64_t>& shape) {
  if (std::find(shape.begin(), shape.end(), 0U) != shape.end()) return 0;
  std::optional<std::uint64_t> elements = 1;
  for (const std::uint64_t length : shape) {
    if (elements) elements = base::checked_multiply(*elements, length);
  }
  return elements;
}

// One /parameters/<DTYPE>: where it is in the file.
struct Stored {
  base::Elements elements;
  base::Bytes offset;
};

class Reader {
 public:
  Reader(const path& name, base::Bytes file_bytes)
      : name_(name), file_bytes_(file_bytes), file_(hdf5::open_file(name, hdf5::Access::read)) {}

  checkpoint::Catalog read() {
    check_format();
    hdf5::for_each_dataset(
        file_, "/parameters",
        [&](const std::string& type, const hdf5::Dataset& dataset) { read_stored(type, dataset); });
    checkpoint::Catalog catalog;
    catalog.path = name_.string();
    catalog.files = {name_};
    catalog.metadata = read_metadata();
    hdf5::for_each_dataset(file_, "/tensors",
                           [&](const std::string& tensor, const hdf5::Dataset& dataset) {
                             catalog.tensors.push_back(read_tensor(tensor, dataset));
                           });
    std::sort(catalog.tensors.begin(), catalog.tensors.end(),
              [](const checkpoint::TensorInfo& a, const checkpoint::TensorInfo& b) {
                return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
              });
    check_apart(catalog.tensors);
    return catalog;
  }

 private:
  void check_format() const {
    try {
      if (hdf5::read_text(file_.get(), "format") != kFormat)
        throw hdf5::Failure("another format", false);
    } catch (const hdf5::Failure&) {
      fail(name_,
           "is an HDF5 file, but not one that mpimerge wrote; expected the attribute format = "
           "\"mpimerge\"");
    }
    const std::int64_t version = hdf5::read_number(file_.get(), "format_version");
    if (version != kFormatVersion) {
      fail(name_, fmt::format("has format_version {}; this mpimerge reads {}; use the mpimerge "
                              "that wrote it, or a newer one",
                              version, kFormatVersion));
    }
    if (hdf5::read_number(file_.get(), "complete") != 1) {
      fail(name_, "is not complete: the run that wrote it was stopped; run that merge again");
    }
  }

  std::map<std::string, std::string> read_metadata() const {
    const auto json =
        nlohmann::json::parse(hdf5::read_text(file_.get(), "__metadata__"), nullptr, false);
    const bool good = json.is_object() && std::all_of(json.begin(), json.end(),
                                                      [](const auto& v) { return v.is_string(); });
    if (!good)
      fail(name_,
           "the attribute `__metadata__` is not a JSON object of texts; is the file damaged?");
    return json.get<std::map<std::string, std::string>>();
  }

  void read_stored(const std::string& type, const hdf5::Dataset& stored) {
    const auto dtype = base::parse_dtype(type);
    if (!dtype) {
      fail(name_, fmt::format("/parameters/{}: unknown element type", base::printable(type)));
    }
    const auto shape = hdf5::shape(stored);
    if (shape.size() != 1 || !hdf5::is_stored_as(stored, *dtype)) {
      fail(name_, fmt::format("{}: expected one dimension and the elements stored as {}",
                              dataset_path(*dtype), type));
    }
    const auto offset = hdf5::file_offset(stored);
    if (!offset)
      fail(name_,
           fmt::format("{}: expected a contiguous dataset in this file", dataset_path(*dtype)));
    const auto bytes = base::checked_multiply(shape[0], base::element_bytes(*dtype).value());
    const auto end = bytes ? base::checked_add(offset->value(), *bytes) : std::nullopt;
    if (!end || *end > file_bytes_.value()) {
      fail(name_,
           fmt::format(
               "{}: {} elements at byte {} lie outside the file of {} bytes; is it truncated?",
               dataset_path(*dtype), shape[0], offset->value(), file_bytes_.value()));
    }
    stored_[*dtype] = {base::Elements{shape[0]}, *offset};
  }

  // In the order of the file. Tensors that share bytes could add up to more than any file has.
  void check_apart(const std::vector<checkpoint::TensorInfo>& tensors) const {
    const checkpoint::TensorInfo* last = nullptr;
    for (const checkpoint::TensorInfo& tensor : tensors) {
      if (tensor.bytes == base::Bytes{}) continue;
      if (last != nullptr && tensor.offset < last->offset + last->bytes) {
        fail(name_, fmt::format("tensor `{}` overlaps tensor `{}`", base::printable(tensor.name),
                                base::printable(last->name)));
      }
      last = &tensor;
    }
  }

  checkpoint::TensorInfo read_tensor(const std::string& tensor,
                                     const hdf5::Dataset& dataset) const {
    const std::string where = fmt::format("tensor `{}`", base::printable(tensor));
    try {
      return read_tensor(tensor, dataset, where);
    } catch (const hdf5::Failure& failure) {
      fail(name_, fmt::format("{}: {}", where, failure.what()));
    }
  }

  checkpoint::TensorInfo read_tensor(const std::string& tensor, const hdf5::Dataset& dataset,
                                     const std::string& where) const {
    const std::string type_name = hdf5::read_text(dataset.get(), "dtype");
    const auto dtype = base::parse_dtype(type_name);
    if (!dtype) {
      fail(name_, fmt::format("{}: unknown element type `{}`", where, base::printable(type_name)));
    }
    checkpoint::TensorInfo info;
    info.name = tensor;
    info.dtype = *dtype;
    info.shape = hdf5::shape(dataset);
    const auto elements = checked_elements(info.shape);
    const auto bytes = elements
                           ? base::checked_multiply(*elements, base::element_bytes(*dtype).value())
                           : elements;
    if (!bytes) fail(name_, fmt::format("{}: its shape overflows 64 bits", where));
    info.elements = base::Elements{*elements};
    info.bytes = base::Bytes{*bytes};
    const auto home = stored_.find(*dtype);
    if (home == stored_.end()) {
      if (info.elements.value() == 0) return info;  // of a type with empty tensors only
      fail(name_, fmt::format("{}: there is no {} to hold it", where, dataset_path(*dtype)));
    }
    const std::int64_t offset = hdf5::read_number(dataset.get(), "offset");
    const std::uint64_t available = home->second.elements.value();
    if (offset < 0 || info.elements.value() > available ||
        static_cast<std::uint64_t>(offset) > available - info.elements.value()) {
      fail(name_, fmt::format("{}: {} elements at offset {} lie outside {}, which has {}", where,
                              info.elements.value(), offset, dataset_path(*dtype), available));
    }
    info.offset = home->second.offset + base::Bytes{static_cast<std::uint64_t>(offset) *
                                                    base::element_bytes(*dtype).value()};
    return info;
  }

  path name_;
  base::Bytes file_bytes_;
  hdf5::File file_;
  std::map<base::Dtype, Stored> stored_;
};

}  // namespace

bool is_hdf5(const path& name) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(name, ignored)) return false;
  return has_signature(base::open_for_reading(name), name);
}

checkpoint::Catalog open_hdf5(const path& name) {
  const base::FileDescriptor file = base::open_for_reading(name);
  if (!has_signature(file, name)) fail(name, "is not an HDF5 file");
  try {
    return Reader(name, base::file_size(file, name)).read();
  } catch (const hdf5::Failure& failure) {
    fail(name, failure.what());
  }
}

MergeRecord read_merge_record(const path& name) {
  try {
    const hdf5::File file = hdf5::open_file(name, hdf5::Access::read);
    return {hdf5::read_text(file.get(), "job"), hdf5::read_text(file.get(), "summary")};
  } catch (const hdf5::Failure& failure) {
    fail(name, failure.what());
  }
}

}  // namespace mpimerge::output
