#include "app/slices.hpp"

#include <cstddef>
#include <map>
#include <string>

#include "mpimerge/plan/stack.hpp"

#include "app/inputs.hpp"

namespace mpimerge::app {
namespace {

const job::SliceSource* source_of(const job::Slice& slice, std::size_t task) {
  return task < slice.sources.size() ? &slice.sources[task] : nullptr;
}

/// The checkpoints of a job, each opened once.
class Opened {
 public:
  const checkpoint::Catalog& open(const job::SliceSource& source) {
    const auto known = by_path_.find(source.path);
    if (known != by_path_.end()) return known->second;
    return by_path_.emplace(source.path, open_checkpoint(source.path, source.name)).first->second;
  }

  /// @param choose  the source that a slice has for this model, or null
  template <class Choose>
  checkpoint::Catalog stack(const job::Job& job, const std::string& path, Choose choose) {
    std::vector<plan::LayerRange> ranges;
    for (const job::Slice& slice : job.slices) {
      const job::SliceSource* const source = choose(slice);
      if (source == nullptr) {
        ranges.push_back({nullptr, 0, slice.layers()});
      } else {
        ranges.push_back({&open(*source), source->first_layer, source->last_layer});
      }
    }
    return plan::stack_layers(path, ranges);
  }

 private:
  std::map<std::string, checkpoint::Catalog> by_path_;
};

}  // namespace

std::vector<checkpoint::Catalog> open_slices(const job::Job& job) {
  Opened opened;
  std::vector<checkpoint::Catalog> models;
  if (!job.base_name.empty() && !job.slices.front().base.name.empty()) {
    models.push_back(
        opened.stack(job, job.base_path, [](const job::Slice& slice) { return &slice.base; }));
  }
  for (std::size_t task = 0; task < job.tasks.size(); ++task) {
    models.push_back(opened.stack(job, job.tasks[task].path, [task](const job::Slice& slice) {
      return source_of(slice, task);
    }));
  }
  return models;
}

std::vector<std::uint64_t> layers_of_output(const job::Job& job) {
  std::vector<std::uint64_t> layers;
  for (const job::Slice& slice : job.slices) {
    const job::SliceSource& source = slice.base.name.empty() ? slice.sources[0] : slice.base;
    for (std::uint64_t layer = source.first_layer; layer < source.last_layer; ++layer)
      layers.push_back(layer);
  }
  return layers;
}

}  // namespace mpimerge::app
