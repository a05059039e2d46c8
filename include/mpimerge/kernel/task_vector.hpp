#pragma once

#include <cstddef>
#include <optional>
#include <span>

namespace mpimerge::kernel {

/// Local. The task vector τ = task − base, in place of `task`; one rounding per element.
/// @param task  [elements] f32, becomes τ
/// @param base  [elements] f32
void subtract_base(std::span<float> task, std::span<const float> base) noexcept;

/// Local. The first NaN or infinity of `values`, or nothing.
/// Cost: one vectorised read when there is none.
std::optional<std::size_t> first_non_finite(std::span<const float> values) noexcept;

}  // namespace mpimerge::kernel
