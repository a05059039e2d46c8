#include "mpimerge/output/pass_file.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include "mpimerge/base/checked.hpp"
#include "mpimerge/base/error.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/comm/error.hpp"
#include "mpimerge/comm/file.hpp"

#include "output/partial_file.hpp"
#include "output/paths.hpp"

namespace mpimerge::output {
namespace {

using base::Bytes;
using std::filesystem::path;

static_assert(std::endian::native == std::endian::little, "the file's integers are little-endian");

struct Start {
  std::array<char, 8> magic;
  std::uint64_t words;     // of the head, which follows
  std::uint64_t checksum;  // of them
};
static_assert(sizeof(Start) == 24);
// The last character is the version of all that follows.
constexpr std::array<char, 8> kMagic{'m', 'p', 'i', 'm', 'p', 'a', 's', '1'};
constexpr std::size_t kWord = sizeof(std::uint64_t);
constexpr std::size_t kBuffer = (std::size_t{1} << 20) / kWord;  // words

path fresh_name(const path& file) { return path(file) += ".new"; }

// Words that stand one after another: numbers, and lists after their length.
class Words {
 public:
  explicit Words(std::span<const std::uint64_t> words) : left_(words) {}

  std::uint64_t number() {
    const std::uint64_t value = left_.empty() ? 0 : left_[0];
    fits_ = fits_ && !left_.empty();
    left_ = left_.subspan(std::min<std::size_t>(left_.size(), 1));
    return value;
  }

  std::span<const std::uint64_t> list() {
    const std::uint64_t size = number();
    fits_ = fits_ && size <= left_.size();
    if (!fits_) return {};
    const auto words = left_.first(size);
    left_ = left_.subspan(size);
    return words;
  }

  [[nodiscard]] bool all_taken() const { return fits_ && left_.empty(); }

