#include "mpimerge/base/file_descriptor.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/narrow.hpp"
#include "mpimerge/base/text.hpp"

namespace mpimerge::base {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what) {
  throw Error(ErrorKind::input, fmt::format("{}: {}", printable_path(path), what));
}

struct stat status_of(const FileDescriptor& file, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail(path, std::strerror(errno));
  return status;
}

// Linux moves at most 2 GiB - 4 KiB per call; a round number below it keeps calls aligned.
constexpr std::size_t kLargestRead = std::size_t{1} << 30;

}  // namespace

void FileDescriptorTraits::close(int descriptor) noexcept { ::close(descriptor); }

FileDescriptor open_for_reading(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a FIFO without a writer must return, so that it can be refused.
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  constexpr auto kSpecial = "is not a regular file (a device, FIFO or socket)";
  if (!file) fail(path, errno == ENXIO ? kSpecial : std::strerror(errno));
  const auto mode = status_of(file, path).st_mode;
  if (S_ISDIR(mode)) fail(path, "is a directory; expected a regular file");
  if (!S_ISREG(mode)) fail(path, kSpecial);
  return file;
}

Bytes file_size(const FileDescriptor& file, const std::filesystem::path& path) {
  return Bytes{narrow<std::uint64_t>(status_of(file, path).st_size)};
}

void read_exactly(const FileDescriptor& file, const std::filesystem::path& path, Bytes from,
                  std::span<std::byte> to) {
  std::size_t done = 0;
  while (done < to.size()) {
    const ssize_t got =
        ::pread(file.get(), to.data() + done, std::min(to.size() - done, kLargestRead),
                narrow<off_t>(from.value() + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path, std::strerror(errno));
    if (got == 0) {
      fail(path, fmt::format("ends at byte {}, but {} bytes at {} were expected; is it truncated?",
                             from.value() + done, to.size(), from.value()));
    }
    done += static_cast<std::size_t>(got);
  }
}

}  // namespace mpimerge::base
