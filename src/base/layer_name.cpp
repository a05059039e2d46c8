#include "mpimerge/base/layer_name.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <system_error>

namespace mpimerge::base {

std::string LayerName::of_layer(std::uint64_t other) const {
  return std::string(row) + std::to_string(other) + std::string(rest);
}

std::optional<LayerName> layer_name(std::string_view tensor) {
  for (std::size_t begin = 0; begin < tensor.size();) {
    const std::size_t end = std::min(tensor.find('.', begin), tensor.size());
    const char* const last = tensor.data() + end;
    LayerName name{tensor.substr(0, begin), 0, tensor.substr(end)};
    const auto [stop, status] = std::from_chars(tensor.data() + begin, last, name.number);
    if (status == std::errc{} && stop == last) return name;
    begin = end + 1;
  }
  return std::nullopt;
}

bool is_before_layers(std::string_view tensor) {
  // GPT-NeoX calls its head embed_out; GPT-2's embeddings are wte and wpe, RWKV's emb.
  if (tensor.find("embed_out") != std::string_view::npos) return false;
  const auto contains = [&](std::string_view part) {
    return tensor.find(part) != std::string_view::npos;
  };
  return contains("emb") || contains("wte.") || contains("wpe.");
}

}  // namespace mpimerge::base
