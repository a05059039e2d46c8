#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mpimerge::method {

/// The value of a parameter as a job gives it: a number, or one that depends on the tensor, as in
/// mergekit's files.
struct Setting {
  /// A value for the tensors whose name contains `filter`; empty: for all.
  struct Case {
    std::string filter;
    std::vector<double> values;  ///< not empty; more than one: a gradient over the layers

    template <class Archive>
    void serialize(Archive& archive, unsigned /*version*/) {
      archive& filter& values;
    }
  };
  std::vector<Case> cases;  ///< the first that fits a tensor is taken

  Setting() = default;
  explicit Setting(double value) : cases{{{}, {value}}} {}

  /// Local. The value for a tensor; nothing where no case fits it.
  /// @param depth  of its layer, from 0, the first, to 1, the last; 0 outside of layers
  [[nodiscard]] std::optional<double> at(std::string_view tensor, double depth) const;

  /// Local. The value that all tensors have; nothing where it depends on the tensor.
  [[nodiscard]] std::optional<double> constant() const;

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& cases;
  }
};

}  // namespace mpimerge::method
