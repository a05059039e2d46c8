#include "mpimerge/output/journal.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <exception>
#include <type_traits>

#include <boost/archive/binary_iarchive.hpp>
#include <boost/archive/binary_oarchive.hpp>
#include <boost/iostreams/device/array.hpp>
#include <boost/iostreams/device/back_inserter.hpp>
#include <boost/iostreams/stream.hpp>
#include <boost/serialization/split_free.hpp>
#include <fmt/format.h>
#include <xxhash.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/file_descriptor.hpp"

#include "output/partial_file.hpp"

namespace mpimerge::output {
namespace {

using std::filesystem::path;

static_assert(std::endian::native == std::endian::little, "the file's integers are little-endian");

struct Head {
  std::array<char, 8> magic;
  std::uint64_t payload_bytes;
  std::uint64_t payload_checksum;
};
static_assert(sizeof(Head) == 24);
// The last character is the version of all that follows.
constexpr std::array<char, 8> kMagic{'m', 'p', 'i', 'm', 'j', 'n', 'l', '1'};
constexpr unsigned kFlags = boost::archive::no_header | boost::archive::no_tracking;

// Boost's own readers of texts and vectors make room for as many elements as the bytes say. These
// grow with what is really there.

template <class Archive, class Element>
void list(Archive& archive, std::vector<Element>& elements);

template <class Archive>
void text(Archive& archive, std::string& characters) {
  std::vector<char> list_of(characters.begin(), characters.end());
  list(archive, list_of);
  if constexpr (Archive::is_loading::value) characters.assign(list_of.begin(), list_of.end());
}

template <class Archive>
void value(Archive& archive, std::string& characters) {
  text(archive, characters);
}

template <class Archive>
void value(Archive& archive, char& character) {
  archive& character;
}

template <class Archive>
void value(Archive& archive, std::uint64_t& number) {
  archive& number;
}

template <class Archive>
void value(Archive& archive, Slab& slab) {
  archive& slab.dataset& slab.range& slab.checksum;
}

template <class Archive>
void value(Archive& archive, InputFile& input) {
  text(archive, input.path);
  archive& input.bytes& input.modified& input.header;
}

template <class Archive>
void value(Archive& archive, Run& run) {
  text(archive, run.started);
  text(archive, run.ended);
  archive& run.ranks;
  list(archive, run.hosts);
}

template <class Archive, class Element>
void list(Archive& archive, std::vector<Element>& elements) {
  std::uint64_t count = elements.size();
  archive& count;
  for (std::uint64_t number = 0; number < count; ++number) {
    if constexpr (Archive::is_loading::value) elements.emplace_back();
    value(archive, elements[number]);
  }
}

template <class Archive>
void transfer(Archive& archive, Journal& journal) {
  text(archive, journal.program);
  text(archive, journal.job);
  list(archive, journal.inputs);
  list(archive, journal.runs);
  list(archive, journal.method);
  list(archive, journal.slabs);
}

[[noreturn]] void refuse(const path& file, const char* what) {
  throw base::Error(base::ErrorKind::output,
                    fmt::format("{}: {}; remove it to begin the merge anew", file.string(), what));
}

}  // namespace

std::vector<std::byte> encode(const Journal& journal) {
  std::vector<char> payload;
  {
    boost::iostreams::stream<boost::iostreams::back_insert_device<std::vector<char>>> stream(
        payload);
    boost::archive::binary_oarchive archive(stream, kFlags);
    Journal copy = journal;  // an archive takes what it writes by reference
    transfer(archive, copy);
  }
  const Head head{kMagic, payload.size(), XXH3_64bits(payload.data(), payload.size())};
  std::vector<std::byte> bytes(sizeof(head) + payload.size());
  std::memcpy(bytes.data(), &head, sizeof(head));
  std::memcpy(bytes.data() + sizeof(head), payload.data(), payload.size());
  return bytes;
}

Journal decode_journal(std::span<const std::byte> bytes, const path& file) {
  Head head{};
  if (bytes.size() >= sizeof(head)) std::memcpy(&head, bytes.data(), sizeof(head));
  if (head.magic != kMagic) refuse(file, "is not a journal of this version of mpimerge");
  const auto payload = bytes.subspan(sizeof(head));
  if (head.payload_bytes != payload.size() ||
      head.payload_checksum != XXH3_64bits(payload.data(), payload.size()))
    refuse(file, "is a damaged journal");
  Journal journal;
  try {
    boost::iostreams::stream<boost::iostreams::array_source> stream(
        reinterpret_cast<const char*>(payload.data()), payload.size());
    boost::archive::binary_iarchive archive(stream, kFlags);
    transfer(archive, journal);
  } catch (const std::exception&) {
    refuse(file, "is a damaged journal");
  }
  return journal;
}

void write_journal(const path& file, const Journal& journal) {
  replace_file(file, encode(journal));
}

bool is_journal(const path& file) {
  try {
    const base::FileDescriptor descriptor = base::open_for_reading(file);
    std::array<char, kMagic.size() - 1> begin{};  // of any version
    if (base::file_size(descriptor, file) == base::Bytes{}) return true;
    base::read_exactly(descriptor, file, base::Bytes{}, std::as_writable_bytes(std::span(begin)));
    return std::equal(begin.begin(), begin.end(), kMagic.begin());
  } catch (const base::Error&) {
    return false;
  }
}

Journal read_journal(const path& file) {
  std::vector<std::byte> bytes;
  try {
    const base::FileDescriptor descriptor = base::open_for_reading(file);
    // That of an output of 200 TB.
    constexpr base::Bytes kLargest{std::uint64_t{1} << 30};
    const base::Bytes size = base::file_size(descriptor, file);
    if (size > kLargest) refuse(file, "is too large for a journal");
    bytes.resize(size.value());
    base::read_exactly(descriptor, file, base::Bytes{0}, bytes);
  } catch (const base::Error& error) {
    if (error.kind() == base::ErrorKind::output) throw;
    throw base::Error(base::ErrorKind::output, error.what());
  }
  return decode_journal(bytes, file);
}

}  // namespace mpimerge::output
