#include "mpimerge/output/hdf5_writer.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <xxhash.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/narrow.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/hdf5/attribute.hpp"
#include "mpimerge/hdf5/collective_file.hpp"
#include "mpimerge/hdf5/dataset.hpp"
#include "mpimerge/hdf5/file.hpp"

#include "output/hdf5_skeleton.hpp"
#include "output/partial_file.hpp"

namespace mpimerge::output {
namespace {

using std::filesystem::path;

// Local. Runs `step`, which works on the output: what HDF5 could not do becomes an error that names
// the file, and what could not be read is a fault of the output.
template <class Step>
void as_output(const path& file, Step&& step) {
  try {
    std::forward<Step>(step)();
  } catch (const hdf5::Failure& failure) {
    throw base::Error(failure.no_space() ? base::ErrorKind::resources : base::ErrorKind::output,
                      fmt::format("{}: {}", file.string(), failure.what()));
  } catch (const base::Error& error) {
    if (error.kind() != base::ErrorKind::input) throw;
    throw base::Error(base::ErrorKind::output, error.what());
  }
}

// What this rank wrote in one call.
struct Slab {
  std::size_t dataset;
  base::Elements offset;
  std::uint64_t bytes;
  XXH64_hash_t checksum;
};

// A tensor of one value: no virtual dataset can show it, so it is copied at the end.
struct SingleValue {
  std::string name;
  base::Dtype dtype;
  base::Bytes offset;  // in the file
};

struct PlacedDataset {
  base::Dtype dtype;
  base::Bytes offset;  // in the file
};

}  // namespace

struct Hdf5Writer::State {
  const comm::Comm& comm;
  path name;
  path partial;
  bool overwrite;
  bool owns_partial = false;  // rank 0 only: from the file's creation to its last name
  std::vector<PlacedDataset> datasets;
  std::vector<SingleValue> single_values;                        // rank 0 only
  std::map<std::pair<std::size_t, base::Elements>, Slab> slabs;  // by place: the last of each
  std::optional<hdf5::CollectiveFile> file;
  std::optional<base::FileDescriptor> writeback;  // of the partial file, from the first write on

  State(const comm::Comm& the_comm, const path& the_name, bool may_overwrite)
      : comm(the_comm), name(the_name), partial(partial_name(the_name)), overwrite(may_overwrite) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State();

