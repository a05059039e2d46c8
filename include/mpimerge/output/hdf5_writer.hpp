#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mpimerge/base/index.hpp"
#include "mpimerge/comm/comm.hpp"
#include "mpimerge/output/hdf5_layout.hpp"
#include "mpimerge/output/slab.hpp"

namespace mpimerge::output {

/// How HDF5 says that the raw data went to the file, over all ranks and rounds.
struct TransferMode {
  std::string actual_io_mode;       ///< "contiguous collective" when all is as it should be
  std::string no_collective_cause;  ///< "none", or what made HDF5 drop collective mode
};

/// Local. Whether there is a complete output under that name, made by that job (YAML text).
bool is_finished(const std::filesystem::path& path, std::string_view job);

/// Writes one HDF5 file from all ranks (src/output/README.md has the layout and the order of
/// steps).
///
///     auto writer = Hdf5Writer::begin(comm, "merged.h5", layout, overwrite);
///     for each round: writer.write(dataset, offset, bytes);   // every rank, the same number of
///     rounds writer.close();                                          // data complete and checked
///     writer.publish(summary);                                 // under the final name from here
///     on
///
/// Until `publish` the file is called NAME.partial. A writer that is destroyed before leaves no
/// file under the final name; an agreed failure removes the partial file, unless it is to be kept.
class Hdf5Writer {
 public:
  /// Collective over `comm`, which must outlive the writer; all arguments equal on all ranks.
  /// Rank 0 makes the skeleton with the serial driver, reserves the file's space, then all ranks
  /// open it with MPI-IO.
  /// Errors: AgreedError{output} directory missing or not writable, file exists and not
  /// `overwrite`, the name is a directory; {resources} no space; {input} a tensor name that HDF5
  /// cannot hold; {job} a hint that MPI does not take.
  static Hdf5Writer begin(const comm::Comm& comm, const std::filesystem::path& path,
                          const Hdf5Layout& layout, bool overwrite);

  /// Collective over `comm`, as `begin`, but goes on with the partial file that an earlier run with
  /// the same layout left, by whatever number of ranks.
  /// Errors: AgreedError{output} as `begin`; also if the partial file is missing, was damaged, or
  /// was already being completed: all has to be written again then.
  static Hdf5Writer resume(const comm::Comm& comm, const std::filesystem::path& path,
                           const Hdf5Layout& layout, bool overwrite);

  Hdf5Writer(Hdf5Writer&&) noexcept;
  Hdf5Writer& operator=(Hdf5Writer&&) noexcept;
  ~Hdf5Writer();

  /// Collective over the communicator of `begin`; `dataset` equal on all ranks; before `close`.
  /// Writes this rank's `data` from element `offset` of that dataset on.
  /// @param data  little-endian, a whole number of elements, may be empty; at most 1 GiB, which the
  ///              caller sees to
  /// Errors: none that return: a collective write that fails on one rank leaves the others inside
  /// HDF5, so that rank prints and ends the job (exit 5, or 6 when the disk is full).
  void write(std::size_t dataset, base::Elements offset, std::span<const std::byte> data);

  /// Local. What this rank has written since the last call.
  [[nodiscard]] std::vector<Slab> take_new_slabs();

  /// Local. What earlier runs wrote, this rank's part of it: `close` reads it back too.
  void adopt(const std::vector<Slab>& slabs);

  /// Local. All will be written again: nothing that was written or adopted is read back.
  void forget();

  /// Collective. Everything written so far is on the disk when it returns.
  /// Errors: AgreedError{resources} the disk turned out to be full; {output}.
  void sync();

  /// Local, on all ranks alike. From now on the partial file stays, whatever happens: a journal says
  /// what is in it.
  void keep();

  /// Collective. Syncs and closes the file in MPI-IO, then every rank reads its shard back and
  /// compares it with the checksums taken in `write`: return codes are not trusted (a full disk can
  /// look like success).
  /// Errors: AgreedError{output} that names dataset and elements; {resources} the disk is full.
  TransferMode close(const GoesOn& goes_on = [] {});

  /// Collective. Rank 0 writes 0-d tensors, the attribute `summary` (JSON text), sets `complete`,
  /// appends the checksums (checksums.hpp), syncs, and renames to the final name.
  /// Errors: AgreedError{output}. If only the renaming failed (the name was taken meanwhile), the
  /// complete result stays as NAME.partial.
  void publish(std::string_view summary);

 private:
  struct State;
  explicit Hdf5Writer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace mpimerge::output
