#include "app/recovery.hpp"

#include <algorithm>
#include <cstring>
#include <sstream>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/log.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/output/pass_file.hpp"

#include "app/provenance.hpp"
#include "app/stop.hpp"

namespace mpimerge::app {
namespace {

using std::filesystem::path;

constexpr const char* kRemedy = "--overwrite begins the merge anew";

// "line 3 was `a` and is `b`"
std::string first_difference(const std::string& before, const std::string& now) {
  std::istringstream before_lines(before);
  std::istringstream now_lines(now);
  for (int number = 1;; ++number) {
    std::string was;
    std::string is;
    const bool more_before = static_cast<bool>(std::getline(before_lines, was));
    const bool more_now = static_cast<bool>(std::getline(now_lines, is));
    if (was != is || !more_before || !more_now) {
      return fmt::format("line {} was `{}` and is `{}`", number, base::printable(was),
                         base::printable(is));
    }
  }
}

[[noreturn]] void refuse(base::ErrorKind kind, const path& journal, const std::string& what) {
  throw base::Error(kind, fmt::format("{}: {}; {}", journal.string(), what, kRemedy));
}

void check_inputs(const path& journal, const std::vector<output::InputFile>& before,
                  const std::vector<output::InputFile>& now) {
  const auto kind = base::ErrorKind::input;
  for (std::size_t number = 0; number < std::min(before.size(), now.size()); ++number) {
    const output::InputFile& was = before[number];
    const output::InputFile& is = now[number];
    if (was.path != is.path)
      refuse(kind, journal, fmt::format("the input {} is now {}", was.path, is.path));
    if (was.bytes != is.bytes) {
      refuse(kind, journal,
             fmt::format("the input {} has changed since: it had {} bytes and has {}", is.path,
                         was.bytes.value(), is.bytes.value()));
    }
    if (was.header != is.header) {
      refuse(kind, journal,
             fmt::format("the input {} has changed since: its header is another", is.path));
    }
    if (was.modified != is.modified) {
      refuse(kind, journal,
             fmt::format("the input {} has changed since: it was modified {} and then {}", is.path,
                         utc_time(was.modified), utc_time(is.modified)));
    }
  }
  if (before.size() != now.size()) {
    refuse(kind, journal,
           fmt::format("the models had {} files and have {}", before.size(), now.size()));
  }
}

}  // namespace

path journal_path(const MergeOptions& options, const std::vector<std::string>& outputs) {
  if (outputs.empty()) return {};
  if (!options.journal.empty()) return options.journal;
  return path(outputs.front()) += ".journal";
}

std::optional<output::Journal> earlier_run(const MergeOptions& options, const path& path,
                                           const output::Journal& now) {
  if (path.empty()) return std::nullopt;
  std::error_code failed;
  const auto status = std::filesystem::symlink_status(path, failed);
  if (status.type() == std::filesystem::file_type::not_found) return std::nullopt;
  if (!options.resume) {
    if (options.overwrite) {
      if (!output::is_journal(path)) {
        throw base::Error(base::ErrorKind::output,
                          fmt::format("{}: is not a journal, so it is not removed; remove it, or "
                                      "choose another with --journal",
                                      path.string()));
      }
      std::filesystem::remove(path, failed);
      if (!failed) return std::nullopt;
      throw base::Error(base::ErrorKind::output,
                        fmt::format("{}: cannot be removed: {}", path.string(), failed.message()));
    }
    throw base::Error(base::ErrorKind::output,
                      fmt::format("{}: an earlier run was stopped in the middle of this merge; "
                                  "--resume goes on with it, {}",
                                  path.string(), kRemedy));
  }
  output::Journal journal = output::read_journal(path);
  if (journal.program != now.program) {
    refuse(base::ErrorKind::output, path,
           fmt::format("was written by mpimerge {}; this is {}", journal.program, now.program));
  }
  if (journal.job != now.job) {
    refuse(base::ErrorKind::job, path,
           "is of another job: " + first_difference(journal.job, now.job));
  }
  check_inputs(path, journal.inputs, now.inputs);
  return journal;
}

void remove_journal(const path& journal, const path& pass) {
  output::remove_pass_file(pass);
  std::error_code failed;
  std::filesystem::remove(journal, failed);
  if (failed) {
    throw base::Error(
        base::ErrorKind::output,
        fmt::format("{}: cannot be removed: {}; the outputs are complete, it is not needed",
                    journal.string(), failed.message()));
  }
}

path pass_path(const std::vector<std::string>& outputs) {
  if (outputs.empty()) return {};
  return path(outputs.front()) += ".pass";
}

void warn_of_damaged_pass(const path& path) {
  base::log().warn("{}: is damaged; the inputs are looked at from the beginning", path.string());
}

std::vector<std::byte> earlier_pass(const path& path, std::uint64_t merge, bool is_kept) {
  if (path.empty()) return {};
  std::error_code failed;
  const auto status = std::filesystem::symlink_status(path, failed);
  if (status.type() != std::filesystem::file_type::not_found) {
    if (!output::is_pass_file(path)) {
      throw base::Error(base::ErrorKind::output,
                        fmt::format("{}: is in the way: a merge saves there what it has seen of "
                                    "its inputs; remove it, or choose another output",
                                    path.string()));
    }
    const auto head = is_kept ? output::read_pass_head(path) : std::nullopt;
    if (head && head->merge == merge) return output::encode(*head);
    if (is_kept) warn_of_damaged_pass(path);
  }
  output::remove_pass_file(path);
  return {};
}

Recovery::Recovery(const comm::Comm& comm, std::filesystem::path path, std::filesystem::path pass,
                   std::uint64_t merge, double interval_seconds, output::Journal journal)
    : comm_(comm),
      path_(std::move(path)),
      pass_(std::move(pass)),
      merge_(merge),
      interval_(std::chrono::duration_cast<Clock::duration>(
          std::chrono::duration<double>(interval_seconds))),
      journal_(std::move(journal)) {}

comm::Wish Recovery::wish() const {
  if (stop_signal() != 0) return comm::Wish::stop;
  const bool is_time = comm_.is_root() && !path_.empty() && Clock::now() - last_ >= interval_;
  return is_time ? comm::Wish::save : comm::Wish::go_on;
}

void Recovery::save_pass(const merge::Merge& merge) {
  if (path_.empty()) return;
  output::write_pass(comm_, pass_, merge_, merge.pass_state(comm_),
                     [&](const base::PutWords& words) { merge.put_own(words); });
  comm::collectively(comm_, "journal", [&] {
    if (comm_.is_root()) output::write_journal(path_, account());
  });
  saved_ = true;
  last_ = Clock::now();
}

void Recovery::save(const merge::Merge& merge, std::vector<OutputWriter>& writers) {
  if (path_.empty()) return;
  for (OutputWriter& writer : writers) writer.sync();
  const std::vector<std::uint64_t> numbers = merge.progress(comm_);
  std::vector<output::Slab> slabs;
  for (OutputWriter& writer : writers) slabs = writer.take_new_slabs();  // all have the same
  static_assert(std::is_trivially_copyable_v<output::Slab>);
  const std::vector<char> all = comm::gather_bytes(
      comm_, {reinterpret_cast<const char*>(slabs.data()), slabs.size() * sizeof(output::Slab)});
  if (comm_.is_root()) {
    const std::size_t before = journal_.slabs.size();
    journal_.slabs.resize(before + all.size() / sizeof(output::Slab));
    if (!all.empty()) std::memcpy(journal_.slabs.data() + before, all.data(), all.size());
    journal_.method = numbers;
  }
  comm::collectively(comm_, "journal", [&] {
    if (!comm_.is_root()) return;
    output::write_journal(path_, account());
    output::remove_pass_file(pass_);  // the journal says all that it could
  });
  for (OutputWriter& writer : writers) writer.keep();
  saved_ = true;
  last_ = Clock::now();
}

void Recovery::forget_slabs(std::vector<OutputWriter>& writers) {
  journal_.slabs.clear();
  for (OutputWriter& writer : writers) writer.forget();
}

const output::Journal& Recovery::account() {
  journal_.runs.back().ended = utc_now();
  return journal_;
}

}  // namespace mpimerge::app
