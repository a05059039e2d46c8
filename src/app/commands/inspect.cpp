#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/checkpoint/adapter.hpp"
#include "mpimerge/checkpoint/catalog.hpp"
#include "mpimerge/comm/agree.hpp"

#include "app/commands/commands.hpp"
#include "app/inputs.hpp"
#include "app/standard_streams.hpp"

namespace mpimerge::app {
namespace {

using checkpoint::Catalog;
using checkpoint::TensorInfo;

struct Total {
  std::uint64_t tensors = 0;
  base::Elements elements;
  base::Bytes bytes;
};

std::map<base::Dtype, Total> totals_by_type(const Catalog& catalog) {
  std::map<base::Dtype, Total> totals;
  for (const TensorInfo& tensor : catalog.tensors) {
    Total& total = totals[tensor.dtype];
    ++total.tensors;
    total.elements += tensor.elements;
    total.bytes += tensor.bytes;
  }
  return totals;
}

// "what (n tensors, the first is `x`)", for the tensors that `odd` picks.
template <class Odd>
void note(std::vector<std::string>& notes, const Catalog& catalog, std::string_view what, Odd odd) {
  const auto count = std::count_if(catalog.tensors.begin(), catalog.tensors.end(), odd);
  if (count == 0) return;
  const auto first = std::find_if(catalog.tensors.begin(), catalog.tensors.end(), odd);
  notes.push_back(fmt::format("{}: {} of {} tensors, the first is `{}`", what, count,
                              catalog.tensors.size(), base::printable(first->name)));
}

bool share_bytes(const Catalog& catalog, std::string_view name, std::string_view other) {
  const auto a = std::ranges::find(catalog.tensors, name, &TensorInfo::name);
  const auto b = std::ranges::find(catalog.tensors, other, &TensorInfo::name);
  return a->file == b->file && a->offset == b->offset;
}

std::vector<std::string> oddities(const Catalog& catalog,
                                  const std::map<base::Dtype, Total>& totals) {
  std::vector<std::string> notes;
  note(notes, catalog, "not floating, so a merge copies them from the base",
       [](const TensorInfo& tensor) { return !base::is_merged(tensor.dtype); });
  note(notes, catalog, "without elements",
       [](const TensorInfo& tensor) { return tensor.elements == base::Elements{}; });
  note(notes, catalog, "0-d", [](const TensorInfo& tensor) { return tensor.shape.empty(); });
  note(notes, catalog, "data not aligned to its elements", [](const TensorInfo& tensor) {
    return tensor.offset.value() % base::element_bytes(tensor.dtype).value() != 0;
  });
  note(notes, catalog, "control characters in the name", [](const TensorInfo& tensor) {
    return base::printable(tensor.name, tensor.name.size() + 1) != tensor.name;
  });
  if (checkpoint::is_adapter(catalog.path)) {
    notes.push_back(
        "an adapter of PEFT: these are its own tensors; a merge applies it to its model");
  }
  for (const auto& [name, other] : catalog.tied) {
    notes.push_back(
        fmt::format("`{}` is `{}` again{}, so a merge counts it once", base::printable(name),
                    base::printable(other),
                    share_bytes(catalog, name, other) ? ": the same bytes" : ", by config.json"));
  }
  const auto floating = std::count_if(
      totals.begin(), totals.end(), [](const auto& total) { return base::is_merged(total.first); });
  if (floating > 1) notes.push_back("several floating types in one checkpoint");
  if (floating == 0) notes.push_back("nothing floating: there is nothing to merge");
  return notes;
}

std::string as_table(const Catalog& catalog) {
  const auto totals = totals_by_type(catalog);
  std::size_t width = 6;
  for (const TensorInfo& tensor : catalog.tensors)
    width = std::max(width, base::printable(tensor.name).size());
  std::string text = fmt::format("{:<{}}  {:<8}  {:>16}  {:>14}  shape\n", "tensor", width, "type",
                                 "elements", "bytes");
  for (const TensorInfo& tensor : catalog.tensors) {
    text += fmt::format("{:<{}}  {:<8}  {:>16}  {:>14}  [{}]\n", base::printable(tensor.name),
                        width, base::name(tensor.dtype), tensor.elements.value(),
                        tensor.bytes.value(), fmt::join(tensor.shape, ", "));
  }
  for (const auto& [dtype, total] : totals) {
    text += fmt::format("{}: {} tensors, {} elements, {}\n", base::name(dtype), total.tensors,
                        total.elements.value(), base::human_bytes(total.bytes));
  }
  text += fmt::format("files: {}\n", catalog.files.size());
  for (const std::string& odd : oddities(catalog, totals)) text += fmt::format("note: {}\n", odd);
  return text;
}

std::string as_json(const Catalog& catalog) {
  const auto totals = totals_by_type(catalog);
  auto tensors = nlohmann::ordered_json::array();
  for (const TensorInfo& tensor : catalog.tensors) {
    tensors.push_back({{"name", tensor.name},
                       {"dtype", base::name(tensor.dtype)},
                       {"shape", tensor.shape},
                       {"elements", tensor.elements.value()},
                       {"bytes", tensor.bytes.value()},
                       {"file", catalog.files[tensor.file].filename().string()},
                       {"offset", tensor.offset.value()}});
  }
  auto types = nlohmann::ordered_json::object();
  for (const auto& [dtype, total] : totals) {
    types[std::string(base::name(dtype))] = {{"tensors", total.tensors},
                                             {"elements", total.elements.value()},
                                             {"bytes", total.bytes.value()}};
  }
  const nlohmann::ordered_json all{{"path", catalog.path}, {"types", types},
                                   {"tensors", tensors},   {"metadata", catalog.metadata},
                                   {"tied", catalog.tied}, {"notes", oddities(catalog, totals)}};
  return all.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

int run_inspect(const comm::Comm& comm, const InspectOptions& options) {
  comm::collectively(comm, "inspect", [&] {
    if (!comm.is_root()) return;
    const Catalog catalog = open_checkpoint(options.path);
    print_result(options.json ? as_json(catalog) : as_table(catalog));
  });
  return 0;
}

}  // namespace mpimerge::app
