#include "mpimerge/hdf5/collective_file.hpp"

#include <bit>
#include <cerrno>
#include <cstring>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <hdf5.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/comm/abort.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/comm/file.hpp"
#include "mpimerge/hdf5/library.hpp"

#include "hdf5/calls.hpp"

namespace mpimerge::hdf5 {
namespace {

// A rank's range is one contiguous request that no other overlaps: nothing may read, change and
// write back blocks around it. ROMIO sees by itself that the ranks' requests do not interleave and
// then writes without aggregators. Striping is the directory's business: when MPI-IO opens the
// file, it exists already.
const comm::Hints kOurHints{{"romio_ds_write", "disable"}};

comm::Hints with_our_hints(comm::Hints hints) {
  hints.insert(kOurHints.begin(), kOurHints.end());
  return hints;
}

base::Error as_output_error(const std::filesystem::path& path, const Failure& failure) {
  return {failure.no_space() ? base::ErrorKind::resources : base::ErrorKind::output,
          fmt::format("{}: {}", path.string(), failure.what())};
}

Failure failure_of(int code) {
  const bool no_space = code == ENOSPC || code == EDQUOT;
  return {fmt::format("cannot be written: {}{}", std::strerror(code),
                      no_space ? "; free some space, or choose another output" : ""),
          no_space};
}

// Collective. Runs a step of opening that is collective in HDF5. If some ranks got through and
// others did not, the first hold something whose closing is collective: the job can only end.
void open_together(const comm::Comm& comm, const std::filesystem::path& path,
                   const std::function<void()>& step) {
  std::exception_ptr failure;
  std::string message;
  try {
    step();
  } catch (const Failure& error) {
    const base::Error named = as_output_error(path, error);
    message = named.what();
    failure = std::make_exception_ptr(named);
  }
  const std::uint64_t failed = comm::all_reduce_sum(comm, std::uint64_t{failure ? 1U : 0U});
  const auto ranks = static_cast<std::uint64_t>(comm.ranks());
  if (failed != 0 && failed != ranks) {
    if (failure) comm::abort_job(comm, base::ErrorKind::output, message);
    comm::barrier(comm);  // until the failing rank ends the job
  }
  comm::agree(comm, "open output", failure);
}

constexpr std::array<std::string_view, 8> kModes{
    "independent",           "chunk independent", "chunk collective", "chunk mixed",
    "contiguous collective", "unknown mode 5",    "unknown mode 6",   "unknown mode 7"};

constexpr std::array<std::string_view, 8> kCauses{
    "independent transfer asked for",
    "datatype conversion",
    "data transforms",
    "MPI types switched off in the environment",
    "dataspace neither simple nor scalar",
    "dataset neither contiguous nor chunked",
    "parallel filtered writes switched off",
    "error while checking whether collective is possible"};

template <std::size_t Count>
std::string names_of(const std::array<std::uint64_t, Count>& counts,
                     const std::array<std::string_view, 8>& names) {
  std::string text;
  for (std::size_t which = 0; which < Count; ++which) {
    if (counts[which] == 0) continue;
    if (!text.empty()) text += ", ";
    text +=
        which < names.size() ? std::string(names[which]) : fmt::format("unknown cause {}", which);
  }
  return text.empty() ? "none" : text;
}

}  // namespace

CollectiveFile::CollectiveFile(const comm::Comm& comm, std::filesystem::path path, File file)
    : comm_(&comm), path_(std::move(path)), file_(std::move(file)) {}

CollectiveFile CollectiveFile::open(const comm::Comm& comm, const std::filesystem::path& path,
                                    const std::vector<std::string>& datasets,
                                    const comm::Hints& hints) {
  start_library();
  comm::collectively(comm, "set hints", [&] { comm::check_hints(hints); });
  File opened;
  open_together(comm, path, [&] {
    const comm::Info info = comm::make_info(with_our_hints(hints));
    const Properties access = call::create_properties(H5P_FILE_ACCESS);
    call::set_version_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_LATEST);
    call::set_mpi_io(access, comm.get(), info.get());
    call::set_collective_metadata_reads(access);
    call::set_collective_metadata_writes(access);
    opened = call::open_file(comm::mpi_io_name(path), H5F_ACC_RDWR, access);
  });
  CollectiveFile file(comm, path, std::move(opened));
  for (const std::string& name : datasets) {
    open_together(comm, path, [&] {
      Target target;
      target.dataset = call::open_dataset(file.file_, name);
      // As memory type too: any difference to the file's type makes HDF5 drop collective mode.
      target.type = call::dataset_type(target.dataset);
      target.space = call::dataset_space(target.dataset);
      target.elements = call::elements(target.space);
      target.element_bytes = call::type_size(target.type);
      target.file_offset = call::offset(target.dataset);
      file.targets_.push_back(std::move(target));
    });
  }
  open_together(comm, path, [&] {
    file.transfer_ = call::create_properties(H5P_DATASET_XFER);
    call::set_collective_transfer(file.transfer_);
  });
  return file;
}

