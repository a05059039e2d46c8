#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "mpimerge/base/index.hpp"
#include "mpimerge/comm/comm.hpp"
#include "mpimerge/output/hdf5_layout.hpp"
#include "mpimerge/output/hdf5_writer.hpp"
#include "mpimerge/output/safetensors_writer.hpp"
#include "mpimerge/output/slab.hpp"

namespace mpimerge::app {

/// One output of a command, of the kind that its name asks for: an HDF5 file (output::Hdf5Writer) or
/// a directory (output::SafetensorsWriter). Functions of the same name are those of both.
class OutputWriter {
 public:
  /// Collective over `comm`.
  /// @param options  `overwrite` holds for both kinds, all else for a directory
  static OutputWriter begin(const comm::Comm& comm, const std::string& path,
                            const output::Hdf5Layout& layout,
                            const output::SafetensorsOptions& options);
  static OutputWriter resume(const comm::Comm& comm, const std::string& path,
                             const output::Hdf5Layout& layout,
                             const output::SafetensorsOptions& options);

  /// Collective.
  void write(std::size_t dataset, base::Elements offset, std::span<const std::byte> data);

  /// Local.
  [[nodiscard]] std::vector<output::Slab> take_new_slabs();
  void adopt(const std::vector<output::Slab>& slabs);
  void forget();
  void keep();

  /// Collective.
  void sync();

  /// Collective. Data complete, on the disk, and read back.
  /// @param goes_on  called now and then
  /// @return how an HDF5 file was written; nothing for a directory
  std::optional<output::TransferMode> close(const output::GoesOn& goes_on);

  /// Collective.
  void publish(const std::string& summary);

 private:
  using Writer = std::variant<output::Hdf5Writer, output::SafetensorsWriter>;
  explicit OutputWriter(Writer writer);

  Writer writer_;
};

}  // namespace mpimerge::app
