#include "app/summary_file.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/text.hpp"

namespace mpimerge::app {
namespace {

using std::filesystem::path;

// A file that is written, and what messages say of it.
struct Target {
  const path& file;
  std::string_view option;
  std::string_view remedy;
};

[[noreturn]] void fail(const path& file, std::string_view option, std::string_view what) {
  throw base::Error(base::ErrorKind::output,
                    fmt::format("{}: {} ({})", base::printable_path(file), what, option));
}

[[noreturn]] void fail_with_errno(const Target& target) {
  const int code = errno;
  const bool no_space = code == ENOSPC || code == EDQUOT;
  throw base::Error(
      no_space ? base::ErrorKind::resources : base::ErrorKind::output,
      fmt::format("{}: cannot be written: {} ({}); {}", base::printable_path(target.file),
                  std::strerror(code), target.option, target.remedy));
}

path directory_of(const path& file) {
  return file.has_parent_path() ? file.parent_path() : path(".");
}

void write_all(int file, std::string_view text, const Target& target) {
  while (!text.empty()) {
    const ssize_t wrote = ::write(file, text.data(), text.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) fail_with_errno(target);
    text.remove_prefix(static_cast<std::size_t>(wrote));
  }
}

}  // namespace

void check_summary_file(const path& file, std::string_view option) {
  const path directory = directory_of(file);
  struct stat status {};
  if (!file.has_filename() || ::stat(directory.c_str(), &status) != 0 || !S_ISDIR(status.st_mode) ||
      ::access(directory.c_str(), W_OK | X_OK) != 0) {
    fail(file, option,
         "cannot be written; expected a file in a directory that exists and can be written");
  }
  if (::lstat(file.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    fail(file, option,
         "is a directory, a link, a device or the like; expected the name of a file, which may "
         "exist");
  }
}

void write_summary_file(const path& file, std::string_view text, std::string_view option,
                        std::string_view remedy) {
  const Target target{file, option, remedy};
  std::string name = (directory_of(file) / ".mpimerge-summary-XXXXXX").string();
  const base::FileDescriptor temporary(::mkstemp(name.data()));
  if (!temporary) fail_with_errno(target);
  try {
    write_all(temporary.get(), text, target);
    // As an ordinary new file has them: mkstemp gives the owner alone a right to it.
    const mode_t mask = ::umask(0);
    ::umask(mask);
    if (::fchmod(temporary.get(), 0666 & ~mask) != 0 || ::fsync(temporary.get()) != 0 ||
        std::rename(name.c_str(), file.c_str()) != 0) {
      fail_with_errno(target);
    }
  } catch (const base::Error&) {
    ::unlink(name.c_str());
    throw;
  }
}

}  // namespace mpimerge::app