CollectiveFile::~CollectiveFile() {
  if (!file_ || !comm::alone()) return;  // the members close it
  for (Target& target : targets_) static_cast<void>(target.dataset.release());
  static_cast<void>(file_.release());
}

void CollectiveFile::write(std::size_t dataset, base::Elements offset,
                           std::span<const std::byte> data) {
  try {
    write_or_throw(dataset, offset, data);
  } catch (const Failure& failure) {
    const Target& target = targets_[dataset];
    const base::Bytes place{target.file_offset + offset.value() * target.element_bytes};
    const int code = comm::errno_of_plain_write(path_, place, data);
    const base::Error error = as_output_error(path_, code == 0 ? failure : failure_of(code));
    comm::abort_job(*comm_, error.kind(), error.what());
  } catch (const std::exception& failure) {
    comm::abort_job(*comm_, base::ErrorKind::bug, failure.what());
  }
}

void CollectiveFile::write_or_throw(std::size_t dataset, base::Elements offset,
                                    std::span<const std::byte> data) {
  const Target& target = targets_.at(dataset);
  const std::uint64_t count = data.size() / target.element_bytes;
  if (count * target.element_bytes != data.size() || count > target.elements ||
      (count != 0 && offset.value() > target.elements - count)) {
    throw std::out_of_range(fmt::format(
        "{}: {} bytes at element {} are not a part of a dataset of {} elements of {} bytes",
        path_.string(), data.size(), offset.value(), target.elements, target.element_bytes));
  }
  const Space memory = call::create_space(std::array{hsize_t{count}});
  if (count == 0) {
    call::select_none(memory);
    call::select_none(target.space);
  } else {
    call::select_range(target.space, offset.value(), count);
  }
  constexpr std::byte kNothing{};
  call::write(target.dataset, target.type, memory.get(), target.space.get(), transfer_.get(),
              data.empty() ? &kNothing : data.data());
  count_transfer();
}

void CollectiveFile::count_transfer() {
  ++transfers_.modes.at(static_cast<std::size_t>(call::actual_io_mode(transfer_)));
  for (std::uint32_t causes = call::no_collective_cause(transfer_); causes != 0;
       causes &= causes - 1) {
    ++transfers_.causes.at(static_cast<std::size_t>(std::countr_zero(causes)));
  }
}

TransferReport CollectiveFile::report_transfers() const {
  Transfers all = transfers_;
  comm::all_reduce_sum(*comm_, all.modes);
  comm::all_reduce_sum(*comm_, all.causes);
  return {names_of(all.modes, kModes), names_of(all.causes, kCauses)};
}

void CollectiveFile::close() {
  targets_.clear();  // HDF5 does not close a file of MPI-IO while objects in it are open
  std::exception_ptr failure;
  try {
    call::close(std::move(file_));
  } catch (const Failure& error) {
    failure = std::make_exception_ptr(as_output_error(path_, error));
  }
  comm::agree(*comm_, "close output", failure);
}

}  // namespace mpimerge::hdf5
