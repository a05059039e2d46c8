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

/// Local. Where a look at the inputs is saved: beside the first output, where every rank can write.
/// Empty where there is none.
std::filesystem::path pass_path(const std::vector<std::string>& outputs);

/// Local. Says that what an earlier run saved of a look at the inputs does not count.
void warn_of_damaged_pass(const std::filesystem::path& path);

/// Local, on rank 0. The head of what an earlier run saved of a look at the inputs.
/// @param merge    checksum of this merge
/// @param is_kept  whether that run's journal is gone on with: else the file is removed
/// @return its bytes; none where there is nothing to go on from: with a warning if it is damaged
/// Errors: Error{output}: something else has the file's name.
std::vector<std::byte> earlier_pass(const std::filesystem::path& path, std::uint64_t merge,
                                    bool is_kept);

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
void remove_journal(const std::filesystem::path& journal, const std::filesystem::path& pass);

/// Keeps the journal of a merge: what has come so far, for a run that goes on.
class Recovery {
 public:
  /// Local. Keeps references to `comm` and, from `begin` on, to the others.
  /// @param path     empty: no journal is kept, and nothing saved
  /// @param pass     pass_path
  /// @param merge    checksum of this merge
  /// @param journal  on rank 0: of this merge, with what earlier runs finished
  Recovery(const comm::Comm& comm, std::filesystem::path path, std::filesystem::path pass,
           std::uint64_t merge, double interval_seconds, output::Journal journal);

  /// Local. What this rank wishes: to stop after a signal; rank 0: to save when it is time.
  [[nodiscard]] comm::Wish wish() const;

  /// Collective, between two parts of a step of `merge`. Writes down what it has found so far.
  /// Errors: AgreedError{output}, {resources}.
  void save_pass(const merge::Merge& merge);

  /// Collective, after the steps. Writes down what `merge` knows and what lies in `writers`, after
  /// syncing them.
  /// Errors: AgreedError{output}, {resources}.
  void save(const merge::Merge& merge, std::vector<OutputWriter>& writers);

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
    if (!path_.empty()) remove_journal(path_, pass_);
  }

 private:
  using Clock = std::chrono::steady_clock;

  const comm::Comm& comm_;
  std::filesystem::path path_;
  std::filesystem::path pass_;
  std::uint64_t merge_;
  Clock::duration interval_;
  output::Journal journal_;
  bool saved_ = false;
  Clock::time_point last_ = Clock::now();
};

}  // namespace mpimerge::app
