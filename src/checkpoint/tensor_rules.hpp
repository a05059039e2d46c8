#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mpimerge/checkpoint/catalog.hpp"

namespace mpimerge::checkpoint {

/// As many as HDF5 can store.
inline constexpr std::size_t kMaxDimensions = 32;

/// Local. "[2, 3]", for messages.
std::string shape_text(const std::vector<std::uint64_t>& shape);

/// Local. The product of the dimensions; nothing if it overflows 64 bits, zeros left out: that
/// does not depend on the order of dimensions.
std::optional<std::uint64_t> count_elements(const std::vector<std::uint64_t>& shape);

/// Local. Whether a tensor may be called so.
/// Errors: Error{input} if the name is empty or holds a zero byte.
void check_tensor_name(std::string_view name, const std::filesystem::path& file);

/// Local. Errors: Error{input} if two tensors have the same name.
void check_names_differ(const std::vector<TensorInfo>& tensors, const std::filesystem::path& file);

/// Local. As in Catalog, within one file.
void sort_in_storage_order(std::vector<TensorInfo>& tensors);

}  // namespace mpimerge::checkpoint
