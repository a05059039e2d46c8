#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "mpimerge/base/index.hpp"
#include "mpimerge/comm/comm.hpp"
#include "mpimerge/comm/file.hpp"
#include "mpimerge/hdf5/failure.hpp"
#include "mpimerge/hdf5/handle.hpp"

namespace mpimerge::hdf5 {

/// How raw data went to the file according to HDF5 itself, over all ranks and calls.
struct TransferReport {
  std::string actual_io_mode;       ///< "contiguous collective"; several are joined by ", "; "none"
                                    ///< without a write
  std::string no_collective_cause;  ///< "none", or why HDF5 dropped collective mode without a word
};

/// An existing file that all ranks have open with MPI-IO to write raw data into existing contiguous
/// 1-D datasets, collectively. Metadata are never changed, so the file is valid at every moment.
class CollectiveFile {
 public:
  /// Collective over `comm`, which must outlive the file; all arguments equal on all ranks.
  ///
  /// @param datasets  paths; `write` names them by their position here
  /// @param hints     for the MPI-IO library, over our own (no data sieving in writes)
  /// Errors: AgreedError{output}; {job} for a hint that MPI does not take. If only some ranks could
  /// open the file, the job ends: closing is collective as well, so the others could not go back.
  static CollectiveFile open(const comm::Comm& comm, const std::filesystem::path& path,
                             const std::vector<std::string>& datasets, const comm::Hints& hints);

  CollectiveFile(CollectiveFile&&) noexcept = default;
  CollectiveFile& operator=(CollectiveFile&&) = delete;  // would hide a collective close
  /// Collective as a fallback: closes while ranks are in step, otherwise leaks on purpose.
  ~CollectiveFile();

  /// Collective; `dataset` equal on all ranks. Writes this rank's `data`, which may be empty, from
  /// element `offset` on.
  /// @param data  little-endian and of the dataset's type, whole elements; at most 1 GiB
  /// Errors: none that return. A rank that fails here alone has left the others inside HDF5, so it
  /// prints one line and ends the job: exit code 6 if the disk is full, else 5.
  void write(std::size_t dataset, base::Elements offset, std::span<const std::byte> data);

  /// Collective. What HDF5 said of all the writes so far; equal on all ranks.
  [[nodiscard]] TransferReport report_transfers() const;

  /// Collective. The normal end. Does not sync: see the caller.
  /// Errors: AgreedError{output}.
  void close();

 private:
  struct Target {
    Dataset dataset;
    Type type;
    Space space;
    std::uint64_t elements = 0;
    std::uint64_t element_bytes = 0;
    std::uint64_t file_offset = 0;
  };
  struct Transfers {
    std::array<std::uint64_t, 8> modes{};    // [mode] number of writes
    std::array<std::uint64_t, 32> causes{};  // [bit] number of writes
  };

  CollectiveFile(const comm::Comm& comm, std::filesystem::path path, File file);
  void write_or_throw(std::size_t dataset, base::Elements offset, std::span<const std::byte> data);
  void count_transfer();

  const comm::Comm* comm_;
  std::filesystem::path path_;
  File file_;  // before what is open in it: closed last
  Properties transfer_;
  std::vector<Target> targets_;
  Transfers transfers_;
};
static_assert(std::is_nothrow_move_constructible_v<CollectiveFile> &&
              !std::is_copy_constructible_v<CollectiveFile>);

}  // namespace mpimerge::hdf5
