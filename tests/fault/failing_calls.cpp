// A library to be loaded before the C library (LD_PRELOAD): it lets chosen system calls of a chosen
// rank fail, or come late.
//
//   FAULT_CALL   open | pread | pwrite | fallocate
//   FAULT_PATH   calls on files whose path contains this
//   FAULT_ERRNO  the number of the error; 0: the call moves no bytes, as at the end of a file
//   FAULT_DELAY  milliseconds: the calls come so much later, and do not fail
//   FAULT_AFTER  so many calls are let through first (default 0)
//   FAULT_RANK   on this rank only (default: on all); a process without a launcher is rank 0
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

namespace {

std::string_view setting(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

int number(const char* name) { return std::atoi(std::string(setting(name)).c_str()); }

bool is_chosen_rank() {
  const std::string_view rank = setting("OMPI_COMM_WORLD_RANK");
  const std::string_view chosen = setting("FAULT_RANK");
  return chosen.empty() || chosen == (rank.empty() ? "0" : rank);
}

bool fails(std::string_view call, std::string_view path) {
  static std::atomic<int> matching{0};
  if (call != setting("FAULT_CALL") || !is_chosen_rank()) return false;
  if (path.find(setting("FAULT_PATH")) == std::string_view::npos) return false;
  if (matching++ < number("FAULT_AFTER")) return false;
  const std::chrono::milliseconds delay(number("FAULT_DELAY"));
  std::this_thread::sleep_for(delay);
  return delay.count() == 0;
}

bool fails(std::string_view call, int descriptor) {
  if (call != setting("FAULT_CALL")) return false;
  const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
  std::array<char, 4096> path{};
  const ssize_t length = readlink(link.c_str(), path.data(), path.size());
  return length > 0 && fails(call, std::string_view(path.data(), static_cast<std::size_t>(length)));
}

ssize_t failure() {
  errno = number("FAULT_ERRNO");
  return errno == 0 ? 0 : -1;
}

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

mode_t mode_of(int flags, va_list arguments) {
  return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  if (fails("open", path)) return static_cast<int>(failure());
  return real<int(const char*, int, ...)>("open")(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  if (fails("open", path)) return static_cast<int>(failure());
  return real<int(const char*, int, ...)>("open64")(path, flags, mode);
}

ssize_t pread(int file, void* to, size_t bytes, off_t offset) {
  if (fails("pread", file)) return failure();
  return real<ssize_t(int, void*, size_t, off_t)>("pread")(file, to, bytes, offset);
}

ssize_t pread64(int file, void* to, size_t bytes, off64_t offset) {
  if (fails("pread", file)) return failure();
  return real<ssize_t(int, void*, size_t, off64_t)>("pread64")(file, to, bytes, offset);
}

ssize_t pwrite(int file, const void* from, size_t bytes, off_t offset) {
  if (fails("pwrite", file)) return failure();
  return real<ssize_t(int, const void*, size_t, off_t)>("pwrite")(file, from, bytes, offset);
}

ssize_t pwrite64(int file, const void* from, size_t bytes, off64_t offset) {
  if (fails("pwrite", file)) return failure();
  return real<ssize_t(int, const void*, size_t, off64_t)>("pwrite64")(file, from, bytes, offset);
}

int fallocate(int file, int mode, off_t offset, off_t bytes) {
  if (fails("fallocate", file)) return static_cast<int>(failure());
  return real<int(int, int, off_t, off_t)>("fallocate")(file, mode, offset, bytes);
}

int fallocate64(int file, int mode, off64_t offset, off64_t bytes) {
  if (fails("fallocate", file)) return static_cast<int>(failure());
  return real<int(int, int, off64_t, off64_t)>("fallocate64")(file, mode, offset, bytes);
}
}
