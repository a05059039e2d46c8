#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "mpimerge/base/index.hpp"
#include "mpimerge/comm/comm.hpp"
#include "mpimerge/output/hdf5_writer.hpp"
#include "mpimerge/output/safetensors_writer.hpp"

#include "app/output_layout.hpp"

namespace mpimerge::app {

/// Local. Whether an output of that name is one HDF5 file; any other is a directory.
bool is_hdf5_name(const std::string& path);

/// Local. The last part of an output's name, for people.
std::string title_of(const std::string& path);

/// One output of a command, of the kind that its name asks for.
class OutputWriter {
 public:
  /// Collective over `comm`, as Hdf5Writer::begin or SafetensorsWriter::begin. `layout` must outlive
  /// the writer.
  /// @param options  `overwrite` holds for both kinds, all else for a directory
  static OutputWriter begin(const comm::Comm& comm, const std::string& path,
                            const OutputLayout& layout, const output::SafetensorsOptions& options);

  /// Collective. Writes this rank's `data` from element `offset` of a group of the plan on.
  void write(std::size_t group, base::Elements offset, std::span<const std::byte> data);

  /// Collective. Data complete, on the disk, and read back.
  /// @return how an HDF5 file was written; nothing for a directory
  std::optional<output::TransferMode> close();

  /// Collective. Gives the output its name.
  void publish(const std::string& summary);

 private:
  using Writer = std::variant<output::Hdf5Writer, output::SafetensorsWriter>;
  OutputWriter(Writer writer, const OutputLayout& layout);

  Writer writer_;
  const OutputLayout* layout_;
};

}  // namespace mpimerge::app
