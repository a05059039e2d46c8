#pragma once

#include <cstddef>
#include <string>

namespace mpimerge::report {

// Colours are CSS classes, so that a page looks right in light and in dark surroundings: little is
// always close to the background. Lightness alone tells the order; none needs red told from green.

inline constexpr std::size_t kSequentialSteps = 32;
inline constexpr std::size_t kDivergingSteps = 31;  // odd: the middle is zero
inline constexpr std::size_t kCategories = 8;

/// Local. The class of a value between 0 (little) and 1 (much); beyond them that of the nearer end.
std::string sequential_class(double share);

/// Local. The class of a value between -1 and 1.
std::string diverging_class(double value);

/// Local. The class of the `which`-th of several things; all beyond kCategories share one.
std::string category_class(std::size_t which);

/// Local. The rules of all these classes, for both kinds of surroundings.
std::string colour_rules();

}  // namespace mpimerge::report
