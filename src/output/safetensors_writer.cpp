#include "mpimerge/output/safetensors_writer.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/log.hpp"
#include "mpimerge/base/narrow.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/checkpoint/safetensors.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/file.hpp"
#include "mpimerge/output/checksums.hpp"
#include "mpimerge/output/model_files.hpp"

#include "output/partial_directory.hpp"
#include "output/partial_file.hpp"
#include "output/paths.hpp"
#include "output/read_back.hpp"

namespace mpimerge::output {
namespace {

using std::filesystem::path;

constexpr std::size_t kLengthBytes = 8;

// A rank's part of a dataset is contiguous, so it needs one file after another, not many at once.
constexpr std::size_t kMostOpen = 8;

// A tokenizer has some 10 MB.
constexpr base::Bytes kLargestCompanion{std::uint64_t{1} << 30};

// Local. What could not be read back is a fault of the output.
template <class Step>
void as_output(Step&& step) {
  try {
    std::forward<Step>(step)();
  } catch (const base::Error& error) {
    if (error.kind() != base::ErrorKind::input) throw;
    throw base::Error(base::ErrorKind::output, error.what());
  }
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// Files of the directory that this rank writes to, the latest used first.
class OpenFiles {
 public:
  struct Entry {
    std::size_t number;
    comm::File file;
    base::FileDescriptor descriptor;  // of the same file, for hints to the system
  };

  Entry& open(std::size_t number, const path& name) {
    const auto found = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const Entry& entry) { return entry.number == number; });
    if (found != entries_.end()) {
      std::rotate(entries_.begin(), found, found + 1);
    } else {
      if (entries_.size() == kMostOpen) close_last();
      base::FileDescriptor descriptor(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
      entries_.insert(entries_.begin(), {number, comm::File::open(name), std::move(descriptor)});
    }
    return entries_.front();
  }

  void close() {
    while (!entries_.empty()) close_last();
  }

 private:
  void close_last() {
    Entry last = std::move(entries_.back());
    entries_.pop_back();
    last.file.close();
  }

  std::vector<Entry> entries_;
};

std::string read_text(const path& file) {
  const base::FileDescriptor opened = base::open_for_reading(file);
  std::string text(base::file_size(opened, file).value(), '\0');
  base::read_exactly(opened, file, base::Bytes{}, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace

struct SafetensorsWriter::State {
  const comm::Comm& comm;
  path name;
  path partial;
  Hdf5Layout layout;
  SafetensorsOptions options;
  SafetensorsPlan plan;
  bool owns_partial = false;  // rank 0 only: from the directory's creation to its last name
  OpenFiles files;
  std::set<std::size_t> unsynced;  // files that this rank has written to since the last sync
  std::map<std::pair<std::uint64_t, base::Elements>, Slab> slabs;  // by place: the last of each
  std::vector<Slab> new_slabs;
  bool keeps_partial = false;
  std::vector<BlockChecksums> checksums;  // rank 0 only, from `close` on

  explicit State(const comm::Comm& the_comm) : comm(the_comm) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State();

  [[nodiscard]] path file(std::size_t number) const { return partial / plan.files[number].name; }
  void plan_output(const path& the_name, const Hdf5Layout& the_layout,
                   const SafetensorsOptions& the_options);
  void make_partial();
  void check_space() const;
  void make_file(std::size_t number) const;
  void copy_companions() const;
  void copy_companion(const path& from, const std::string& companion) const;
  bool adapt_config(std::string& text) const;
  void check_partial() const;
  void check_file(std::size_t number) const;
  void write_piece(const Stretch& piece, std::span<const std::byte> data);
  void add_pieces(const Slab& slab, std::vector<Slab>& pieces) const;
  template <class Use>
  void read_piece(const Stretch& piece, base::Bytes bytes, Use use) const;
  [[nodiscard]] std::vector<PlacedDataset> values_of_files() const;
  [[nodiscard]] std::vector<BlockChecksum> check_slabs(const GoesOn& goes_on) const;
  void complete_file(std::size_t number) const;
  void complete(const std::string& summary);
};

SafetensorsWriter::State::~State() {
  // Left alone by an exception of this rank only, the others may still write: what is there stays.
  if (comm::alone() || !owns_partial || keeps_partial) return;
  remove_directory(partial, is_model_file);
}

void SafetensorsWriter::State::plan_output(const path& the_name, const Hdf5Layout& the_layout,
                                           const SafetensorsOptions& the_options) {
  name = directory_name(the_name);
  partial = partial_name(name);
  layout = the_layout;
  options = the_options;
  plan = plan_safetensors(layout, options.shard_size, options.stem);
}

void SafetensorsWriter::State::make_partial() {
  make_way_for_directory(name, options.overwrite, kSummaryFile, is_model_file);
  check_space();
  if (::mkdir(partial.c_str(), 0777) != 0) fail_with_errno(partial, "cannot be made");
  owns_partial = true;
  copy_companions();
  if (!layout.job.empty()) write_text_file(partial / kJobFile, layout.job);
  for (const auto& [text_name, text] : options.texts) write_text_file(partial / text_name, text);
  for (std::size_t number = 0; number < plan.files.size(); ++number) make_file(number);
  sync_directory(partial);
}

// The files' space is reserved one by one; this tells at once how much all of them need.
void SafetensorsWriter::State::check_space() const {
  base::Bytes needed;
  for (const SafetensorsFile& planned : plan.files) needed += planned.bytes;
  struct statvfs space {};
  const path directory = directory_of(name);
  if (::statvfs(directory.c_str(), &space) != 0 || space.f_blocks == 0) return;
  const base::Bytes free{std::uint64_t{space.f_bavail} * space.f_frsize};
  if (needed <= free) return;
  throw base::Error(
      base::ErrorKind::resources,
      fmt::format("{}: needs {}, but the disk does not have it ({} are free in {}); free some, or "
                  "choose another output",
                  partial.string(), base::human_bytes(needed), base::human_bytes(free),
                  directory.string()));
}

// The header without its length: until that is there, no reader takes the file for a whole one.
void SafetensorsWriter::State::make_file(std::size_t number) const {
  const SafetensorsFile& planned = plan.files[number];
  comm::File made = comm::File::create(file(number), layout.mpi_io_hints);
  made.write_at(base::Bytes{kLengthBytes}, bytes_of(planned.header).subspan(kLengthBytes));
  made.close();
  if (::truncate(file(number).c_str(), base::narrow<off_t>(planned.bytes.value())) != 0)
    fail_with_errno(file(number), "cannot be given its size");
  reserve_space(file(number));
}

// What `make_partial` made in an earlier run.
void SafetensorsWriter::State::check_partial() const {
  check_way_for_directory(name, options.overwrite, kSummaryFile, is_model_file);
  as_output([&] {
    if (!layout.job.empty() && read_text(partial / kJobFile) != layout.job)
      fail(partial, "is of another job; it cannot be gone on with");
    for (std::size_t number = 0; number < plan.files.size(); ++number) check_file(number);
  });
}

void SafetensorsWriter::State::check_file(std::size_t number) const {
  const SafetensorsFile& planned = plan.files[number];
  const base::FileDescriptor opened = base::open_for_reading(file(number));
  std::string header(planned.header.size(), '\0');
  const bool whole = base::file_size(opened, file(number)) == planned.bytes;
  if (whole) {
    base::read_exactly(opened, file(number), base::Bytes{},
                       std::as_writable_bytes(std::span(header)));
  }
  if (header == planned.header) fail(partial, "was being completed; it cannot be gone on with");
  header.replace(0, kLengthBytes, planned.header, 0, kLengthBytes);
  if (!whole || header != planned.header)
    fail(file(number), "is not a file of this merge; it cannot be gone on with");
}

void SafetensorsWriter::State::copy_companions() const {
  if (!options.companions) return;
  for (const std::string& companion : companions_in(*options.companions))
    copy_companion(*options.companions, companion);
}

// false: it cannot be read.
bool SafetensorsWriter::State::adapt_config(std::string& text) const {
  auto changed = options.torch_dtype ? with_torch_dtype(text, *options.torch_dtype) : text;
  if (changed && !options.layers.empty()) changed = with_layers(*changed, options.layers);
  if (changed) text = std::move(*changed);
  return changed.has_value();
}

void SafetensorsWriter::State::copy_companion(const path& from,
                                              const std::string& companion) const {
  const path source = from / companion;
  const base::FileDescriptor opened = base::open_for_reading(source);
  const base::Bytes bytes = base::file_size(opened, source);
  if (bytes > kLargestCompanion) {
    base::log().warn("{}: is not copied, for with {} it can hardly be what its name says",
                     source.string(), base::human_bytes(bytes));
    return;
  }
  std::string text(bytes.value(), '\0');
  base::read_exactly(opened, source, base::Bytes{}, std::as_writable_bytes(std::span(text)));
  if (companion == kConfigFile && !adapt_config(text)) {
    base::log().warn(
        "{}: is not a JSON object, or is nested deeper than any, so it is copied as it is; its "
        "torch_dtype may be wrong",
        source.string());
  }
  write_text_file(partial / companion, text);
}

// Lets the disk work while the next round is merged; else all of it waits for the sync at the end.
// A hint: where it cannot be given, or the file system has its own ideas, nothing happens.
void SafetensorsWriter::State::write_piece(const Stretch& piece, std::span<const std::byte> data) {
  OpenFiles::Entry& target = files.open(piece.file, file(piece.file));
  target.file.write_at(piece.offset, data);
  unsynced.insert(piece.file);
  if (target.descriptor) {
    ::sync_file_range(target.descriptor.get(), base::narrow<off_t>(piece.offset.value()),
                      base::narrow<off_t>(data.size()), SYNC_FILE_RANGE_WRITE);
  }
}

// The parts of a slab, in bytes of the files that they lie in. Where there are several, the slab has
// to be read for their checksums, and is checked by that.
void SafetensorsWriter::State::add_pieces(const Slab& slab, std::vector<Slab>& pieces) const {
  const CutDataset& dataset = plan.datasets[slab.dataset];
  const std::uint64_t element_bytes = base::element_bytes(dataset.dtype).value();
  const std::vector<Stretch> parts = stretches(plan, slab.dataset, slab.range);
  XXH3_state_t whole;
  XXH3_64bits_reset(&whole);
  for (const Stretch& part : parts) {
    const base::Elements begin{part.offset.value() - plan.files[part.file].header.size()};
    const base::Elements count{part.elements.count().value() * element_bytes};
    pieces.push_back({part.file, {begin, begin + count}, slab.checksum});
    if (parts.size() == 1) return;
    XXH3_state_t hash;
    XXH3_64bits_reset(&hash);
    read_piece(part, base::Bytes{count.value()}, [&](std::span<const std::byte> bytes) {
      XXH3_64bits_update(&hash, bytes.data(), bytes.size());
      XXH3_64bits_update(&whole, bytes.data(), bytes.size());
    });
    pieces.back().checksum = XXH3_64bits_digest(&hash);
  }
  if (XXH3_64bits_digest(&whole) == slab.checksum) return;
  throw base::Error(
      base::ErrorKind::output,
      fmt::format("{}: elements {} to {} of type {} do not read back as they were written: the "
                  "file system lost or changed data; check it and its free space, then run again",
                  file(parts.back().file).string(), slab.range.begin.value(),
                  slab.range.end.value(), base::name(dataset.dtype)));
}

template <class Use>
void SafetensorsWriter::State::read_piece(const Stretch& piece, base::Bytes bytes, Use use) const {
  constexpr std::size_t kBuffer = std::size_t{1} << 20;  // in the cache when it is hashed
  const path shard = file(piece.file);
  const base::FileDescriptor opened = base::open_for_reading(shard);
  std::vector<std::byte> buffer(std::min<std::uint64_t>(kBuffer, bytes.value()));
  for (base::Bytes done; done < bytes;) {
    const auto part =
        std::span(buffer).first(std::min<std::uint64_t>(kBuffer, (bytes - done).value()));
    base::read_exactly(opened, shard, piece.offset + done, part);
    use(part);
    done += base::Bytes{part.size()};
  }
}

// The values of each file, as `read_back` takes datasets.
std::vector<PlacedDataset> SafetensorsWriter::State::values_of_files() const {
  std::vector<PlacedDataset> values;
  for (const SafetensorsFile& planned : plan.files) {
    const base::Bytes header{planned.header.size()};
    values.push_back({planned.name, base::Bytes{1}, header, planned.bytes - header});
  }
  return values;
}

std::vector<BlockChecksum> SafetensorsWriter::State::check_slabs(const GoesOn& goes_on) const {
  std::vector<BlockChecksum> blocks;
  as_output([&] {
    std::vector<Slab> pieces;
    for (const auto& [place, slab] : slabs) {
      add_pieces(slab, pieces);
      goes_on();
    }
    std::map<std::uint64_t, std::vector<Slab>> by_file;
    for (const Slab& piece : pieces) by_file[piece.dataset].push_back(piece);
    const std::vector<PlacedDataset> values = values_of_files();
    for (auto& [number, of_file] : by_file) {
      const auto more = read_back(file(number), values, std::move(of_file), goes_on);
      blocks.insert(blocks.end(), more.begin(), more.end());
    }
  });
  return blocks;
}

void SafetensorsWriter::State::complete_file(std::size_t number) const {
  comm::File whole = comm::File::open(file(number));
  whole.write_at(base::Bytes{}, bytes_of(plan.files[number].header).first(kLengthBytes));
  whole.close();
  sync_file(file(number));
}

void SafetensorsWriter::State::complete(const std::string& summary) {
  for (std::size_t number = 0; number < plan.files.size(); ++number) complete_file(number);
  if (plan.files.size() > 1) write_text_file(partial / kIndexFile, index_json(plan, layout));
  write_text_file(partial / kSummaryFile, summary + "\n");
  as_output([&] {
    static_cast<void>(checkpoint::open_safetensors(partial));
    write_directory_checksums(partial, checksums);
  });
  sync_directory(partial);
  owns_partial =
      false;  // complete: should the name be taken by now, the result stays under the partial one
  rename_partial_directory(name, options.overwrite, is_model_file);
}

bool is_finished_directory(const path& directory, std::string_view job) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(directory / kSummaryFile, ignored)) return false;
  try {
    return read_text(directory / kJobFile) == job;
  } catch (const base::Error&) {
    return false;
  }
}

SafetensorsWriter SafetensorsWriter::begin(const comm::Comm& comm, const path& name,
                                           const Hdf5Layout& layout,
                                           const SafetensorsOptions& options) {
  auto state = std::make_unique<State>(comm);
  comm::collectively(comm, "prepare output", [&] {
    state->plan_output(name, layout, options);
    if (comm.is_root()) state->make_partial();
  });
  return SafetensorsWriter(std::move(state));
}

SafetensorsWriter SafetensorsWriter::resume(const comm::Comm& comm, const path& name,
                                            const Hdf5Layout& layout,
                                            const SafetensorsOptions& options) {
  auto state = std::make_unique<State>(comm);
  comm::collectively(comm, "reopen output", [&] {
    state->plan_output(name, layout, options);
    if (comm.is_root()) state->check_partial();
  });
  state->keeps_partial = true;
  return SafetensorsWriter(std::move(state));
}

SafetensorsWriter::SafetensorsWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter& SafetensorsWriter::operator=(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::write(std::size_t dataset, base::Elements offset,
                              std::span<const std::byte> data) {
  State& state = *state_;
  comm::collectively(state.comm, "write output", [&] {
    const std::uint64_t element_bytes =
        base::element_bytes(state.plan.datasets.at(dataset).dtype).value();
    const base::ElementRange range{offset, offset + base::Elements{data.size() / element_bytes}};
    for (const Stretch& piece : stretches(state.plan, dataset, range)) {
      const std::uint64_t begin = (piece.elements.begin - offset).value() * element_bytes;
      const std::uint64_t bytes = piece.elements.count().value() * element_bytes;
      state.write_piece(piece, data.subspan(begin, bytes));
    }
    if (range.empty()) return;
    const Slab slab{dataset, range, XXH3_64bits(data.data(), data.size())};
    state.slabs[{slab.dataset, offset}] = slab;
    state.new_slabs.push_back(slab);
  });
}

std::vector<Slab> SafetensorsWriter::take_new_slabs() {
  return std::exchange(state_->new_slabs, {});
}

void SafetensorsWriter::adopt(const std::vector<Slab>& slabs) {
  for (const Slab& slab : slabs) state_->slabs[{slab.dataset, slab.range.begin}] = slab;
}

void SafetensorsWriter::forget() {
  state_->slabs.clear();
  state_->new_slabs.clear();
}

void SafetensorsWriter::sync() {
  State& state = *state_;
  comm::collectively(state.comm, "sync output", [&] {
    for (const std::size_t number : state.unsynced) sync_file(state.file(number));
    state.unsynced.clear();
  });
}

void SafetensorsWriter::keep() { state_->keeps_partial = true; }

void SafetensorsWriter::close(const GoesOn& goes_on) {
  State& state = *state_;
  sync();
  comm::collectively(state.comm, "close output", [&] { state.files.close(); });
  std::vector<BlockChecksum> blocks;
  comm::collectively(state.comm, "check output", [&] { blocks = state.check_slabs(goes_on); });
  state.checksums = gather_checksums(state.comm, state.values_of_files(), blocks);
}

void SafetensorsWriter::publish(std::string_view summary) {
  State& state = *state_;
  comm::collectively(state.comm, "publish output", [&] {
    if (state.comm.is_root()) state.complete(std::string(summary));
  });
}

}  // namespace mpimerge::output
