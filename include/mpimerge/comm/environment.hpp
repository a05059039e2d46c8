#pragma once

namespace mpimerge::comm {

/// MPI from start to end. MPI-IO goes through ROMIO: Open MPI's own OMPIO reports success on a full
/// disk with half of the data missing.
class Environment {
 public:
  /// Collective over all processes of the job. Starts MPI.
  Environment(int& argc, char**& argv);
  /// Collective. Ends MPI, unless an exception that other ranks do not share is under way.
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  /// Local. Whether the user's settings asked for OMPIO and were overruled.
  [[nodiscard]] bool overruled_ompio() const noexcept { return overruled_ompio_; }

 private:
  bool overruled_ompio_ = false;
};

}  // namespace mpimerge::comm
