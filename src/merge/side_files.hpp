#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "mpimerge/merge/block_store.hpp"
#include "mpimerge/method/method.hpp"
#include "mpimerge/plan/plan.hpp"

namespace mpimerge::merge {

/// The files beside the models, for a method that reads their tensors whole. All local.
class SideFiles final : public method::Files {
 public:
  /// Keeps a reference to the plan.
  /// @param refuses  NaN and infinity
  SideFiles(const plan::Plan& plan, bool refuses)
      : plan_(plan), refuses_(refuses), files_(open_files_limit()) {}

  [[nodiscard]] std::optional<std::vector<std::uint64_t>> shape(std::size_t model,
                                                                std::string_view tensor) override;
  void read(std::size_t model, std::string_view tensor, std::uint64_t first,
            std::span<float> values) override;

 private:
  [[nodiscard]] const plan::SideTensor* find(std::size_t model, std::string_view tensor) const;

  const plan::Plan& plan_;
  bool refuses_;
  FileCache files_;
  std::vector<std::byte> bytes_;
};

}  // namespace mpimerge::merge
