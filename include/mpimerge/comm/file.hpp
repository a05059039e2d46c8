#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <type_traits>

#include <mpi.h>

#include "mpimerge/base/index.hpp"
#include "mpimerge/base/unique_handle.hpp"

namespace mpimerge::comm {

/// Hints for MPI-IO, by name.
using Hints = std::map<std::string, std::string>;

/// Local. Proves that MPI takes the hints: it would end the job without saying which one it refuses.
/// Errors: Error{job} that names the hint.
void check_hints(const Hints& hints);

struct InfoTraits {
  using Handle = MPI_Info;
  static Handle null() noexcept { return MPI_INFO_NULL; }
  static void close(MPI_Info info) noexcept;
};
using Info = base::UniqueHandle<InfoTraits>;
static_assert(std::is_nothrow_move_constructible_v<Info> && !std::is_copy_constructible_v<Info>);

/// Local. The hints as MPI takes them.
Info make_info(const Hints& hints);

/// Local. The name under which ROMIO opens an existing file, or one to be made: it takes what stands
/// before a ':' in a name for the kind of file system, and fails if it knows none. Said explicitly,
/// it is not searched for in the path.
std::string mpi_io_name(const std::filesystem::path& path);

/// Local. Why MPI-IO could not write `data`: it says "input/output error" to everything. The same
/// bytes, written to the same place without it, tell whether the disk is full, a quota used up, or a
/// limit reached; the file is lost anyway.
/// @return an errno; 0 if now they could be written
int errno_of_plain_write(const std::filesystem::path& path, base::Bytes offset,
                         std::span<const std::byte> data);

struct FileTraits {
  using Handle = MPI_File;
  static Handle null() noexcept { return MPI_FILE_NULL; }
  static void close(MPI_File file) noexcept;
};
using FileHandle = base::UniqueHandle<FileTraits>;
static_assert(std::is_nothrow_move_constructible_v<FileHandle> &&
              !std::is_copy_constructible_v<FileHandle>);

/// A file that this rank writes with MPI-IO, at offsets that it knows.
///
/// Opened for this rank alone and written independently, so everything about it is local: other
/// ranks may have the same file open and write other bytes of it, a rank opens only the files that
/// it has something for, and an error stays with the rank that meets it, for `collectively` to
/// share. (A collective write that fails on one rank leaves the others inside MPI for ever.)
///
/// Errors, of all functions: Error{output} that names the file and the reason; {resources} if the
/// disk is full or the quota used up.
class File {
 public:
  /// Local. Makes a new file; one that exists is an error, never replaced.
  /// @param hints  such as striping_factor and striping_unit, for file systems that have stripes
  static File create(const std::filesystem::path& path, const Hints& hints);
  /// Local. Opens a file that exists.
  static File open(const std::filesystem::path& path);

  /// Local. Writes all of `data`, of any length, from byte `offset` on.
  void write_at(base::Bytes offset, std::span<const std::byte> data);

  /// Local. The normal end: reports what the destructor would hide.
  void close();

 private:
  File(std::filesystem::path path, FileHandle file);

  std::filesystem::path path_;
  FileHandle file_;
};
static_assert(std::is_nothrow_move_constructible_v<File> && !std::is_copy_constructible_v<File>);

}  // namespace mpimerge::comm