  void make_partial(const Hdf5Layout& layout);
  void share_offsets(const Hdf5Layout& layout);
  void begin_writeback(const Slab& slab);
  [[nodiscard]] base::Bytes file_offset(const Slab& slab) const;
  void check_slab(const base::FileDescriptor& written, const Slab& slab,
                  std::span<std::byte> buffer) const;
  void check_slabs() const;
  void fill_single_values(const hdf5::File& target) const;
  void complete(const std::string& summary);
};

Hdf5Writer::State::~State() {
  // Left alone by an exception of this rank only, the others may still write: a partial file stays
  // then.
  if (comm::alone()) return;
  file.reset();
  std::error_code ignored;
  if (owns_partial) std::filesystem::remove(partial, ignored);
}

void Hdf5Writer::State::make_partial(const Hdf5Layout& layout) {
  check_layout(layout);
  make_way(name, overwrite);
  as_output(partial, [&] {
    hdf5::File skeleton = hdf5::create_file(partial, std::max(layout.alignment, base::Bytes{1}));
    owns_partial = true;
    const std::vector<base::Bytes> offsets = make_skeleton(skeleton, layout);
    for (std::size_t which = 0; which < offsets.size(); ++which)
      datasets[which].offset = offsets[which];
    hdf5::close_file(std::move(skeleton));
  });
  reserve_space(partial);
}

// Collective.
void Hdf5Writer::State::share_offsets(const Hdf5Layout& layout) {
  std::vector<std::uint64_t> offsets;
  offsets.reserve(datasets.size());
  for (const PlacedDataset& dataset : datasets) offsets.push_back(dataset.offset.value());
  comm::all_reduce_max(comm, offsets);  // all but rank 0 have zeros
  for (std::size_t which = 0; which < offsets.size(); ++which)
    datasets[which].offset = base::Bytes{offsets[which]};
  if (!comm.is_root()) return;
  for (const Hdf5Tensor& tensor : layout.tensors) {
    if (!tensor.shape.empty()) continue;
    const auto home =
        std::find_if(datasets.begin(), datasets.end(),
                     [&](const PlacedDataset& dataset) { return dataset.dtype == tensor.dtype; });
    const std::uint64_t inside = tensor.offset.value() * base::element_bytes(tensor.dtype).value();
    single_values.push_back({tensor.name, tensor.dtype, home->offset + base::Bytes{inside}});
  }
}

base::Bytes Hdf5Writer::State::file_offset(const Slab& slab) const {
  const PlacedDataset& dataset = datasets[slab.dataset];
  return dataset.offset +
         base::Bytes{slab.offset.value() * base::element_bytes(dataset.dtype).value()};
}

// Lets the disk work while the next round is merged; else all of it waits for the sync at the end.
// A hint: where it cannot be given, or the file system has its own ideas, nothing happens.
void Hdf5Writer::State::begin_writeback(const Slab& slab) {
  if (!writeback) writeback = base::FileDescriptor(::open(partial.c_str(), O_RDONLY | O_CLOEXEC));
  if (!*writeback) return;
  ::sync_file_range(writeback->get(), base::narrow<off_t>(file_offset(slab).value()),
                    base::narrow<off_t>(slab.bytes), SYNC_FILE_RANGE_WRITE);
}

void Hdf5Writer::State::check_slab(const base::FileDescriptor& written, const Slab& slab,
                                   std::span<std::byte> buffer) const {
  const PlacedDataset& dataset = datasets[slab.dataset];
  const std::uint64_t element_bytes = base::element_bytes(dataset.dtype).value();
  const base::Bytes begin = file_offset(slab);
  XXH3_state_t hash;
  XXH3_64bits_reset(&hash);
  for (std::uint64_t done = 0; done < slab.bytes;) {
    const auto part = buffer.first(std::min<std::uint64_t>(buffer.size(), slab.bytes - done));
    base::read_exactly(written, partial, begin + base::Bytes{done}, part);
    XXH3_64bits_update(&hash, part.data(), part.size());
    done += part.size();
  }
  if (XXH3_64bits_digest(&hash) == slab.checksum) return;
  throw base::Error(
      base::ErrorKind::output,
      fmt::format("{}: elements {} to {} of {} do not read back as they were written: the file "
                  "system lost or changed "
                  "data; check it and its free space, then run again",
                  partial.string(), slab.offset.value(),
                  slab.offset.value() + slab.bytes / element_bytes, dataset_path(dataset.dtype)));
}

void Hdf5Writer::State::check_slabs() const {
  constexpr std::size_t kBlock = std::size_t{4}
                                 << 20;  // stays in the cache between read and checksum
  std::vector<std::byte> buffer(slabs.empty() ? 0 : kBlock);
  as_output(partial, [&] {
    const base::FileDescriptor written = base::open_for_reading(partial);
    for (const auto& [place, slab] : slabs) check_slab(written, slab, buffer);
  });
}

void Hdf5Writer::State::fill_single_values(const hdf5::File& target) const {
  const base::FileDescriptor written = base::open_for_reading(partial);
  for (const SingleValue& value : single_values) {
    std::vector<std::byte> bytes(base::element_bytes(value.dtype).value());
    base::read_exactly(written, partial, value.offset, bytes);
    hdf5::write_all(hdf5::open_dataset(target, tensor_path(value.name)), bytes);
  }
}

void Hdf5Writer::State::complete(const std::string& summary) {
  as_output(partial, [&] {
    hdf5::File target = hdf5::open_file(partial, hdf5::Access::update);
    fill_single_values(target);
    hdf5::write_text(target.get(), "summary", summary);
    hdf5::flush_file(target);
    hdf5::write_number(target.get(), "complete", 1);
    hdf5::close_file(std::move(target));
  });
  sync_file(partial);
  owns_partial =
      false;  // complete: should the name be taken by now, the result stays under the partial one
  rename_partial(name, overwrite);
}

Hdf5Writer Hdf5Writer::begin(const comm::Comm& comm, const path& name, const Hdf5Layout& layout,
                             bool overwrite) {
  auto state = std::make_unique<State>(comm, name, overwrite);
  std::vector<std::string> paths;
  for (const Hdf5Dataset& dataset : layout.datasets) {
    state->datasets.push_back({dataset.dtype, {}});
    paths.push_back(dataset_path(dataset.dtype));
  }
  comm::collectively(comm, "prepare output", [&] {
    if (comm.is_root()) state->make_partial(layout);
  });
  state->share_offsets(layout);
  state->file.emplace(hdf5::CollectiveFile::open(comm, state->partial, paths, layout.mpi_io_hints));
  return Hdf5Writer(std::move(state));
}

Hdf5Writer::Hdf5Writer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Hdf5Writer::Hdf5Writer(Hdf5Writer&&) noexcept = default;
Hdf5Writer& Hdf5Writer::operator=(Hdf5Writer&&) noexcept = default;
Hdf5Writer::~Hdf5Writer() = default;

void Hdf5Writer::write(std::size_t dataset, base::Elements offset,
                       std::span<const std::byte> data) {
  state_->file->write(dataset, offset, data);
  if (data.empty()) return;
  const Slab slab{dataset, offset, data.size(), XXH3_64bits(data.data(), data.size())};
  state_->slabs[{dataset, offset}] = slab;
  state_->begin_writeback(slab);
}

TransferMode Hdf5Writer::close() {
  State& state = *state_;
  // Each rank syncs what its node still holds, by itself: where the disk turns out to be full only
  // now (NFS), all ranks can still agree. HDF5's own flush would do the same inside a collective
  // call.
  comm::collectively(state.comm, "sync output", [&] { sync_file(state.partial); });
  const hdf5::TransferReport report = state.file->report_transfers();
  state.file->close();
  comm::collectively(state.comm, "check output", [&] { state.check_slabs(); });
  return {report.actual_io_mode, report.no_collective_cause};
}

void Hdf5Writer::publish(std::string_view summary) {
  State& state = *state_;
  comm::collectively(state.comm, "publish output", [&] {
    if (state.comm.is_root()) state.complete(std::string(summary));
  });
}

}  // namespace mpimerge::output
