#include "app/output_writer.hpp"

#include <filesystem>
#include <utility>

namespace mpimerge::app {

bool is_hdf5_name(const std::string& path) {
  return path.ends_with(".h5") || path.ends_with(".hdf5");
}

std::string title_of(const std::string& path) {
  const std::filesystem::path name(path);
  return (name.has_filename() ? name : name.parent_path()).filename().string();
}

OutputWriter::OutputWriter(Writer writer, const OutputLayout& layout)
    : writer_(std::move(writer)), layout_(&layout) {}

OutputWriter OutputWriter::begin(const comm::Comm& comm, const std::string& path,
                                 const OutputLayout& layout,
                                 const output::SafetensorsOptions& options) {
  if (is_hdf5_name(path)) {
    return {output::Hdf5Writer::begin(comm, path, layout.layout, options.overwrite), layout};
  }
  return {output::SafetensorsWriter::begin(comm, path, layout.layout, options), layout};
}

void OutputWriter::write(std::size_t group, base::Elements offset,
                         std::span<const std::byte> data) {
  std::visit([&](auto& writer) { writer.write(layout_->dataset_of[group], offset, data); },
             writer_);
}

std::optional<output::TransferMode> OutputWriter::close() {
  if (auto* const hdf5 = std::get_if<output::Hdf5Writer>(&writer_)) return hdf5->close();
  std::get<output::SafetensorsWriter>(writer_).close();
  return std::nullopt;
}

void OutputWriter::publish(const std::string& summary) {
  std::visit([&](auto& writer) { writer.publish(summary); }, writer_);
}

}  // namespace mpimerge::app
