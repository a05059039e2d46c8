#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace mpimerge::job {

/// Where something of the job was written: a line of the file or one of the `--set` texts.
struct Place {
  int line = 0;  ///< 1-based; 0 in a `--set` text
  int set = -1;  ///< which `--set`, from 0; -1 in the file
};

/// Of more, the rest is only counted: then the file is no job, and nobody reads on.
inline constexpr std::size_t kMostFaultsTold = 100;

/// Every fault of one job, to be reported together.
class Faults {
 public:
  /// @param file      the job file as messages name it
  /// @param set_keys  the KEY of each `--set`, in order
  Faults(std::string file, std::vector<std::string> set_keys);

  /// Local. Notes a fault. `key` is the dotted path of the key, empty for the file as a whole.
  void add(Place place, std::string_view key, std::string_view message);

  /// Local. Whether more were noted than anybody will be told.
  [[nodiscard]] bool are_too_many() const noexcept { return faults_.size() > kMostFaultsTold; }

  /// Local. Throws Error{job} with one line per fault, those of the file first and by line, up to
  /// kMostFaultsTold, or returns. What was noted several times, for the points of a sweep, counts once.
  void throw_if_any() const;

 private:
  struct Fault {
    Place place;
    std::string text;
  };

  std::string file_;
  std::vector<std::string> set_keys_;
  std::vector<Fault> faults_;
};

}  // namespace mpimerge::job
