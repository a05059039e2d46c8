#pragma once

#include <vector>

#include <boost/archive/binary_iarchive.hpp>
#include <boost/archive/binary_oarchive.hpp>
#include <boost/iostreams/device/array.hpp>
#include <boost/iostreams/device/back_inserter.hpp>
#include <boost/iostreams/stream.hpp>
#include <boost/serialization/map.hpp>
#include <boost/serialization/string.hpp>
#include <boost/serialization/vector.hpp>

#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/comm/comm.hpp"

namespace mpimerge::comm {

/// Archives travel between ranks of one build and one architecture.
inline constexpr unsigned kArchiveFlags = boost::archive::no_header | boost::archive::no_tracking;

/// Local. The Boost archive of `object`.
template <class Object>
std::vector<char> to_bytes(const Object& object) {
  std::vector<char> bytes;
  boost::iostreams::stream<boost::iostreams::back_insert_device<std::vector<char>>> stream(bytes);
  boost::archive::binary_oarchive archive(stream, kArchiveFlags);
  archive << object;
  stream.flush();
  return bytes;
}

/// Local. Reads an archive of `to_bytes`, made by the same build.
template <class Object>
void from_bytes(const std::vector<char>& bytes, Object& object) {
  boost::iostreams::stream<boost::iostreams::array_source> stream(bytes.data(), bytes.size());
  boost::archive::binary_iarchive archive(stream, kArchiveFlags);
  archive >> object;
}

/// Collective over `comm`. Rank 0's `object` on every rank, through a Boost archive.
/// Cost: two Broadcasts; the archive's bytes are held beside the object for the time of the call.
template <class Object>
void bcast_object(const Comm& comm, Object& object) {
  std::vector<char> bytes;
  if (comm.is_root()) bytes = to_bytes(object);
  bcast_bytes(comm, bytes);
  if (!comm.is_root()) from_bytes(bytes, object);
}

}  // namespace mpimerge::comm
