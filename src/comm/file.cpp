#include "mpimerge/comm/file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/narrow.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/comm/error.hpp"

namespace mpimerge::comm {
namespace {

using std::filesystem::path;

// MPI 3.1 counts are int: longer data go in pieces.
constexpr std::size_t kPiece = std::size_t{1} << 30;

std::string text_of(int status) {
  char text[MPI_MAX_ERROR_STRING + 1] = {};
  int length = 0;
  MPI_Error_string(status, text, &length);
  return text;
}

[[noreturn]] void fail(const path& file, std::string_view doing, const std::string& reason,
                       bool no_space) {
  throw base::Error(no_space ? base::ErrorKind::resources : base::ErrorKind::output,
                    fmt::format("{}: {}: {}{}", file.string(), doing, reason,
                                no_space ? "; free some space, or choose another output" : ""));
}

// In the system's words, which say more than MPI's ("invalid access mode"); 0 for what MPI alone
// has a name for.
int errno_of(int status) {
  int kind = MPI_SUCCESS;
  MPI_Error_class(status, &kind);
  switch (kind) {
    case MPI_ERR_ACCESS: return EACCES;
    case MPI_ERR_FILE_EXISTS: return EEXIST;
    case MPI_ERR_NO_SPACE: return ENOSPC;
    case MPI_ERR_NO_SUCH_FILE: return ENOENT;
    case MPI_ERR_QUOTA: return EDQUOT;
    case MPI_ERR_READ_ONLY: return EROFS;
    default: return 0;
  }
}

void check_io(int status, const path& file, std::string_view doing) {
  if (status == MPI_SUCCESS) return;
  const int code = errno_of(status);
  fail(file, doing, code == 0 ? text_of(status) : std::strerror(code),
       code == ENOSPC || code == EDQUOT);
}

MPI_File open_file(const path& name, int mode, const Hints& hints, std::string_view doing) {
  const Info info = make_info(hints);
  MPI_File file = MPI_FILE_NULL;
  check_io(MPI_File_open(MPI_COMM_SELF, mpi_io_name(name).c_str(), mode, info.get(), &file), name,
           doing);
  return file;
}

}  // namespace

void check_hints(const Hints& hints) {
  for (const auto& [name, value] : hints) {
    if (name.empty() || name.size() >= MPI_MAX_INFO_KEY || value.empty() ||
        value.size() >= MPI_MAX_INFO_VAL) {
      throw base::Error(
          base::ErrorKind::job,
          fmt::format(
              "the hint `{}` for MPI-IO has a name of {} and a value of {} characters; this MPI "
              "library takes 1 to {} and 1 to {}",
              base::printable(name), name.size(), value.size(), MPI_MAX_INFO_KEY - 1,
              MPI_MAX_INFO_VAL - 1));
    }
  }
}

void InfoTraits::close(MPI_Info info) noexcept { MPI_Info_free(&info); }

Info make_info(const Hints& hints) {
  MPI_Info made = MPI_INFO_NULL;
  check(MPI_Info_create(&made));
  Info info(made);
  for (const auto& [name, value] : hints)
    check(MPI_Info_set(info.get(), name.c_str(), value.c_str()));
  return info;
}

std::string mpi_io_name(const path& name) {
  if (name.native().find(':') == std::string::npos) return name.native();
  constexpr auto kNfs = 0x6969;
  const path directory = name.has_parent_path() ? name.parent_path() : path(".");
  struct statfs file_system {};
  const bool nfs = ::statfs(directory.c_str(), &file_system) == 0 && file_system.f_type == kNfs;
  return (nfs ? "nfs:" : "ufs:") + name.native();
}

int errno_of_plain_write(const path& name, base::Bytes offset, std::span<const std::byte> data) {
  const base::FileDescriptor file(::open(name.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return errno;
  for (std::size_t done = 0; done < data.size();) {
    const ssize_t wrote = ::pwrite(file.get(), data.data() + done, data.size() - done,
                                   base::narrow<off_t>(offset.value() + done));
    if (wrote <= 0) return wrote < 0 ? errno : EIO;
    done += static_cast<std::size_t>(wrote);
  }
  return ::fsync(file.get()) == 0 ? 0 : errno;
}

void FileTraits::close(MPI_File file) noexcept { MPI_File_close(&file); }

File::File(path name, FileHandle file) : path_(std::move(name)), file_(std::move(file)) {}

File File::create(const path& name, const Hints& hints) {
  check_hints(hints);
  constexpr int kNew = MPI_MODE_WRONLY | MPI_MODE_CREATE | MPI_MODE_EXCL;
  return {name, FileHandle(open_file(name, kNew, hints, "cannot be made"))};
}

File File::open(const path& name) {
  return {name, FileHandle(open_file(name, MPI_MODE_WRONLY, {}, "cannot be opened"))};
}

void File::write_at(base::Bytes offset, std::span<const std::byte> data) {
  for (std::size_t begin = 0; begin < data.size(); begin += kPiece) {
    const auto piece = data.subspan(begin, std::min(kPiece, data.size() - begin));
    const base::Bytes at = offset + base::Bytes{begin};
    const int status =
        MPI_File_write_at(file_.get(), base::narrow<MPI_Offset>(at.value()), piece.data(),
                          base::narrow<int>(piece.size()), MPI_BYTE, MPI_STATUS_IGNORE);
    if (status == MPI_SUCCESS) continue;
    const int code = errno_of_plain_write(path_, at, piece);
    if (code == 0) check_io(status, path_, "cannot be written");
    fail(path_, "cannot be written", std::strerror(code), code == ENOSPC || code == EDQUOT);
  }
}

void File::close() {
  MPI_File file = file_.release();
  check_io(MPI_File_close(&file), path_, "cannot be closed");
}

}  // namespace mpimerge::comm
