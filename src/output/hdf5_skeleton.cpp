#include "output/hdf5_skeleton.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/hdf5/attribute.hpp"
#include "mpimerge/hdf5/dataset.hpp"
#include "mpimerge/hdf5/failure.hpp"
#include "mpimerge/hdf5/file.hpp"

namespace mpimerge::output {
namespace {

// HDF5 keeps a link in an object header message, which has at most 64 KiB.
constexpr std::size_t kLongestComponent = 60'000;
constexpr std::size_t kMostDimensions = 32;

[[noreturn]] void refuse_name(const std::string& name, std::string_view why) {
  throw base::Error(
      base::ErrorKind::input,
      fmt::format(
          "tensor `{}`: HDF5 cannot hold this name: {}; rename the tensor, or write safetensors "
          "(an output that does not end in .h5 or .hdf5)",
          base::printable(name), why));
}

// What '/' separates: components that HDF5 takes for names of groups.
std::vector<std::string_view> components_of(std::string_view name) {
  std::vector<std::string_view> components;
  std::size_t begin = 0;
  for (std::size_t end = name.find('/'); end != std::string_view::npos;
       end = name.find('/', begin)) {
    components.push_back(name.substr(begin, end - begin));
    begin = end + 1;
  }
  components.push_back(name.substr(begin));
  return components;
}

void check_components(const std::string& name) {
  if (name.empty()) refuse_name(name, "it is empty");
  if (name.find('\0') != std::string::npos) refuse_name(name, "it has a NUL character");
  if (name.front() == '/' || name.back() == '/') refuse_name(name, "it begins or ends with '/'");
  for (const std::string_view component : components_of(name)) {
    if (component.empty()) refuse_name(name, "it has an empty part between two '/'");
    if (component == ".") refuse_name(name, "one of its parts is '.'");
    if (component.size() > kLongestComponent) {
      refuse_name(name, fmt::format("it has a part of {} bytes; the limit is {}", component.size(),
                                    kLongestComponent));
    }
  }
}

// "a/b" makes a group "a", so there can be no tensor "a".
void check_prefixes(const std::string& name, const std::set<std::string_view>& names) {
  for (std::size_t slash = name.find('/'); slash != std::string::npos;
       slash = name.find('/', slash + 1)) {
    const std::string_view prefix = std::string_view(name).substr(0, slash);
    if (names.contains(prefix)) {
      refuse_name(
          name,
          fmt::format("another tensor is called `{}`, and no name can be a tensor and a group",
                      base::printable(prefix)));
    }
  }
}

void check_names(const std::vector<Hdf5Tensor>& tensors) {
  std::set<std::string_view> names;
  for (const Hdf5Tensor& tensor : tensors) {
    check_components(tensor.name);
    if (tensor.shape.size() > kMostDimensions) {
      refuse_name(tensor.name, fmt::format("it has {} dimensions; the limit is {}",
                                           tensor.shape.size(), kMostDimensions));
    }
    if (!names.insert(tensor.name).second) refuse_name(tensor.name, "it occurs twice");
  }
  for (const Hdf5Tensor& tensor : tensors) check_prefixes(tensor.name, names);
}

std::map<base::Dtype, base::Elements> elements_by_dtype(const Hdf5Layout& layout) {
  std::map<base::Dtype, base::Elements> elements;
  for (const Hdf5Dataset& dataset : layout.datasets) elements[dataset.dtype] = dataset.elements;
  return elements;
}

void check_slices(const Hdf5Layout& layout) {
  const auto datasets = elements_by_dtype(layout);
  for (const Hdf5Tensor& tensor : layout.tensors) {
    const base::Elements count = elements_of(tensor.shape);
    if (count.value() == 0) continue;
    const auto dataset = datasets.find(tensor.dtype);
    if (dataset == datasets.end() || count > dataset->second ||
        tensor.offset > dataset->second - count) {
      throw base::Error(base::ErrorKind::bug,
                        fmt::format("tensor `{}` lies outside {}", base::printable(tensor.name),
                                    dataset_path(tensor.dtype)));
    }
  }
}

void write_root_attributes(const hdf5::File& file, const Hdf5Layout& layout) {
  hdf5::write_text(file.get(), "format", kFormat);
  hdf5::write_number(file.get(), "format_version", kFormatVersion);
  hdf5::write_number(file.get(), "complete", 0);
  hdf5::write_text(file.get(), "job", layout.job);
  // Text that is not UTF-8 is a flaw of the input's metadata, not worth losing a merge for.
  const auto replace = nlohmann::json::error_handler_t::replace;
  hdf5::write_text(file.get(), "__metadata__",
                   nlohmann::json(layout.metadata).dump(-1, ' ', false, replace));
}

base::Bytes make_dataset(const hdf5::File& file, const Hdf5Dataset& dataset) {
  const std::string path = dataset_path(dataset.dtype);
  const hdf5::Dataset made = hdf5::create_contiguous(file, path, dataset.dtype, dataset.elements);
  hdf5::write_text(made.get(), "dtype", std::string(base::name(dataset.dtype)));
  const auto offset = hdf5::file_offset(made);
  if (!offset) throw hdf5::Failure(fmt::format("HDF5 did not allocate {}", path), false);
  return *offset;
}

hdf5::Dataset make_tensor_dataset(const hdf5::File& file, const Hdf5Tensor& tensor,
                                  base::Elements source_elements) {
  const std::string path = tensor_path(tensor.name);
  if (tensor.shape.empty() || elements_of(tensor.shape).value() == 0) {
    return hdf5::create_small(file, path, tensor.dtype, tensor.shape);
  }
  return hdf5::create_slice(file, path, tensor.dtype, tensor.shape,
                            {dataset_path(tensor.dtype), source_elements, tensor.offset});
}

void make_tensor(const hdf5::File& file, const Hdf5Tensor& tensor, base::Elements source_elements) {
  const hdf5::Dataset made = make_tensor_dataset(file, tensor, source_elements);
  hdf5::write_text(made.get(), "dtype", std::string(base::name(tensor.dtype)));
  hdf5::write_number(made.get(), "offset", static_cast<std::int64_t>(tensor.offset.value()));
}

}  // namespace

std::string dataset_path(base::Dtype dtype) {
  return fmt::format("/parameters/{}", base::name(dtype));
}

std::string tensor_path(const std::string& name) { return "/tensors/" + name; }

base::Elements elements_of(const std::vector<std::uint64_t>& shape) {
  // A 0 anywhere makes it empty, whatever the rest would multiply to.
  if (std::find(shape.begin(), shape.end(), 0U) != shape.end()) return base::Elements{0};
  std::uint64_t elements = 1;
  for (const std::uint64_t length : shape) elements *= length;
  return base::Elements{elements};
}

void check_layout(const Hdf5Layout& layout) {
  check_names(layout.tensors);
  check_slices(layout);
}

std::vector<base::Bytes> make_skeleton(const hdf5::File& file, const Hdf5Layout& layout) {
  write_root_attributes(file, layout);
  hdf5::create_group(file, "/parameters");
  hdf5::create_group(file, "/tensors");
  std::vector<base::Bytes> offsets;
  offsets.reserve(layout.datasets.size());
  for (const Hdf5Dataset& dataset : layout.datasets) offsets.push_back(make_dataset(file, dataset));
  const auto elements = elements_by_dtype(layout);
  for (const Hdf5Tensor& tensor : layout.tensors) {
    const auto source = elements.find(tensor.dtype);
    make_tensor(file, tensor, source == elements.end() ? base::Elements{0} : source->second);
  }
  return offsets;
}

}  // namespace mpimerge::output
