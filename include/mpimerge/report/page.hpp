#pragma once

#include <string>

#include "mpimerge/report/document.hpp"

namespace mpimerge::report {

/// Local. One page of HTML that needs nothing else: no script, no network; light or dark as the
/// reader's system is, and light on paper. It shows what was merged, its tasks, and pictures (SVG)
/// and tables of whatever statistics there are; what was not counted is left out, and the page says
/// how to get it. Every number stands in an attribute with all its digits too. All text from files
/// is escaped, so that names cannot be markup.
/// Size: about 1 kB per tensor, the list of all of them ends after 10,000.
std::string page(Document document);

}  // namespace mpimerge::report
