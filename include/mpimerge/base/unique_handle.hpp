#pragma once

#include <utility>

namespace mpimerge::base {

/// Sole owner of a C library's handle. `Traits` names the handle's type, its null value and a
/// `noexcept` close; closing must be local (collective resources have a `close()` of their own).
///
///     struct FileTraits {
///       using Handle = int;
///       static constexpr int null() noexcept { return -1; }
///       static void close(int fd) noexcept { ::close(fd); }
///     };
template <class Traits>
class UniqueHandle {
 public:
  using Handle = typename Traits::Handle;

  UniqueHandle() noexcept = default;
  explicit UniqueHandle(Handle handle) noexcept : handle_(handle) {}
  UniqueHandle(UniqueHandle&& other) noexcept : handle_(other.release()) {}
  UniqueHandle& operator=(UniqueHandle&& other) noexcept {
    reset(other.release());
    return *this;
  }
  UniqueHandle(const UniqueHandle&) = delete;
  UniqueHandle& operator=(const UniqueHandle&) = delete;
  ~UniqueHandle() { reset(); }

  /// Local. Free.
  [[nodiscard]] Handle get() const noexcept { return handle_; }
  [[nodiscard]] explicit operator bool() const noexcept { return handle_ != Traits::null(); }

  /// Local. Gives the handle up without closing it.
  [[nodiscard]] Handle release() noexcept { return std::exchange(handle_, Traits::null()); }

  /// Local. Closes what is held and holds `handle` instead.
  void reset(Handle handle = Traits::null()) noexcept {
    const Handle old = std::exchange(handle_, handle);
    if (old != Traits::null()) Traits::close(old);
  }

 private:
  Handle handle_ = Traits::null();
};

}  // namespace mpimerge::base
