#include "output/partial_directory.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/log.hpp"
#include "mpimerge/base/text.hpp"

#include "output/partial_file.hpp"
#include "output/paths.hpp"

namespace mpimerge::output {
namespace {

using std::filesystem::path;

constexpr const char* kInTheWay =
    "is in the way and not a directory; remove it, or choose another output";

std::vector<std::string> names_in(const path& directory) {
  std::error_code failed;
  std::vector<std::string> names;
  std::filesystem::directory_iterator entry(directory, failed);
  for (; !failed && entry != std::filesystem::directory_iterator(); entry.increment(failed))
    names.push_back(entry->path().filename().string());
  if (failed) fail(directory, fmt::format("cannot be read: {}", failed.message()));
  std::sort(names.begin(), names.end());
  return names;
}

bool is_plain_file(const path& file) {
  const auto kind = kind_of(file);
  return kind && S_ISREG(*kind);
}

void check_all_ours(const path& directory, const IsOurs& is_ours) {
  for (const std::string& name : names_in(directory)) {
    if (is_ours(name) && is_plain_file(directory / name)) continue;
    fail(directory, fmt::format("holds `{}`, which mpimerge does not write there; only what it "
                                "writes is replaced. Move that away, or choose another output",
                                base::printable(name)));
  }
}

void check_replaceable(const path& name, const std::string& marker, const IsOurs& is_ours) {
  if (names_in(name).empty()) return;
  if (!is_plain_file(name / marker)) {
    fail(name, fmt::format("is a directory that mpimerge did not write (it has no {}), so it is "
                           "not replaced; remove it, or choose another output",
                           marker));
  }
  check_all_ours(name, is_ours);
}

void check_name(const path& name, bool overwrite, const std::string& marker,
                const IsOurs& is_ours) {
  const auto kind = kind_of(name);
  if (!kind) return;
  if (!S_ISDIR(*kind)) {
    fail(name,
         "exists and is not a directory, which this output would be; a name that ends in .h5 or "
         ".hdf5 makes an HDF5 file. Choose another output");
  }
  if (!overwrite) fail(name, kExists);
  check_replaceable(name, marker, is_ours);
}

// Both names stay taken all the time. Where the file system cannot do that (EINVAL), `name` is free
// for a moment.
bool exchange(const path& partial, const path& name) {
  if (::renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, name.c_str(), RENAME_EXCHANGE) == 0)
    return true;
  if (errno == ENOENT) return rename_to_free_name(partial, name);  // removed meanwhile
  if (errno != EINVAL && errno != ENOSYS) return false;
  const path aside = path(name) += ".replaced";
  if (!rename_to_free_name(name, aside)) return false;
  if (rename_to_free_name(partial, name)) return rename_to_free_name(aside, partial);
  const int code = errno;
  static_cast<void>(rename_to_free_name(aside, name));
  errno = code;
  return false;
}

}  // namespace

path directory_name(const path& name) {
  path plain = name.has_filename() ? name : name.parent_path();
  const path last = plain.filename();
  if (last.empty() || last == "." || last == "..")
    fail(name, "is not the name of a directory that could be made; choose another output");
  return plain;
}

void make_way_for_directory(const path& name, bool overwrite, const std::string& marker,
                            const IsOurs& is_ours) {
  check_directory(directory_of(name));
  check_name(name, overwrite, marker, is_ours);
  const path partial = partial_name(name);
  const auto kind = kind_of(partial);
  if (!kind) return;
  if (!S_ISDIR(*kind)) fail(partial, kInTheWay);
  check_all_ours(partial, is_ours);
  if (!remove_directory(partial, is_ours))
    fail(partial, "the partial directory of an earlier run cannot be removed");
}

void check_way_for_directory(const path& name, bool overwrite, const std::string& marker,
                             const IsOurs& is_ours) {
  check_directory(directory_of(name));
  check_name(name, overwrite, marker, is_ours);
  const path partial = partial_name(name);
  const auto kind = kind_of(partial);
  if (!kind) fail(partial, "the partial directory of the earlier run is missing");
  if (!S_ISDIR(*kind)) fail(partial, kInTheWay);
}

bool remove_directory(const path& directory, const IsOurs& is_ours) noexcept {
  try {
    for (const std::string& name : names_in(directory)) {
      if (is_ours(name)) ::unlink((directory / name).c_str());
    }
    return ::rmdir(directory.c_str()) == 0;
  } catch (const std::exception&) {
    return false;
  }
}

void write_text_file(const path& file, const std::string& text) {
  const base::FileDescriptor made(
      ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (!made) fail_with_errno(file, "cannot be made");
  write_exactly(made, file, base::Bytes{}, std::as_bytes(std::span(text)));
  if (::fsync(made.get()) != 0) fail_with_errno(file, "cannot be written to the disk");
}

void rename_partial_directory(const path& name, bool overwrite, const IsOurs& is_ours) {
  const path partial = partial_name(name);
  const bool replaces = overwrite && kind_of(name);
  const bool renamed = replaces ? exchange(partial, name) : rename_to_free_name(partial, name);
  if (!renamed) {
    fail_with_errno(name,
                    fmt::format("cannot be given its name; the result is complete and stays as {}",
                                partial.string()));
  }
  sync_directory(directory_of(name));
  if (replaces && kind_of(partial) && !remove_directory(partial, is_ours)) {
    base::log().warn("{}: is what {} was before, and could not be removed", partial.string(),
                     name.string());
  }
}

}  // namespace mpimerge::output
