#include "mpimerge/hdf5/dataset.hpp"

#include <array>

#include <fmt/format.h>
#include <hdf5.h>

#include "hdf5/calls.hpp"
#include "hdf5/type.hpp"

namespace mpimerge::hdf5 {
namespace {

Properties link_properties() {
  Properties link = call::create_properties(H5P_LINK_CREATE);
  call::set_intermediate_groups(link);
  call::set_utf8(link);
  return link;
}

Space space_of(std::span<const std::uint64_t> shape) {
  if (shape.empty()) return call::create_scalar_space();
  const std::vector<hsize_t> dimensions(shape.begin(), shape.end());
  return call::create_space(dimensions);
}

std::uint64_t product(std::span<const std::uint64_t> shape) {
  std::uint64_t elements = 1;
  for (const std::uint64_t length : shape) elements *= length;
  return elements;
}

}  // namespace

Dataset create_contiguous(const File& file, const std::string& path, base::Dtype dtype,
                          base::Elements elements) {
  const Properties creation = call::create_properties(H5P_DATASET_CREATE);
  call::set_early_allocation(creation);
  call::set_no_fill(creation);
  const Space space = space_of(std::array{elements.value()});
  return call::create_dataset(file, path, stored_type(dtype), space, link_properties(), creation);
}

Dataset create_slice(const File& file, const std::string& path, base::Dtype dtype,
                     std::span<const std::uint64_t> shape, const Source& source) {
  const Space shown = space_of(shape);
  const Space slice = space_of(std::array{source.elements.value()});
  call::select_range(slice, source.offset.value(), product(shape));
  const Properties creation = call::create_properties(H5P_DATASET_CREATE);
  call::set_virtual(creation, shown, source.dataset, slice);
  return call::create_dataset(file, path, stored_type(dtype), shown, link_properties(), creation);
}

Dataset create_small(const File& file, const std::string& path, base::Dtype dtype,
                     std::span<const std::uint64_t> shape) {
  return call::create_dataset(file, path, stored_type(dtype), space_of(shape), link_properties(),
                              call::create_properties(H5P_DATASET_CREATE));
}

Dataset open_dataset(const File& file, const std::string& path) {
  return call::open_dataset(file, path);
}

std::vector<std::uint64_t> shape(const Dataset& dataset) {
  const std::vector<hsize_t> dimensions = call::dimensions(call::dataset_space(dataset));
  return {dimensions.begin(), dimensions.end()};
}

bool is_stored_as(const Dataset& dataset, base::Dtype dtype) {
  return call::equal(call::dataset_type(dataset), stored_type(dtype));
}

std::optional<base::Bytes> file_offset(const Dataset& dataset) {
  if (call::layout(call::creation_properties(dataset)) != H5D_CONTIGUOUS) return std::nullopt;
  const haddr_t offset = call::offset(dataset);
  if (offset == HADDR_UNDEF) return std::nullopt;
  return base::Bytes{offset};
}

void write_all(const Dataset& dataset, std::span<const std::byte> data) {
  const Type type = call::dataset_type(dataset);
  const std::uint64_t bytes = call::elements(call::dataset_space(dataset)) * call::type_size(type);
  if (bytes != data.size()) {
    throw Failure(
        fmt::format("write data: the dataset has {} bytes, {} were given", bytes, data.size()),
        false);
  }
  call::write(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data.data());
}

}  // namespace mpimerge::hdf5
