#include "output/paths.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/narrow.hpp"

namespace mpimerge::output {

using std::filesystem::path;

void fail(const path& file, const std::string& what) {
  throw base::Error(base::ErrorKind::output, fmt::format("{}: {}", file.string(), what));
}

void fail_with_errno(const path& file, std::string_view doing) {
  const int code = errno;
  const bool no_space = code == ENOSPC || code == EDQUOT;
  throw base::Error(no_space ? base::ErrorKind::resources : base::ErrorKind::output,
                    fmt::format("{}: {}: {}", file.string(), doing, std::strerror(code)));
}

path directory_of(const path& name) {
  return name.has_parent_path() ? name.parent_path() : path(".");
}

std::optional<mode_t> kind_of(const path& name) {
  struct stat status {};
  if (::lstat(name.c_str(), &status) == 0) return status.st_mode;
  if (errno != ENOENT) fail_with_errno(name, "cannot be looked up");
  return std::nullopt;
}

void check_directory(const path& directory) {
  struct stat status {};
  if (::stat(directory.c_str(), &status) != 0) {
    if (errno == ENOENT)
      fail(directory, "no such directory for the output; create it, or choose another output");
    fail_with_errno(directory, "the directory for the output cannot be used");
  }
  if (!S_ISDIR(status.st_mode)) fail(directory, "is not a directory; choose another output");
  if (::faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
    fail_with_errno(directory, "the directory for the output is not writable");
  }
}

bool rename_to_free_name(const path& from, const path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS) return false;
  if (kind_of(to)) {
    errno = EEXIST;
    return false;
  }
  return ::rename(from.c_str(), to.c_str()) == 0;
}

void write_exactly(const base::FileDescriptor& descriptor, const path& file, base::Bytes begin,
                   std::span<const std::byte> bytes) {
  std::uint64_t at = begin.value();
  while (!bytes.empty()) {
    const ssize_t written =
        ::pwrite(descriptor.get(), bytes.data(), bytes.size(), base::narrow<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_with_errno(file, "cannot be written");
    at += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void sync_directory(const path& directory) {
  const base::FileDescriptor descriptor(
      ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Some file systems cannot sync a directory (EINVAL); the file is there all the same.
  if (!descriptor || (::fsync(descriptor.get()) != 0 && errno != EINVAL)) {
    fail_with_errno(directory, "the directory cannot be written to the disk");
  }
}

}  // namespace mpimerge::output
