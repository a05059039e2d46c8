#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mpimerge::base {

/// The name of a tensor that belongs to a layer: `model.layers.7.mlp.up_proj.weight` is layer 7 of
/// the row `model.layers.`.
struct LayerName {
  std::string_view row;  ///< what stands before the number
  std::uint64_t number = 0;
  std::string_view rest;  ///< what stands behind it: `.mlp.up_proj.weight`

  /// Local. The same tensor of another layer.
  [[nodiscard]] std::string of_layer(std::uint64_t other) const;
};

/// Local. Takes a tensor's name apart at its first part that is all digits; nothing if it has none.
std::optional<LayerName> layer_name(std::string_view tensor);

/// Local. Whether a tensor outside of the layers comes before them: an embedding. What else there is,
/// norm and head, comes after them.
bool is_before_layers(std::string_view tensor);

}  // namespace mpimerge::base
