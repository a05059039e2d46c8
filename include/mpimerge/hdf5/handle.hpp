#pragma once

#include <cstdint>
#include <type_traits>

#include "mpimerge/base/unique_handle.hpp"

namespace mpimerge::hdf5 {

/// HDF5's own handle; the same type as its hid_t, named here so that other rooms need no HDF5
/// header.
using Id = std::int64_t;

/// Local. Gives one reference back; an error is not reported.
void close_id(Id id) noexcept;

template <class Kind>
struct HandleTraits {
  using Handle = Id;
  static constexpr Id null() noexcept { return -1; }
  static void close(Id id) noexcept { close_id(id); }
};

/// A file of the serial driver, whose closing is local. What all ranks have open is a
/// CollectiveFile.
using File = base::UniqueHandle<HandleTraits<struct FileKind>>;
using Group = base::UniqueHandle<HandleTraits<struct GroupKind>>;
using Dataset = base::UniqueHandle<HandleTraits<struct DatasetKind>>;
using Attribute = base::UniqueHandle<HandleTraits<struct AttributeKind>>;
using Object = base::UniqueHandle<HandleTraits<struct ObjectKind>>;
using Type = base::UniqueHandle<HandleTraits<struct TypeKind>>;
using Space = base::UniqueHandle<HandleTraits<struct SpaceKind>>;
using Properties = base::UniqueHandle<HandleTraits<struct PropertiesKind>>;
static_assert(std::is_nothrow_move_constructible_v<File> && !std::is_copy_constructible_v<File>);
static_assert(std::is_nothrow_move_assignable_v<Dataset> && !std::is_copy_constructible_v<Dataset>);

}  // namespace mpimerge::hdf5
