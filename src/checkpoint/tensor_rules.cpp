#include "checkpoint/tensor_rules.hpp"

#include <algorithm>
#include <iterator>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "mpimerge/base/checked.hpp"
#include "mpimerge/base/text.hpp"

#include "checkpoint/refuse.hpp"

namespace mpimerge::checkpoint {

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  return base::printable(fmt::format("[{}]", fmt::join(shape, ", ")));
}

std::optional<std::uint64_t> count_elements(const std::vector<std::uint64_t>& shape) {
  std::uint64_t product = 1;
  for (const std::uint64_t dimension : shape) {
    if (dimension == 0) continue;
    const auto next = base::checked_multiply(product, dimension);
    if (!next) return std::nullopt;
    product = *next;
  }
  return std::ranges::find(shape, 0U) == shape.end() ? product : 0;
}

void check_tensor_name(std::string_view name, const std::filesystem::path& file) {
  // C libraries, HDF5 among them, would cut such a name and find another tensor.
  if (name.empty() || name.find('\0') != std::string_view::npos) {
    refuse(file, "tensor {}: its name is empty or holds a zero byte", in_quotes(name));
  }
}

void check_names_differ(const std::vector<TensorInfo>& tensors, const std::filesystem::path& file) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  std::ranges::transform(tensors, std::back_inserter(names), &TensorInfo::name);
  std::ranges::sort(names);
  if (const auto twice = std::ranges::adjacent_find(names); twice != names.end()) {
    refuse(file, "tensor {} stands there twice", in_quotes(*twice));
  }
}

void sort_in_storage_order(std::vector<TensorInfo>& tensors) {
  std::ranges::sort(tensors, {}, [](const TensorInfo& tensor) {
    return std::tie(tensor.offset, tensor.bytes, tensor.name);
  });
}

}  // namespace mpimerge::checkpoint
