#pragma once

#include <stdexcept>
#include <string>

namespace mpimerge::hdf5 {

/// A call of HDF5 failed. The text is what was tried and the innermost reason of HDF5's error
/// stack, one line; it names no file: the caller, who knows whether it was input or output, does.
class Failure : public std::runtime_error {
 public:
  Failure(const std::string& message, bool no_space)
      : std::runtime_error(message), no_space_(no_space) {}

  /// Local. Whether the reason is a full disk or a used-up quota.
  [[nodiscard]] bool no_space() const noexcept { return no_space_; }

 private:
  bool no_space_;
};

}  // namespace mpimerge::hdf5
