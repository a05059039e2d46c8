#include "app/output_layout.hpp"

#include <algorithm>
#include <numeric>
#include <string_view>
#include <tuple>

#include "mpimerge/base/dtype.hpp"

namespace mpimerge::app {
namespace {

// Numbers of the plan's tensors, which are by type, as the base has them: by file, offset, size and
// name (checkpoint::Catalog).
std::vector<std::size_t> in_base_order(const plan::Plan& plan) {
  const plan::Source& base = plan.sources[0];
  const auto place = [&](std::size_t number) {
    const plan::Tensor& tensor = plan.tensors[number];
    const plan::Extent& extent = base.extents[number];
    const std::uint64_t bytes = tensor.elements.value() * base::element_bytes(extent.dtype).value();
    return std::tuple(extent.file, extent.offset, bytes, std::string_view(tensor.name));
  };
  std::vector<std::size_t> numbers(plan.tensors.size());
  std::iota(numbers.begin(), numbers.end(), std::size_t{0});
  std::sort(numbers.begin(), numbers.end(),
            [&](std::size_t a, std::size_t b) { return place(a) < place(b); });
  return numbers;
}

}  // namespace

OutputLayout lay_out_output(const plan::Plan& plan) {
  OutputLayout output;
  std::vector<base::Dtype> dtypes(plan.tensors.size());
  for (const plan::Group& group : plan.groups) {
    output.dataset_of.push_back(output.layout.datasets.size());
    if (group.elements > base::Elements{})
      output.layout.datasets.push_back({group.dtype, group.elements});
    for (std::uint64_t number = group.first_tensor; number < group.last_tensor; ++number)
      dtypes[number] = group.dtype;
  }
  for (const std::size_t number : in_base_order(plan)) {
    const plan::Tensor& tensor = plan.tensors[number];
    if (tensor.is_rest) continue;
    output.layout.tensors.push_back({tensor.name, dtypes[number], tensor.shape, tensor.offset});
    if (number + 1 < plan.tensors.size() && plan.tensors[number + 1].is_rest)
      output.layout.tensors.back().shape.front() += plan.tensors[number + 1].shape.front();
  }
  return output;
}

}  // namespace mpimerge::app
