#include "merge/side_files.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/kernel/convert.hpp"

namespace mpimerge::merge {

const plan::SideTensor* SideFiles::find(std::size_t model, std::string_view tensor) const {
  const auto& tensors = plan_.side_files[model].tensors;
  const auto found = std::ranges::lower_bound(tensors, tensor, {}, &plan::SideTensor::name);
  return found == tensors.end() || found->name != tensor ? nullptr : &*found;
}

std::optional<std::vector<std::uint64_t>> SideFiles::shape(std::size_t model,
                                                           std::string_view tensor) {
  const plan::SideTensor* const found = find(model, tensor);
  return found == nullptr ? std::nullopt : std::optional(found->shape);
}

void SideFiles::read(std::size_t model, std::string_view tensor, std::uint64_t first,
                     std::span<float> values) {
  const plan::SideTensor* const found = find(model, tensor);
  if (found == nullptr) throw std::logic_error("a tensor is read that the file has not");
  const plan::SideFile& side = plan_.side_files[model];
  const plan::Extent& extent = found->extent;
  if (!base::is_merged(extent.dtype)) {
    throw base::Error(base::ErrorKind::input,
                      fmt::format("{}: tensor `{}` is of type {}; expected F64, F32, F16 or BF16",
                                  side.name, base::printable(tensor), base::name(extent.dtype)));
  }
  const std::uint64_t size = base::element_bytes(extent.dtype).value();
  const std::string& path = side.files[extent.file];
  bytes_.resize(values.size() * size);
  base::read_exactly(files_.open({model, extent.file}, path), path,
                     base::Bytes{extent.offset.value() + first * size}, bytes_);
  kernel::to_f32(extent.dtype, bytes_, values);
  if (!refuses_) return;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    throw base::Error(base::ErrorKind::input,
                      fmt::format("{}: tensor `{}`, element {} is {}; expected finite values "
                                  "(`nan: allow` lets it through)",
                                  side.name, base::printable(tensor), first + i,
                                  std::isnan(values[i]) ? "NaN" : "infinite in float32"));
  }
}

}  // namespace mpimerge::merge