 private:
  std::span<const std::uint64_t> left_;
  bool fits_ = true;
};

void put_list(std::vector<std::uint64_t>& words, std::span<const std::uint64_t> list) {
  words.push_back(list.size());
  words.insert(words.end(), list.begin(), list.end());
}

// What a rank's part is: its length and checksum.
PassHead::Part measure(const std::function<void(const base::PutWords&)>& own) {
  PassHead::Part part;
  XXH3_state_t hash;
  XXH3_64bits_reset(&hash);
  own([&](std::span<const std::uint64_t> words) {
    part.words += words.size();
    XXH3_64bits_update(&hash, words.data(), words.size_bytes());
  });
  part.checksum = XXH3_64bits_digest(&hash);
  return part;
}

void write_part(const path& file, Bytes begin,
                const std::function<void(const base::PutWords&)>& own) {
  comm::File target = comm::File::open(file);
  std::vector<std::uint64_t> buffer;
  buffer.reserve(kBuffer);
  const auto flush = [&] {
    target.write_at(begin, std::as_bytes(std::span(buffer)));
    begin += Bytes{buffer.size() * kWord};
    buffer.clear();
  };
  own([&](std::span<const std::uint64_t> words) {
    while (!words.empty()) {
      const auto some = words.first(std::min(words.size(), kBuffer - buffer.size()));
      buffer.insert(buffer.end(), some.begin(), some.end());
      words = words.subspan(some.size());
      if (buffer.size() == kBuffer) flush();
    }
  });
  flush();
  target.close();
}

// The words behind the start; nothing where they are no head.
std::optional<PassHead> head_of(std::span<const std::uint64_t> from) {
  Words words(from);
  PassHead head;
  head.merge = words.number();
  head.state.step = words.number();
  const auto numbers = words.list();
  head.state.numbers.assign(numbers.begin(), numbers.end());
  const auto looked_at = plan::Coverage::from_numbers(words.list());
  const auto parts = words.list();
  if (!words.all_taken() || !looked_at || parts.size() % 2 != 0) return std::nullopt;
  head.state.looked_at = *looked_at;
  for (std::size_t part = 0; part < parts.size(); part += 2)
    head.parts.push_back({parts[part], parts[part + 1]});
  return head;
}

std::vector<std::uint64_t> words_of(const PassHead& head) {
  std::vector<std::uint64_t> words{head.merge, head.state.step};
  put_list(words, head.state.numbers);
  put_list(words, head.state.looked_at.numbers());
  words.push_back(2 * head.parts.size());
  for (const PassHead::Part& part : head.parts)
    words.insert(words.end(), {part.words, part.checksum});
  return words;
}

// Where a part begins in the file; that after the last is the file's end. Nothing: beyond 64 bits.
std::optional<std::uint64_t> begin_of(const PassHead& head, std::size_t part) {
  std::optional<std::uint64_t> words = words_of(head).size();
  for (std::size_t before = 0; before < part && words; ++before)
    words = base::checked_add(*words, head.parts[before].words);
  if (!words || *words > (UINT64_MAX - sizeof(Start)) / kWord) return std::nullopt;
  return sizeof(Start) + *words * kWord;
}

// Collective. What the ranks say of their parts, put together by rank 0 and known to all.
PassHead gather_head(const comm::Comm& comm, std::uint64_t merge, const plan::PassState& state,
                     const PassHead::Part& part) {
  std::vector<std::uint64_t> mine{part.words, part.checksum};
  put_list(mine, state.looked_at.numbers());
  const auto* const bytes = reinterpret_cast<const char*>(mine.data());
  std::vector<char> all = comm::gather_bytes(comm, {bytes, mine.size() * kWord});
  if (comm.is_root()) {
    std::vector<std::uint64_t> gathered(all.size() / kWord);
    std::memcpy(gathered.data(), all.data(), all.size());
    Words words(gathered);
    PassHead head{merge, state, {}};
    for (int rank = 0; rank < comm.ranks(); ++rank) {
      const std::uint64_t count = words.number();
      head.parts.push_back({count, words.number()});
      if (const auto looked_at = plan::Coverage::from_numbers(words.list()))
        head.state.looked_at.add(*looked_at);
    }
    const std::vector<std::uint64_t> of_head = words_of(head);
    all.resize(of_head.size() * kWord);
    std::memcpy(all.data(), of_head.data(), all.size());
  }
  comm::bcast_bytes(comm, all);
  std::vector<std::uint64_t> words(all.size() / kWord);
  std::memcpy(words.data(), all.data(), all.size());
  return head_of(words).value();
}

void make_empty(const path& fresh) {
  if (::unlink(fresh.c_str()) != 0 && errno != ENOENT) fail_with_errno(fresh, "is in the way");
  constexpr mode_t kAsTheUmaskLeavesIt = 0666;
  const base::FileDescriptor made(::open(
      fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, kAsTheUmaskLeavesIt));
  if (!made) fail_with_errno(fresh, "cannot be made");
}

}  // namespace

std::vector<std::byte> encode(const PassHead& head) {
  const std::vector<std::uint64_t> words = words_of(head);
  const Start start{kMagic, words.size(), XXH3_64bits(words.data(), words.size() * kWord)};
  std::vector<std::byte> bytes(sizeof(start) + words.size() * kWord);
  std::memcpy(bytes.data(), &start, sizeof(start));
  std::memcpy(bytes.data() + sizeof(start), words.data(), words.size() * kWord);
  return bytes;
}

std::optional<PassHead> decode_pass_head(std::span<const std::byte> bytes) {
  Start start{};
  if (bytes.size() < sizeof(start)) return std::nullopt;
  std::memcpy(&start, bytes.data(), sizeof(start));
  bytes = bytes.subspan(sizeof(start));
  if (start.magic != kMagic || start.words > bytes.size() / kWord) return std::nullopt;
  std::vector<std::uint64_t> words(start.words);
  std::memcpy(words.data(), bytes.data(), words.size() * kWord);
  if (XXH3_64bits(words.data(), words.size() * kWord) != start.checksum) return std::nullopt;
  return head_of(words);
}

std::optional<std::uint64_t> pass_file_bytes(const PassHead& head) {
  return begin_of(head, head.parts.size());
}

void write_pass(const comm::Comm& comm, const path& file, std::uint64_t merge,
                const plan::PassState& state,
                const std::function<void(const base::PutWords&)>& own) {
  const path fresh = fresh_name(file);
  PassHead::Part part;
  try {
    comm::collectively(comm, "save pass", [&] {
      part = measure(own);
      if (comm.is_root()) make_empty(fresh);
    });
    const PassHead head = gather_head(comm, merge, state, part);
    comm::collectively(comm, "save pass", [&] {
      if (comm.is_root()) append_to_file(fresh, Bytes{}, encode(head));
      const auto rank = static_cast<std::size_t>(comm.rank());
      if (part.words > 0) write_part(fresh, Bytes{begin_of(head, rank).value()}, own);
      if (part.words > 0 || comm.is_root()) sync_file(fresh);
    });
    comm::collectively(comm, "save pass", [&] {
      if (!comm.is_root()) return;
      if (::rename(fresh.c_str(), file.c_str()) != 0) fail_with_errno(file, "cannot be replaced");
      sync_directory(directory_of(file));
    });
  } catch (const comm::AgreedError&) {
    // On a full disk its space is wanted.
    if (comm.is_root()) ::unlink(fresh.c_str());
    throw;
  }
}

bool is_pass_file(const path& file) {
  try {
    const base::FileDescriptor descriptor = base::open_for_reading(file);
    std::array<char, kMagic.size() - 1> begin{};  // of any version
    base::read_exactly(descriptor, file, Bytes{}, std::as_writable_bytes(std::span(begin)));
    return std::equal(begin.begin(), begin.end(), kMagic.begin());
  } catch (const base::Error&) {
    return false;
  }
}

void remove_pass_file(const path& file) {
  for (const path& name : {file, fresh_name(file)}) {
    if (::unlink(name.c_str()) != 0 && errno != ENOENT) fail_with_errno(name, "cannot be removed");
  }
}

std::optional<PassHead> read_pass_head(const path& file) {
  // That of a million ranks.
  constexpr std::uint64_t kLargest = std::uint64_t{1} << 30;
  try {
    const base::FileDescriptor descriptor = base::open_for_reading(file);
    const std::uint64_t size = base::file_size(descriptor, file).value();
    Start start{};
    if (size < sizeof(start)) return std::nullopt;
    base::read_exactly(descriptor, file, Bytes{}, std::as_writable_bytes(std::span(&start, 1)));
    if (start.words > std::min(size, kLargest) / kWord) return std::nullopt;
    std::vector<std::byte> bytes(std::min(size, sizeof(start) + start.words * kWord));
    base::read_exactly(descriptor, file, Bytes{}, bytes);
    auto head = decode_pass_head(bytes);
    return head && pass_file_bytes(*head) == size ? std::move(head) : std::nullopt;
  } catch (const base::Error&) {
    return std::nullopt;
  }
}

PassPart::PassPart(const path& file, const PassHead& head, std::size_t part)
    : path_(file), part_(head.parts[part]) {
  try {
    file_ = base::open_for_reading(file);
  } catch (const base::Error& error) {
    throw base::Error(base::ErrorKind::output, error.what());
  }
  begin_ = begin_of(head, part).value();
}

void PassPart::fill() {
  buffer_.resize(std::min<std::uint64_t>(kBuffer, part_.words - read_));
  try {
    base::read_exactly(file_, path_, Bytes{begin_ + read_ * kWord},
                       std::as_writable_bytes(std::span(buffer_)));
  } catch (const base::Error& error) {
    throw base::Error(base::ErrorKind::output, error.what());
  }
  read_ += buffer_.size();
  next_ = 0;
}

bool PassPart::is_whole() {
  XXH3_state_t hash;
  XXH3_64bits_reset(&hash);
  for (read_ = 0; read_ < part_.words;) {
    fill();
    XXH3_64bits_update(&hash, buffer_.data(), buffer_.size() * kWord);
  }
  buffer_.clear();
  next_ = 0;
  read_ = 0;
  return XXH3_64bits_digest(&hash) == part_.checksum;
}

std::uint64_t PassPart::word() {
  if (next_ == buffer_.size()) {
    if (read_ == part_.words) fail(path_, "does not fit this merge; --overwrite begins it anew");
    fill();
  }
  return buffer_[next_++];
}

}  // namespace mpimerge::output
