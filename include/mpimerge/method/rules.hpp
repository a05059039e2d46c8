#pragma once

#include <cstdint>

namespace mpimerge::method {

/// Over what the largest values of a task vector are kept.
enum class TrimScope : std::uint8_t { model, tensor };
/// Whose sign the values of an element have to have.
enum class Elect : std::uint8_t {
  mass,      ///< of their sum
  count,     ///< of most of them
  normfrac,  ///< of the one with the largest share of its task vector's squared norm
  normmass,  ///< of the sum of signed shares
  given,     ///< of a checkpoint's task vector
  none,      ///< no one's: all count
};
/// What sign an exactly cancelling sum takes.
enum class SignTie : std::uint8_t { majority, positive };
/// How one value comes from those of the tasks. The first three leave out trimmed values and those
/// of the other sign.
enum class Aggregate : std::uint8_t {
  disjoint_mean,
  disjoint_sum,
  disjoint_max,
  mean,
  sum,
  median,
  magnitude,
};
/// Whose rules hold where published ones and mergekit's differ.
enum class Compat : std::uint8_t { paper, mergekit };
/// What makes up for values that were dropped.
enum class Rescale : std::uint8_t {
  l1,       ///< the sum of magnitudes stays, as in mergekit
  density,  ///< kept values are divided by the probability of being kept, as in the papers
};

/// What a job says beside the numbers: one choice for the whole merge.
struct Rules {
  TrimScope trim_scope = TrimScope::model;
  Elect elect = Elect::mass;
  SignTie sign_tie = SignTie::majority;
  Aggregate aggregate = Aggregate::disjoint_mean;
  Compat compat = Compat::paper;
  Rescale rescale = Rescale::l1;
  std::uint64_t seed = 0;

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& trim_scope& elect& sign_tie& aggregate& compat& rescale& seed;
  }
};

}  // namespace mpimerge::method
