#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/base/index.hpp"
#include "mpimerge/comm/comm.hpp"
#include "mpimerge/output/hdf5_layout.hpp"
#include "mpimerge/output/safetensors_plan.hpp"
#include "mpimerge/output/slab.hpp"

namespace mpimerge::output {

/// What a Hugging Face directory is made of beside the layout; equal on all ranks.
struct SafetensorsOptions {
  base::Bytes shard_size = kDefaultShardSize;
  std::string stem = "model";  ///< what the files of tensors are called
  bool overwrite = false;
  /// The directory whose companions (configuration, tokenizer, ...) are copied; nothing: none are.
  std::optional<std::filesystem::path> companions;
  /// What the copy of config.json is to name; nothing: it stays as it is.
  std::optional<base::Dtype> torch_dtype;
  /// Layers that the copy of config.json is to be about, as of `with_layers`; empty: all, as they are.
  std::vector<std::uint64_t> layers;
  std::map<std::string, std::string> texts;  ///< further files by name: the model card
};

/// Local. Whether there is a complete directory under that name, made by that job (YAML text).
bool is_finished_directory(const std::filesystem::path& path, std::string_view job);

/// Writes a Hugging Face directory from all ranks (src/output/README.md has its files and the order
/// of steps). It lives as Hdf5Writer does:
///
///     auto writer = SafetensorsWriter::begin(comm, "merged", layout, options);
///     for each round: writer.write(dataset, offset, bytes);   // every rank, same number of rounds
///     writer.close();                                         // data complete and checked
///     writer.publish(summary);                                // under the final name from here on
///
/// Until `publish` the directory is called NAME.partial, and no file of tensors in it can be taken
/// for a whole one: its length field is 0. A writer that is destroyed before leaves nothing under
/// the final name; an agreed failure removes the partial directory, unless it is to be kept.
class SafetensorsWriter {
 public:
  /// Collective over `comm`, which must outlive the writer; all arguments equal on all ranks.
  /// Rank 0 makes the directory and its files in their final sizes and reserves their space.
  /// Errors: AgreedError{output}: directory above missing or not writable, directory exists and not
  /// `overwrite`, or mpimerge did not write it; {resources}: no space; {input}: a tensor name that
  /// safetensors cannot hold, a companion that cannot be read; {job}: a hint that MPI does not take.
  static SafetensorsWriter begin(const comm::Comm& comm, const std::filesystem::path& path,
                                 const Hdf5Layout& layout, const SafetensorsOptions& options);

  /// Collective over `comm`, as `begin`, but goes on with the partial directory that an earlier run
  /// with the same layout and options left, by whatever number of ranks.
  /// Errors: AgreedError{output} as `begin`; also if the partial directory is missing, was damaged,
  /// or was already being completed: all has to be written again then.
  static SafetensorsWriter resume(const comm::Comm& comm, const std::filesystem::path& path,
                                  const Hdf5Layout& layout, const SafetensorsOptions& options);

  SafetensorsWriter(SafetensorsWriter&&) noexcept;
  SafetensorsWriter& operator=(SafetensorsWriter&&) noexcept;
  ~SafetensorsWriter();

  /// Collective over the communicator of `begin`; `dataset` equal on all ranks; before `close`.
  /// Writes this rank's `data` from element `offset` of that dataset on, to whichever files they
  /// belong, independently of other ranks.
  /// @param data  little-endian, a whole number of elements, may be empty
  /// Errors: AgreedError{output}; {resources}: the disk is full.
  void write(std::size_t dataset, base::Elements offset, std::span<const std::byte> data);

  /// As the functions of Hdf5Writer.
  [[nodiscard]] std::vector<Slab> take_new_slabs();
  void adopt(const std::vector<Slab>& slabs);
  void forget();
  void sync();
  void keep();

  /// Collective. Syncs and closes the files, then every rank reads back what it wrote and compares
  /// it with the checksums taken in `write`: return codes are not trusted.
  /// Errors: AgreedError{output} that names file and elements; {resources}: the disk is full.
  void close(const GoesOn& goes_on = [] {});

  /// Collective. Rank 0 writes the index, the summary (JSON text) and the files' length fields,
  /// reads all headers as a user would, syncs, and renames to the final name.
  /// Errors: AgreedError{output}. If only the renaming failed (the name was taken meanwhile), the
  /// complete result stays as NAME.partial.
  void publish(std::string_view summary);

 private:
  struct State;
  explicit SafetensorsWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace mpimerge::output
