#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mpimerge::report {

/// What a page shows: the summary of a merge as it stands in an output (README, "Summary"), taken
/// apart and checked. Numbers that are undefined are NaN; lists that were not counted are empty.

struct SignCounts {
  std::uint64_t positive = 0;
  std::uint64_t negative = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t untouched = 0;
};

/// Of one task vector, over some elements.
struct VectorNumbers {
  std::uint64_t nonzero = 0;
  double mean_magnitude = 0;
  double norm = 0;
  double largest = 0;
  std::optional<double> norm_kept;  ///< share of the squared norm that the trim keeps
  std::vector<double> quantiles;    ///< [Report::quantiles] of the magnitudes
  std::vector<double> norm_share;   ///< [Report::densities] of the squared norm in the largest
};

struct Magnitude {
  double mean = 0;
  double norm = 0;
};

/// What was counted over some elements: of a tensor, of a kind of tensors, or of all.
struct Row {
  std::uint64_t elements = 0;
  std::vector<std::uint64_t> kept;  ///< [tasks]
  std::optional<SignCounts> signs;
  std::optional<std::uint64_t> conflicts_before_trim;
  std::optional<std::uint64_t> conflicts_after_trim;
  std::vector<VectorNumbers> task_vectors;  ///< [tasks]
  std::vector<std::uint64_t>
      by_tasks_before_trim;                        ///< [tasks - 1] conflicts of the first 2, 3, ...
  std::vector<std::uint64_t> by_tasks_after_trim;  ///< [tasks - 1]
  std::vector<std::uint64_t> agreement_before_trim;  ///< [Report::agreement] elements
  std::vector<std::uint64_t> agreement_after_trim;   ///< [Report::agreement]
  std::optional<Magnitude> merged;                   ///< of merged - base
  std::optional<Magnitude> average;                  ///< of the mean of all task vectors
  std::vector<double> merged_by_agreement;           ///< [Report::agreement] mean magnitudes
  std::vector<double> average_by_agreement;          ///< [Report::agreement]
  std::vector<double> cosine;                        ///< [pairs]: (0,1), (0,2), ..., (1,2), ...
  std::vector<double> sign_agreement;                ///< [pairs]
};

struct Tensor {
  std::string name;
  std::optional<std::uint64_t> layer;
  std::string kind;
  Row row;
};

struct Report {
  std::string level;  ///< basic, full, compare
  std::vector<std::string> tasks;
  bool trimmed = false;
  std::vector<double> quantiles;
  std::vector<double> densities;
  std::vector<double> agreement;   ///< lower ends of classes; the last is of exactly 1
  std::uint64_t paired_tasks = 0;  ///< pairs are of the first so many tasks
  std::uint64_t tensors = 0;
  Row all;
  std::vector<Tensor> each;  ///< tensor by tensor
};

/// A task in the table of what was merged.
struct TaskSetting {
  std::string name;
  std::vector<std::pair<std::string, std::string>> parameters;  ///< name and value, for people
  std::optional<double> threshold;
};

struct Phase {
  std::string name;
  double seconds = 0;
  std::uint64_t bytes = 0;
};

struct Document {
  std::string
      title;  ///< of the page: the base of a comparison; of a merge set by who knows its name
  std::string program;  ///< that merged: version
  std::string method;
  std::string job;  ///< YAML
  std::optional<std::uint64_t> ranks;
  std::optional<std::uint64_t> parameters;
  std::optional<std::uint64_t> tensors;
  std::string started;  ///< of the last run, UTC
  std::vector<TaskSetting> tasks;
  std::vector<std::string> inputs;  ///< files
  std::vector<Phase> phases;
  Report report;
};

/// Local. Reads a summary, which may come from anybody: every number is checked, no count is more
/// than the elements that it was taken of, and all lists are as long as they should be.
/// @param summary  JSON
/// @param name  of the file that it stands in, for messages
/// Errors: Error{input}: no JSON object, not of mpimerge, without statistics (with the remedy), or
/// what is named in the message is not as it should be.
Document read_document(std::string_view summary, const std::string& name);

}  // namespace mpimerge::report
