#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/base/index.hpp"
#include "mpimerge/method/rules.hpp"
#include "mpimerge/method/setting.hpp"

namespace mpimerge::job {

/// What a NaN or infinity in an input does.
enum class NanPolicy : std::uint8_t { error, allow };

/// What is told of the task vectors and of what the merge did to them, tensor by tensor.
enum class Report : std::uint8_t {
  none,
  basic,  ///< what TIES counts anyhow: kept values, elected signs, conflicts
  full,   ///< also magnitudes, norms, agreement and pairs
};

/// What becomes of a tensor that a model lacks.
enum class Missing : std::uint8_t {
  error,  ///< the merge does not begin
  base,   ///< the model counts with the base's values
  skip,   ///< it is merged from the other models
};

/// A base that no file holds: it has the floating tensors of the first model, all of one value.
enum class ConstantBase : std::uint8_t { none, zeros, ones };

/// One task model of the merge, in job order.
struct Task {
  std::string name;     ///< as the job file spells it
  std::string path;     ///< resolved against the job file's directory
  std::string adapter;  ///< of PEFT, to be applied to the model at `path`; empty: none
  /// By name: this model's own. What is not here is in Job::parameters, or the method's fallback.
  std::map<std::string, method::Setting> parameters;
  /// Resolved path of the file that the method wants beside the model (Description::files), or empty.
  std::string side_file;
  int line = 0;  ///< in the job file, for messages; 0 if it comes from a `--set`

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& name& path& adapter& parameters& side_file& line;
  }
};

/// Layers of one model that a slice is made from.
struct SliceSource {
  std::string name;  ///< as the job file spells it; empty: the slice has no such source
  std::string path;
  std::uint64_t first_layer = 0;
  std::uint64_t last_layer = 0;                       ///< the first that is not taken
  std::map<std::string, method::Setting> parameters;  ///< of this source in this slice

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& name& path& first_layer& last_layer& parameters;
  }
};

/// Layers of the output in a row, merged from as many layers of each source.
struct Slice {
  SliceSource base;                  ///< without name: the merge has no base model
  std::vector<SliceSource> sources;  ///< the models, in order: the first of them is the first task
  std::map<std::string, method::Setting> parameters;  ///< of this slice: before those of the job

  /// Local. Layers of the output.
  [[nodiscard]] std::uint64_t layers() const {
    return sources.front().last_layer - sources.front().first_layer;
  }

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& base& sources& parameters;
  }
};

/// How the output files are laid out and what the MPI-IO library is told.
struct OutputHints {
  /// Of datasets and of the ranks' shards in the file; a power of two, 512 B to 1 GiB.
  base::Bytes alignment{std::uint64_t{1} << 20};

  /// Passed on in an MPI_Info as they are; the MPI library ignores what it does not know. Keys are
  /// 1 to 35 of a-z, 0-9 and _, values 1 to 255 bytes. Of use with ROMIO:
  ///
  ///     striping_factor, striping_unit  number and bytes of the stripes of a new file (Lustre)
  ///     cb_nodes, cb_buffer_size        how many ranks write for all; bytes of their buffers
  ///     romio_cb_write, romio_ds_write  collective buffering, sieving: enable, disable, automatic
  ///     romio_no_indep_rw               true: only the ranks that write open the file
  ///
  /// Sizes of buffers are 1 to 2^30, cb_nodes 1 to 2^31 - 1: ROMIO would end by a signal.
  std::map<std::string, std::string> mpi_io;

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& alignment& mpi_io;
  }
};

/// A job file that was found valid.
struct Job {
  std::string file;             ///< path of the job file
  std::string text;             ///< its YAML with every `--set` applied: what the output records
  std::string method = "ties";  ///< method::find knows it
  std::string base_name;        ///< empty: the merge has no base model
  std::string base_path;        ///< empty also where the base is a constant
  ConstantBase base_constant = ConstantBase::none;
  std::vector<Task> tasks;  ///< without the base
  /// Not empty: the output's layers from first to last. Then task t stands for source t of every
  /// slice that has so many; its path is that of the first.
  std::vector<Slice> slices;
  std::map<std::string, method::Setting> parameters;  ///< by name: of the whole merge
  method::Rules rules;
  /// It looks like one of mergekit's files, and says nowhere whose rules hold where those of the
  /// method differ.
  bool may_mean_mergekits_rules = false;
  std::string signs_name;  ///< Elect::given: the checkpoint whose signs are taken
  std::string signs_path;
  NanPolicy nan = NanPolicy::error;
  Report report = Report::basic;
  Missing missing = Missing::error;
  /// Filters of tensors' names: of those to merge some of `include`, if it has any, and none of
  /// `exclude`. All others are the base's, or the first model's where there is no base.
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  std::optional<base::Dtype> out_dtype;  ///< nothing: each tensor keeps the base model's type
  std::vector<std::string> outputs;  ///< resolved against the job file's directory; may be empty
  bool writes_nothing = false;       ///< `output: none`: only the account of the merge is wanted
  OutputHints output_hints;

  /// Local. Whether every slice has a source for every task; so it is without slices.
  [[nodiscard]] bool slices_are_even() const {
    return std::all_of(slices.begin(), slices.end(),
                       [this](const Slice& slice) { return slice.sources.size() == tasks.size(); });
  }

  template <class Archive>
  void serialize(Archive& archive, unsigned /*version*/) {
    archive& report;
    archive& file& text& method& base_name& base_path& base_constant& tasks& slices& parameters&
        rules& may_mean_mergekits_rules& signs_name& signs_path& nan& missing& include& exclude;
    // Boost 1.74 does not know std::optional.
    bool has_out_dtype = out_dtype.has_value();
    base::Dtype dtype = out_dtype.value_or(base::Dtype::f32);
    archive& has_out_dtype& dtype;
    if (has_out_dtype) out_dtype = dtype;
    archive& outputs& writes_nothing& output_hints;
  }
};

}  // namespace mpimerge::job
