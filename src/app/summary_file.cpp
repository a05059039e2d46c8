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

[[noreturn]] void fail(const path& file, std::string_view what, std::string_view option) {
  throw base::Error(base::ErrorKind::output,
                    fmt::format("{}: {} ({})", base::printable_path(file), what, option));
}

[[noreturn]] void fail_with_errno(const path& file, std::string_view option) {
  const int code = errno;
  const bool no_space = code == ENOSPC || code == EDQUOT;
  throw base::Error(
      no_space ? base::ErrorKind::resources : base::ErrorKind::output,
      fmt::format("{}: cannot be written: {} ({}){}", base::printable_path(file),
                  std::strerror(code), option,
                  option == "--summary" ? "; the same text is the attribute `summary` "
                                          "of the output, which is complete"
                                        : ""));
}

path directory_of(const path& file) {
  return file.has_parent_path() ? file.parent_path() : path(".");
}

void write_all(int file, std::string_view text, const path& name, std::string_view option) {
  while (!text.empty()) {
    const ssize_t wrote = ::write(file, text.data(), text.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) fail_with_errno(name, option);
    text.remove_prefix(static_cast<std::size_t>(wrote));
  }
}

}  // namespace

void check_summary_file(const path& file, std::string_view option) {
  const path directory = directory_of(file);
  struct stat status {};
  if (!file.has_filename() || ::stat(directory.c_str(), &status) != 0 || !S_ISDIR(status.st_mode) ||
      ::access(directory.c_str(), W_OK | X_OK) != 0) {
    fail(file, "cannot be written; expected a file in a directory that exists and can be written",
         option);
  }
  if (::lstat(file.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    fail(file,
         "is a directory, a link, a device or the like; expected the name of a file, which may "
         "exist",
         option);
  }
}

void write_summary_file(const path& file, std::string_view text, std::string_view option) {
  std::string name = (directory_of(file) / ".mpimerge-summary-XXXXXX").string();
  const base::FileDescriptor temporary(::mkstemp(name.data()));
  if (!temporary) fail_with_errno(file, option);
  try {
    write_all(temporary.get(), text, file, option);
    // As an ordinary new file has them: mkstemp gives the owner alone a right to it.
    const mode_t mask = ::umask(0);
    ::umask(mask);
    if (::fchmod(temporary.get(), 0666 & ~mask) != 0 || ::fsync(temporary.get()) != 0 ||
        std::rename(name.c_str(), file.c_str()) != 0) {
      fail_with_errno(file, option);
    }
  } catch (const base::Error&) {
    ::unlink(name.c_str());
    throw;
  }
}

}  // namespace mpimerge::app
