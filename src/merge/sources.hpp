#pragma once

#include <cstddef>

#include "mpimerge/job/job.hpp"
#include "mpimerge/method/method.hpp"

namespace mpimerge::merge {

/// Where the checkpoints of a job stand in Plan::sources: the base, if there is one, the models, the
/// files beside them, the checkpoint whose signs are given.
struct Sources {
  bool has_base = false;
  std::size_t models = 0;
  std::size_t files = 0;  ///< as many as models, or none
  bool has_signs = false;

  /// Local.
  Sources(const job::Job& job, const method::Description& method)
      : has_base(!job.base_name.empty()),
        models(job.tasks.size()),
        files(method.files.empty() || method.files_are_whole ? 0 : models),
        has_signs(!job.signs_name.empty()) {}

  /// Local. Places in Plan::sources.
  [[nodiscard]] std::size_t model(std::size_t number) const { return (has_base ? 1 : 0) + number; }
  [[nodiscard]] std::size_t file(std::size_t number) const { return model(models) + number; }
  [[nodiscard]] std::size_t signs() const { return file(files); }
  [[nodiscard]] std::size_t count() const { return signs() + (has_signs ? 1 : 0); }
};

}  // namespace mpimerge::merge
