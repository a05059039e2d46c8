#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace mpimerge::method {

/// One tensor of the merge, as a method sees it. Models are those that have the tensor, in job
/// order.
struct Tensor {
  std::string_view name;
  std::span<const std::uint64_t> shape;
  std::uint64_t elements = 0;
  std::size_t models = 0;
  std::span<const std::size_t> numbers;  ///< [models] place of each in the job, for random numbers
  bool has_base = false;

  /// Values of the method's parameters for this tensor: [parameters] and [parameters × models], in
  /// the order of Description::parameters.
  std::span<const double> of_merge;
  std::span<const double> of_models;
  /// What `learn` found out, of this tensor and of the whole model.
  std::span<const double> facts;
  std::span<const double> model_facts;

  /// Local. A parameter of the whole merge, by its place in Description::parameters.
  [[nodiscard]] double number(std::size_t parameter) const { return of_merge[parameter]; }
  [[nodiscard]] bool flag(std::size_t parameter) const { return of_merge[parameter] != 0; }
  /// Local. A parameter of one model.
  [[nodiscard]] double number(std::size_t parameter, std::size_t model) const {
    return of_models[parameter * models + model];
  }
  /// Local. Elements of a row: the last dimension. Tensors of one dimension or none are one row.
  [[nodiscard]] std::uint64_t row() const { return shape.size() < 2 ? elements : shape.back(); }
};

/// Neighbouring elements of one tensor, of all models, widened to float32.
struct Tile {
  std::uint64_t first = 0;  ///< position in the tensor of the tile's first element
  std::size_t elements = 0;
  const float* base = nullptr;           ///< [elements]; null: the merge has no base
  std::span<const float* const> models;  ///< each [elements]
  /// [elements] each, from the files that the method asked for beside the models, by model.
  std::span<const float* const> files;
  const float* signs = nullptr;  ///< [elements]: the checkpoint whose signs are given, if any
  /// Where this rank's own elements begin and end in the tile: rows come whole, and their other
  /// parts are another rank's. Sums count the own ones only.
  std::size_t own_begin = 0;
  std::size_t own_end = 0;
};

}  // namespace mpimerge::method
