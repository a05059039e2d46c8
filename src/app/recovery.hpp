#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/comm.hpp"
#include "mpimerge/merge/merge.hpp"
#include "mpimerge/output/journal.hpp"

#include "app/cli.hpp"
#include "app/output_writer.hpp"

namespace mpimerge::app {

/// Local. The journal's place: what the options say, else beside the first output. Empty where there
/// is no output: nothing could be gone on with.
std::filesystem::path journal_path(const MergeOptions& options,
                                   const std::vector<std::string>& outputs);

/// Local. What stands of an earlier run of this merge.
/// @param now  this merge: program, job, inputs
/// @param path  empty: of a merge without a journal
/// @return nothing where there is no journal, or the merge is to begin anew (`--overwrite`)
/// Errors: Error{output}: there is a journal but no `--resume`; it is damaged, or of another version;
/// Error{job}, Error{input}: it is of another job, or an input has changed since.
std::optional<output::Journal> earlier_run(const MergeOptions& options,
                                           const std::filesystem::path& path,
                                           const output::Journal& now);

/// Local. The outputs have their names: no journal is needed.
/// Errors: Error{output}.
void remove_journal(const std::filesystem::path& path);

/// Local. The slabs of a point of a sweep, in order. The points' outputs have unlike bytes, so that
/// a journal has slabs of each: its datasets are those of the first point, then those of the second,
/// and so on.
/// @param datasets  of an output
std::vector<output::Slab> slabs_of_point(const std::vector<output::Slab>& slabs, std::size_t point,
                                         std::size_t datasets);

/// Keeps the journal of a merge: what has come so far, for a run that goes on.
class Recovery {
 public:
  /// Local. Keeps references to `comm` and, from `begin` on, to the others.
  /// @param path     empty: no journal is kept
  /// @param journal   on rank 0: of this merge, with what earlier runs finished
  /// @param datasets  of an output
  Recovery(const comm::Comm& comm, std::filesystem::path path, double interval_seconds,
           output::Journal journal, std::size_t datasets);

  /// Local. What this rank wishes: to stop after a signal; rank 0: to save when it is time.
  [[nodiscard]] comm::Wish wish() const;

  /// Collective. Writes down what `merge` knows and what lies in `writers`, after syncing them.
  /// Nothing where no journal is kept.
  /// @param merge  null before it knows its thresholds: a later run begins anew then
  /// Errors: AgreedError{output}, {resources}.
  void save(const merge::Merge* merge, std::vector<OutputWriter>& writers);

  /// Local, on rank 0. Writes down that this merge was begun, for a run that finds all outputs whole.
  /// Errors: Error{output}, {resources}.
  void note();

  /// Local. Everything will be written again: what lies in `writers` does not count.
  void forget_slabs(std::vector<OutputWriter>& writers);

  /// Local. Whether there is a journal to go on from.
  [[nodiscard]] bool saved() const noexcept { return saved_; }
  /// Local.
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  /// Local, on rank 0. The account so far; this run ends now.
  [[nodiscard]] const output::Journal& account();

  /// Local, on rank 0, at the end.
  /// Errors: Error{output}.
  void remove() {
    if (!path_.empty()) remove_journal(path_);
  }

 private:
  using Clock = std::chrono::steady_clock;

  const comm::Comm& comm_;
  std::filesystem::path path_;
  Clock::duration interval_;
  output::Journal journal_;
  std::size_t datasets_;
  bool saved_ = false;
  Clock::time_point last_ = Clock::now();
};

}  // namespace mpimerge::app
