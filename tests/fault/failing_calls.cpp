// A library to be loaded before the C library (LD_PRELOAD): it lets chosen system calls of a chosen
// rank fail, or come late, or be the last thing that it does.
//
//   FAULT_CALL   open | pread | pwrite | fallocate | fsync | rename | flock
//   FAULT_PATH   calls on files whose path contains this, or ends with it if a $ stands behind
//   FAULT_ERRNO  the number of the error; 0: the call moves no bytes, as at the end of a file
//   FAULT_DELAY  milliseconds: the calls come so much later, and do not fail
//   FAULT_SIGNAL this signal comes right before the first such call, which does not fail
//   FAULT_AFTER  so many calls are let through first (default 0)
//   FAULT_RANK   on this rank only (default: on all); a process without a launcher is rank 0
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/file.h>
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

bool matches(std::string_view path, std::string_view pattern) {
  if (!pattern.ends_with('$')) return path.find(pattern) != std::string_view::npos;
  return path.ends_with(pattern.substr(0, pattern.size() - 1));
}

bool fails(std::string_view call, std::string_view path) {
  static std::atomic<int> matching{0};
  if (call != setting("FAULT_CALL") || !is_chosen_rank()) return false;
  if (!matches(path, setting("FAULT_PATH"))) return false;
  const int before = matching++;
  if (before < number("FAULT_AFTER")) return false;
  if (const int signal = number("FAULT_SIGNAL"); signal != 0) {
    if (before == number("FAULT_AFTER")) kill(getpid(), signal);
    return false;
  }
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

int flock(int file, int operation) {
  if (fails("flock", file)) return static_cast<int>(failure());
  return real<int(int, int)>("flock")(file, operation);
}

int fallocate(int file, int mode, off_t offset, off_t bytes) {
  if (fails("fallocate", file)) return static_cast<int>(failure());
  return real<int(int, int, off_t, off_t)>("fallocate")(file, mode, offset, bytes);
}

int fallocate64(int file, int mode, off64_t offset, off64_t bytes) {
  if (fails("fallocate", file)) return static_cast<int>(failure());
  return real<int(int, int, off64_t, off64_t)>("fallocate64")(file, mode, offset, bytes);
}

int fsync(int file) {
  if (fails("fsync", file)) return static_cast<int>(failure());
  return real<int(int)>("fsync")(file);
}

int rename(const char* from, const char* to) {
  if (fails("rename", to)) return static_cast<int>(failure());
  return real<int(const char*, const char*)>("rename")(from, to);
}

int renameat2(int from_directory, const char* from, int to_directory, const char* to,
              unsigned flags) {
  if (fails("rename", to)) return static_cast<int>(failure());
  return real<int(int, const char*, int, const char*, unsigned)>("renameat2")(
      from_directory, from, to_directory, to, flags);
}
}
