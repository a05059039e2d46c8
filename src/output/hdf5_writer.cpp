#include "mpimerge/output/hdf5_writer.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
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
#include "mpimerge/output/checksums.hpp"

#include "output/hdf5_skeleton.hpp"
#include "output/partial_file.hpp"
#include "output/read_back.hpp"

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

// A tensor of one value: no virtual dataset can show it, so it is copied at the end.
struct SingleValue {
  std::string name;
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
  bool keeps_partial = false;
  std::vector<PlacedDataset> datasets;
  std::vector<SingleValue> single_values;                          // rank 0 only
  std::map<std::pair<std::uint64_t, base::Elements>, Slab> slabs;  // by place: the last of each
  std::vector<Slab> new_slabs;
  std::vector<BlockChecksums> checksums;  // rank 0 only, from `close` on
  std::optional<hdf5::CollectiveFile> file;
  std::optional<base::FileDescriptor> writeback;  // of the partial file, from the first write on

  State(const comm::Comm& the_comm, const path& the_name, const Hdf5Layout& layout,
        bool may_overwrite)
      : comm(the_comm), name(the_name), partial(partial_name(the_name)), overwrite(may_overwrite) {
    for (const Hdf5Dataset& dataset : layout.datasets) {
      const base::Bytes element = base::element_bytes(dataset.dtype);
      datasets.push_back({dataset_path(dataset.dtype),
                          element,
                          {},
                          base::Bytes{dataset.elements.value() * element.value()}});
    }
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State();

  void make_partial(const Hdf5Layout& layout);
  void reopen_partial(const Hdf5Layout& layout);
  void share_offsets(const Hdf5Layout& layout);
  void open(const Hdf5Layout& layout);
  void begin_writeback(const Slab& slab);
  [[nodiscard]] std::vector<BlockChecksum> check_slabs(const GoesOn& goes_on) const;
  void fill_single_values(const hdf5::File& target) const;
  void complete(const std::string& summary);
};

Hdf5Writer::State::~State() {
  // Left alone by an exception of this rank only, the others may still write: a partial file stays
  // then.
  if (comm::alone()) return;
  file.reset();
  std::error_code ignored;
  if (owns_partial && !keeps_partial) std::filesystem::remove(partial, ignored);
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

// What `make_partial` made in an earlier run.
void Hdf5Writer::State::reopen_partial(const Hdf5Layout& layout) {
  check_layout(layout);
  check_way(name, overwrite);
  const auto unusable = [&](const char* why) {
    throw base::Error(base::ErrorKind::output,
                      fmt::format("{}: {}; it cannot be gone on with", partial.string(), why));
  };
  as_output(partial, [&] {
    const hdf5::File skeleton = hdf5::open_file(partial, hdf5::Access::read);
    if (hdf5::read_number(skeleton.get(), "complete") != 0) unusable("was being completed");
    if (hdf5::read_text(skeleton.get(), "job") != layout.job) unusable("is of another job");
    for (std::size_t which = 0; which < datasets.size(); ++which) {
      const Hdf5Dataset& expected = layout.datasets[which];
      const hdf5::Dataset found = hdf5::open_dataset(skeleton, datasets[which].name);
      const auto offset = hdf5::file_offset(found);
      if (hdf5::shape(found) != std::vector{expected.elements.value()} || !offset ||
          !hdf5::is_stored_as(found, expected.dtype))
        unusable("has other datasets than this merge");
      datasets[which].offset = *offset;
    }
  });
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
    const auto home = std::find_if(
        datasets.begin(), datasets.end(),
        [&](const PlacedDataset& dataset) { return dataset.name == dataset_path(tensor.dtype); });
    const std::uint64_t inside = tensor.offset.value() * base::element_bytes(tensor.dtype).value();
    single_values.push_back({tensor.name, tensor.dtype, home->offset + base::Bytes{inside}});
  }
}

// Collective. The rest of `begin` and `resume`.
void Hdf5Writer::State::open(const Hdf5Layout& layout) {
  share_offsets(layout);
  std::vector<std::string> paths;
  for (const PlacedDataset& dataset : datasets) paths.push_back(dataset.name);
  file.emplace(hdf5::CollectiveFile::open(comm, partial, paths, layout.mpi_io_hints));
}

// Lets the disk work while the next round is merged; else all of it waits for the sync at the end.
// A hint: where it cannot be given, or the file system has its own ideas, nothing happens.
void Hdf5Writer::State::begin_writeback(const Slab& slab) {
  if (!writeback) writeback = base::FileDescriptor(::open(partial.c_str(), O_RDONLY | O_CLOEXEC));
  if (!*writeback) return;
  const PlacedDataset& dataset = datasets[slab.dataset];
  const auto bytes = [&](base::Elements elements) {
    return elements.value() * dataset.element.value();
  };
  ::sync_file_range(writeback->get(),
                    base::narrow<off_t>(dataset.offset.value() + bytes(slab.range.begin)),
                    base::narrow<off_t>(bytes(slab.range.count())), SYNC_FILE_RANGE_WRITE);
}

std::vector<BlockChecksum> Hdf5Writer::State::check_slabs(const GoesOn& goes_on) const {
  std::vector<Slab> mine;
  mine.reserve(slabs.size());
  for (const auto& [place, slab] : slabs) mine.push_back(slab);
  std::vector<BlockChecksum> blocks;
  as_output(partial, [&] { blocks = read_back(partial, datasets, std::move(mine), goes_on); });
  return blocks;
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
    append_checksums(partial, checksums);
  });
  sync_file(partial);
  owns_partial =
      false;  // complete: should the name be taken by now, the result stays under the partial one
  rename_partial(name, overwrite);
}

