#pragma once

#include <string>
#include <vector>

#include "mpimerge/report/document.hpp"

#include "report/groups.hpp"

namespace mpimerge::report {

/// A picture with its heading and a sentence on how to read it.
struct Figure {
  std::string id;
  std::string title;
  std::string svg;
  std::string caption;  ///< HTML
};

// All local. Each picture is there if its statistics are.

/// How often tasks disagree: by layer and kind, by number of tasks, and how strongly.
std::vector<Figure> conflict_figures(const Report& report, const Groups& groups);

/// What the trim keeps, by layer and task, and how much of the norm is in how few values.
std::vector<Figure> trim_figures(const Report& report, const Groups& groups);

/// How alike the task vectors are: cosines and signs by pair, cosines by layer.
std::vector<Figure> similarity_figures(const Report& report, const Groups& groups);

/// Magnitudes of the merged vector and of the plain average, and norms by layer.
std::vector<Figure> magnitude_figures(const Report& report, const Groups& groups);

}  // namespace mpimerge::report
