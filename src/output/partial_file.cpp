#include "output/partial_file.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/index.hpp"
#include "mpimerge/base/narrow.hpp"
#include "mpimerge/base/text.hpp"

#include "output/paths.hpp"

namespace mpimerge::output {
namespace {

using std::filesystem::path;

constexpr const char* kInTheWay =
    "is in the way and no regular file; remove it, or choose another output";

void check_name(const path& name, bool overwrite) {
  if (!name.has_filename()) fail(name, "is a directory; expected the name of a file");
  const auto kind = kind_of(name);
  if (!kind) return;
  struct stat target {};
  if (::stat(name.c_str(), &target) == 0 && S_ISDIR(target.st_mode)) {
    fail(name, "is a directory; expected the name of a file");
  }
  if (!S_ISREG(*kind) && !S_ISLNK(*kind))
    fail(name, "is not a regular file (a device, FIFO or socket)");
  if (!overwrite) fail(name, kExists);
}

base::FileDescriptor open_or_fail(const path& file, int flags) {
  base::FileDescriptor descriptor(::open(file.c_str(), flags | O_CLOEXEC | O_NOFOLLOW));
  if (!descriptor) fail_with_errno(file, "cannot be opened");
  return descriptor;
}

// Without a reservation the best that is known is what the file system calls free; some say 0 of 0.
bool surely_too_little(const struct statvfs& before, std::uint64_t free_bytes,
                       std::uint64_t bytes) {
  return before.f_blocks != 0 && free_bytes < bytes;
}

}  // namespace

path partial_name(const path& name) { return path(name) += ".partial"; }

void make_way(const path& name, bool overwrite) {
  check_directory(directory_of(name));
  check_name(name, overwrite);
  const path partial = partial_name(name);
  const auto kind = kind_of(partial);
  if (!kind) return;
  if (!S_ISREG(*kind)) fail(partial, kInTheWay);
  if (::unlink(partial.c_str()) != 0)
    fail_with_errno(partial, "the partial file of an earlier run cannot be removed");
}

void check_way(const path& name, bool overwrite) {
  check_directory(directory_of(name));
  check_name(name, overwrite);
  const path partial = partial_name(name);
  const auto kind = kind_of(partial);
  if (!kind) fail(partial, "the partial file of the earlier run is missing");
  if (!S_ISREG(*kind)) fail(partial, kInTheWay);
}

void reserve_space(const path& file) {
  const base::FileDescriptor descriptor = open_or_fail(file, O_WRONLY);
  struct stat status {};
  struct statvfs before {};
  if (::fstat(descriptor.get(), &status) != 0 || ::fstatvfs(descriptor.get(), &before) != 0) {
    fail_with_errno(file, "its size and free space cannot be told");
  }
  const auto bytes = static_cast<std::uint64_t>(status.st_size);
  const std::uint64_t free_bytes = std::uint64_t{before.f_bavail} * before.f_frsize;
  // Not posix_fallocate: where the file system cannot reserve, that writes every block.
  int code = 0;
  do {
    code = ::fallocate(descriptor.get(), 0, 0, status.st_size) == 0 ? 0 : errno;
  } while (code == EINTR);
  const bool unsupported = code == EOPNOTSUPP || code == ENOSYS;
  if (code == ENOSPC || code == EDQUOT ||
      (unsupported && surely_too_little(before, free_bytes, bytes))) {
    throw base::Error(
        base::ErrorKind::resources,
        fmt::format("{}: needs {}, but {} ({} are free in {}); free some, or choose another output",
                    file.string(), base::human_bytes(base::Bytes{bytes}),
                    code == EDQUOT ? "the quota does not allow it" : "the disk does not have it",
                    base::human_bytes(base::Bytes{free_bytes}), directory_of(file).string()));
  }
  if (code != 0 && !unsupported) {
    errno = code;
    fail_with_errno(file,
                    fmt::format("{} cannot be reserved", base::human_bytes(base::Bytes{bytes})));
  }
  if (::fsync(descriptor.get()) != 0) fail_with_errno(file, "cannot be written to the disk");
}

void sync_file(const path& file) {
  const base::FileDescriptor descriptor = open_or_fail(file, O_RDONLY);
  if (::fsync(descriptor.get()) != 0) fail_with_errno(file, "cannot be written to the disk");
}

void append_to_file(const path& file, base::Bytes end, std::span<const std::byte> bytes) {
  write_exactly(open_or_fail(file, O_WRONLY), file, end, bytes);
}

void replace_file(const path& file, std::span<const std::byte> bytes) {
  const path fresh = path(file) += ".new";
  if (::unlink(fresh.c_str()) != 0 && errno != ENOENT) fail_with_errno(fresh, "is in the way");
  {
    constexpr mode_t kAsTheUmaskLeavesIt = 0666;
    const base::FileDescriptor descriptor(::open(
        fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, kAsTheUmaskLeavesIt));
    if (!descriptor) fail_with_errno(fresh, "cannot be made");
    write_exactly(descriptor, fresh, base::Bytes{0}, bytes);
    if (::fsync(descriptor.get()) != 0) fail_with_errno(fresh, "cannot be written to the disk");
  }
  if (::rename(fresh.c_str(), file.c_str()) != 0) fail_with_errno(file, "cannot be replaced");
  sync_directory(directory_of(file));
}

void rename_partial(const path& name, bool overwrite) {
  const path partial = partial_name(name);
  const bool renamed =
      overwrite ? ::rename(partial.c_str(), name.c_str()) == 0 : rename_to_free_name(partial, name);
  if (!renamed) {
    fail_with_errno(name,
                    fmt::format("cannot be given its name; the result is complete and stays as {}",
                                partial.string()));
  }
  sync_directory(directory_of(name));
}

}  // namespace mpimerge::output