bool is_finished(const path& file, std::string_view job) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(file, ignored)) return false;
  try {
    const hdf5::File found = hdf5::open_file(file, hdf5::Access::read);
    return hdf5::read_number(found.get(), "complete") == 1 &&
           hdf5::read_text(found.get(), "job") == job;
  } catch (const hdf5::Failure&) {
    return false;
  }
}

Hdf5Writer Hdf5Writer::begin(const comm::Comm& comm, const path& name, const Hdf5Layout& layout,
                             bool overwrite) {
  auto state = std::make_unique<State>(comm, name, layout, overwrite);
  comm::collectively(comm, "prepare output", [&] {
    if (comm.is_root()) state->make_partial(layout);
  });
  state->open(layout);
  return Hdf5Writer(std::move(state));
}

Hdf5Writer Hdf5Writer::resume(const comm::Comm& comm, const path& name, const Hdf5Layout& layout,
                              bool overwrite) {
  auto state = std::make_unique<State>(comm, name, layout, overwrite);
  comm::collectively(comm, "reopen output", [&] {
    if (comm.is_root()) state->reopen_partial(layout);
  });
  state->keeps_partial = true;
  state->open(layout);
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
  const base::Elements count{data.size() / state_->datasets[dataset].element.value()};
  const Slab slab{dataset, {offset, offset + count}, XXH3_64bits(data.data(), data.size())};
  state_->slabs[{slab.dataset, offset}] = slab;
  state_->new_slabs.push_back(slab);
  state_->begin_writeback(slab);
}

std::vector<Slab> Hdf5Writer::take_new_slabs() { return std::exchange(state_->new_slabs, {}); }

void Hdf5Writer::adopt(const std::vector<Slab>& slabs) {
  for (const Slab& slab : slabs) state_->slabs[{slab.dataset, slab.range.begin}] = slab;
}

void Hdf5Writer::forget() {
  state_->slabs.clear();
  state_->new_slabs.clear();
}

// Each rank syncs what its node still holds, by itself: where the disk turns out to be full only
// now (NFS), all ranks can still agree. HDF5's own flush would do the same inside a collective
// call.
void Hdf5Writer::sync() {
  comm::collectively(state_->comm, "sync output", [&] { sync_file(state_->partial); });
}

void Hdf5Writer::keep() { state_->keeps_partial = true; }

TransferMode Hdf5Writer::close(const GoesOn& goes_on) {
  State& state = *state_;
  sync();
  const hdf5::TransferReport report = state.file->report_transfers();
  state.file->close();
  std::vector<BlockChecksum> blocks;
  comm::collectively(state.comm, "check output", [&] { blocks = state.check_slabs(goes_on); });
  state.checksums = gather_checksums(state.comm, state.datasets, blocks);
  return {report.actual_io_mode, report.no_collective_cause};
}

void Hdf5Writer::publish(std::string_view summary) {
  State& state = *state_;
  comm::collectively(state.comm, "publish output", [&] {
    if (state.comm.is_root()) state.complete(std::string(summary));
  });
}

}  // namespace mpimerge::output
