#pragma once

#include <string>

namespace mpimerge::report {

/// Local. The style sheet of a page.
std::string style_sheet();

}  // namespace mpimerge::report
