#pragma once

#include <string>

#include "mpimerge/job/job.hpp"

namespace mpimerge::app {

/// Local. The README.md of a merged model: the front matter that the Hugging Face Hub reads, method,
/// models, and the job itself.
/// @param title  the name of the output
std::string model_card(const job::Job& job, const std::string& title);

}  // namespace mpimerge::app
