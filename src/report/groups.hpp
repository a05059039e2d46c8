#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mpimerge/report/document.hpp"

namespace mpimerge::report {

/// What can be added up over tensors.
struct Sums {
  std::uint64_t tensors = 0;
  std::uint64_t elements = 0;
  std::vector<std::uint64_t> kept;  ///< [tasks]
  std::optional<SignCounts> signs;
  std::optional<std::uint64_t> conflicts_before_trim;
  std::optional<std::uint64_t> conflicts_after_trim;
  std::optional<double> merged_square;  ///< squared norm of merged - base
  std::vector<double> vector_squares;   ///< [tasks] squared norms of the task vectors
  std::vector<double> dots;             ///< [pairs] of task vectors

  /// Local. Adds a tensor's.
  void add(const Row& row, std::uint64_t paired_tasks);

  /// Local. A share of the elements; NaN if there are none.
  [[nodiscard]] double share(std::uint64_t count) const;

  /// Local. What is kept of a task vector, on average over the tasks.
  [[nodiscard]] double mean_kept_share() const;
};

/// Tensors of one kind, such as `model.layers.*.mlp.up_proj.weight`: the same in all layers. Numbers
/// behind the layer's, as experts have, make no kinds of their own.
struct KindGroup {
  std::string name;
  std::string stack;  ///< the name up to the layer's number; empty: the tensors are in no layer
  std::string rest;   ///< the name behind it, for people; the name itself if in no layer
  Sums all;
  std::vector<std::pair<std::uint64_t, Sums>> layers;  ///< number and sums, by number
};

/// A layer of a stack; a model may have several stacks: an encoder and a decoder.
struct LayerGroup {
  std::string stack;
  std::uint64_t number = 0;
  Sums sums;
};

struct Groups {
  std::vector<KindGroup> kinds;     ///< in the base's order
  std::vector<LayerGroup> layers;   ///< stack by stack, by number
  std::vector<std::string> stacks;  ///< in the base's order
  std::optional<Sums> outside;      ///< tensors of no layer
};

/// Local. The tensors of a report by kind and by layer.
Groups group(const Report& report);

}  // namespace mpimerge::report
