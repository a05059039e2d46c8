#pragma once

#include <cstddef>
#include <span>

#include "mpimerge/method/rules.hpp"

namespace mpimerge::method {

/// What the election of signs looks at, for some elements. `rows` are w·δ̂ of each model.
struct Ballot {
  std::span<float* const> rows;
  std::size_t elements = 0;
  const float* sum = nullptr;  ///< [elements] Σ of the rows
  std::span<const float> norms;  ///< [models] ‖w·δ̂‖² over the model, for normfrac and normmass
  const float* given = nullptr;  ///< [elements] the checkpoint of Elect::given
  const float* base = nullptr;   ///< [elements]
  float* scratch = nullptr;      ///< [elements]
};

/// Local. The elected signs: 1, −1, or `tie` where no sign has more votes.
void elect(Elect rule, const Ballot& ballot, float tie, float* signs);

/// Local. One value from those of the models. A sign of 0 acts as negative, but for disjoint_max,
/// which gives 0 there.
/// @param signs    [elements]; null: nothing was elected
/// @param weights  [models]
void aggregate(Aggregate rule, std::span<float* const> rows, std::span<const float> weights,
               const float* signs, std::size_t elements, float* scratch, float* result);

}  // namespace mpimerge::method
