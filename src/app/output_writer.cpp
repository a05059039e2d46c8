#include "app/output_writer.hpp"

#include <utility>

#include "app/output_names.hpp"

namespace mpimerge::app {

OutputWriter::OutputWriter(Writer writer) : writer_(std::move(writer)) {}

OutputWriter OutputWriter::begin(const comm::Comm& comm, const std::string& path,
                                 const output::Hdf5Layout& layout,
                                 const output::SafetensorsOptions& options) {
  if (is_hdf5_name(path))
    return OutputWriter(output::Hdf5Writer::begin(comm, path, layout, options.overwrite));
  return OutputWriter(output::SafetensorsWriter::begin(comm, path, layout, options));
}

OutputWriter OutputWriter::resume(const comm::Comm& comm, const std::string& path,
                                  const output::Hdf5Layout& layout,
                                  const output::SafetensorsOptions& options) {
  if (is_hdf5_name(path))
    return OutputWriter(output::Hdf5Writer::resume(comm, path, layout, options.overwrite));
  return OutputWriter(output::SafetensorsWriter::resume(comm, path, layout, options));
}

void OutputWriter::write(std::size_t dataset, base::Elements offset,
                         std::span<const std::byte> data) {
  std::visit([&](auto& writer) { writer.write(dataset, offset, data); }, writer_);
}

std::vector<output::Slab> OutputWriter::take_new_slabs() {
  return std::visit([](auto& writer) { return writer.take_new_slabs(); }, writer_);
}

void OutputWriter::adopt(const std::vector<output::Slab>& slabs) {
  std::visit([&](auto& writer) { writer.adopt(slabs); }, writer_);
}

void OutputWriter::forget() {
  std::visit([](auto& writer) { writer.forget(); }, writer_);
}

void OutputWriter::keep() {
  std::visit([](auto& writer) { writer.keep(); }, writer_);
}

void OutputWriter::sync() {
  std::visit([](auto& writer) { writer.sync(); }, writer_);
}

std::optional<output::TransferMode> OutputWriter::close(const output::GoesOn& goes_on) {
  if (auto* const hdf5 = std::get_if<output::Hdf5Writer>(&writer_)) return hdf5->close(goes_on);
  std::get<output::SafetensorsWriter>(writer_).close(goes_on);
  return std::nullopt;
}

void OutputWriter::publish(const std::string& summary) {
  std::visit([&](auto& writer) { writer.publish(summary); }, writer_);
}

}  // namespace mpimerge::app
