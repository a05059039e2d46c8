#include "job/schema.hpp"

#include <bit>
#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "mpimerge/base/text.hpp"

#include "job/parameters.hpp"
#include "job/section.hpp"

namespace mpimerge::job {
namespace {

/// Open MPI's MPI_MAX_INFO_KEY, the smallest in use, less the terminating zero.
constexpr std::size_t kMaxHintKeyLength = 35;
constexpr std::size_t kMaxHintValueLength = 255;
constexpr base::Bytes kMinAlignment{512};
constexpr base::Bytes kMaxAlignment{std::uint64_t{1} << 30};

std::string without_trailing_slashes(std::string text) {
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

std::string resolve(const std::string& spelled, const std::filesystem::path& directory) {
  // An absolute right-hand side replaces the left one.
  return without_trailing_slashes((directory / spelled).lexically_normal().string());
}

/// Local. One text per place in the file system, as far as that can be told from the path.
std::string identity(const std::string& path) {
  std::error_code no_working_directory;
  const auto absolute = std::filesystem::absolute(path, no_working_directory);
  return no_working_directory ? path
                              : without_trailing_slashes(absolute.lexically_normal().string());
}

// --- method and rules --------------------------------------------------------------------------

void read_method(Section& root, Job& job) {
  const auto value = root.require("merge_method", "a method; supported: ties");
  if (!value) return;
  // What other tools can do: a job for one of these is no slip of the pen.
  value->read_choice(job.method, {{"ties", Method::ties}},
                     {"average",
                      "linear",
                      "weighted_average",
                      "task_arithmetic",
                      "dare_ties",
                      "dare_linear",
                      "della",
                      "della_linear",
                      "breadcrumbs",
                      "breadcrumbs_ties",
                      "sce",
                      "model_stock",
                      "slerp",
                      "nuslerp",
                      "multislerp",
                      "karcher",
                      "passthrough",
                      "nearswap",
                      "arcee_fusion",
                      "ram",
                      "ramplus_tl",
                      "fisher",
                      "regmean"});
}

void read_rules(Section& root, Job& job) {
  if (const auto value = root.find("trim_scope")) {
    value->read_choice(job.trim_scope, {{"model", TrimScope::model}}, {"tensor"});
  }
  if (const auto value = root.find("elect")) {
    value->read_choice(job.elect, {{"mass", Elect::mass}},
                       {"count", "normfrac", "normmass", "none"});
  }
  if (const auto value = root.find("sign_tie")) {
    value->read_choice(job.sign_tie,
                       {{"majority", SignTie::majority}, {"positive", SignTie::positive}});
  }
  if (const auto value = root.find("aggregate")) {
    value->read_choice(job.aggregate,
                       {{"disjoint-mean", Aggregate::disjoint_mean},
                        {"disjoint-sum", Aggregate::disjoint_sum},
                        {"disjoint-max", Aggregate::disjoint_max}},
                       {"mean", "sum", "median", "magnitude"});
  }
  if (const auto value = root.find("compat")) {
    bool is_paper = true;
    value->read_choice(is_paper, {{"paper", true}}, {"mergekit"});
  }
  if (const auto value = root.find("nan")) {
    value->read_choice(job.nan, {{"error", NanPolicy::error}, {"allow", NanPolicy::allow}});
  }
}

// --- types -------------------------------------------------------------------------------------

std::string_view without_torch(std::string_view name) {
  constexpr std::string_view kPrefix = "torch.";
  if (name.starts_with(kPrefix)) name.remove_prefix(kPrefix.size());
  return name;
}

std::optional<base::Dtype> output_dtype(std::string_view name) {
  const std::string_view plain = without_torch(name);
  if (plain == "float32" || name == "F32") return base::Dtype::f32;
  if (plain == "float16" || name == "F16") return base::Dtype::f16;
  if (plain == "bfloat16" || name == "BF16") return base::Dtype::bf16;
  return std::nullopt;
}

void read_types(Section& root, Job& job) {
  if (const auto value = root.find_filled("dtype")) {
    const auto name = value->text("float32");
    if (name && output_dtype(*name) != base::Dtype::f32) {
      value->fault_expected("float32",
                            "arithmetic is float32; use out_dtype for the output's type");
    }
  }
  if (const auto value = root.find_filled("out_dtype")) {
    constexpr std::string_view kExpected = "float32, float16 or bfloat16";
    const auto name = value->text(kExpected);
    if (!name) return;
    job.out_dtype = output_dtype(*name);
    if (!job.out_dtype) value->fault_expected(kExpected, "leave it out to keep each tensor's type");
  }
}

// --- models ------------------------------------------------------------------------------------

/// Local. A path as the job spells it. With a line break in it, every message that names it would
/// look like two.
std::optional<std::string> read_path(const Value& value, std::string_view expected) {
  auto spelled = value.text(expected);
  if (!spelled || spelled->find_first_of("\r\n") == std::string::npos) return spelled;
  value.fault_expected("a path without line breaks");
  return std::nullopt;
}

/// Local. A model's path as the job spells it.
std::optional<std::string> read_model_path(const Value& value) {
  if (value.node().kind == Node::Kind::map) {
    value.fault_expected("a path",
                         "mergekit's map form of a model is not supported by this version");
    return std::nullopt;
  }
  auto spelled = read_path(value, "a path");
  if (spelled) *spelled = without_trailing_slashes(std::move(*spelled));
  return spelled;
}

/// The models of a job by their place in the file system: each may occur once, and no output may be
/// one.
class Inputs {
 public:
  /// Local. Notes a fault if the path is known already: `remedy` tells what to do for a second
  /// `name`.
  void insert(const Value& value, const std::string& path) {
    const auto [known, is_new] = key_by_path_.emplace(identity(path), value.key());
    if (is_new) return;
    const bool is_base = known->second == "base_model";
    value.fault(fmt::format("found {}, which is {} too; expected {}", describe(value.node()),
                            known->second,
                            is_base ? "a fine-tuned model; leave the base out of models"
                                    : "each model once; use its weight to let it count more"));
  }

  /// Local. The key of the model at this place, or null.
  [[nodiscard]] const std::string* find(const std::string& path) const {
    const auto known = key_by_path_.find(identity(path));
    return known == key_by_path_.end() ? nullptr : &known->second;
  }

 private:
  std::map<std::string, std::string> key_by_path_;
};

class JobReader {
 public:
  JobReader(const Node& root, const std::filesystem::path& directory, Faults& faults)
      : root_(root, "", faults), directory_(directory) {}

  Job read() {
    read_method(root_, job_);
    read_rules(root_, job_);
    read_base();
    read_models();
    read_types(root_, job_);
    read_outputs();
    read_output_hints();
    root_.refuse({"slices", "modules"},
                 "not supported by this version; list whole models under `models`");
    root_.refuse({"tokenizer", "tokenizer_source", "chat_template"},
                 "not supported by this version; leave it out, the output is weights only");
    root_.refuse({"name"}, "not supported by this version; leave it out, a job is one merge");
    root_.refuse({"density", "weight", "lambda"},
                 "does not stand here; write it under `parameters`");
    root_.finish();
    return std::move(job_);
  }

 private:
  void read_base() {
    const auto value = root_.require("base_model", "the path of the base model");
    const auto spelled = value ? read_model_path(*value) : std::nullopt;
    if (!spelled) return;
    job_.base_name = *spelled;
    job_.base_path = resolve(*spelled, directory_);
    inputs_.insert(*value, job_.base_path);
  }

  void read_models() {
    const Setting global = read_global_parameters(root_, job_);
    const auto value = root_.require("models", "a list of models, each `- model: PATH`");
    const auto models =
        value ? value->items("a list of models, each `- model: PATH`") : std::nullopt;
    if (!models) return;
    for (const Value& model : *models) read_model(model, global);
  }

  void read_model(const Value& value, const Setting& global) {
    auto model = value.section("a map with model and, if need be, parameters: `- model: PATH`");
    if (!model) return;
    Task task;
    task.line = value.node().place.line;
    const Setting setting = read_own_parameters(*model, global);
    task.density = setting.density;
    task.weight = setting.weight;
    const auto path = model->require("model", "the path of a fine-tuned model");
    model->refuse({"density", "weight"},
                  "does not stand here; write it under this model's `parameters`");
    model->finish();
    const auto spelled = path ? read_model_path(*path) : std::nullopt;
    if (!spelled) return;
    task.name = *spelled;
    task.path = resolve(*spelled, directory_);
    inputs_.insert(*path, task.path);
    job_.tasks.push_back(std::move(task));
  }

  void read_outputs() {
    const auto value = root_.find("output");
    if (!value) return;
    constexpr std::string_view kExpected = "a path, or a list of paths";
    if (value->node().kind != Node::Kind::list) return read_output(*value, kExpected);
    const auto outputs = value->items(kExpected);
    if (!outputs) return;
    for (const Value& output : *outputs) read_output(output, "a path");
  }

  void read_output(const Value& value, std::string_view expected) {
    auto spelled = read_path(value, expected);
    if (!spelled) return;
    const bool is_directory = spelled->ends_with('/');
    *spelled = without_trailing_slashes(std::move(*spelled));
    const std::filesystem::path name = std::filesystem::path(*spelled).filename();
    const bool is_hdf5 = spelled->ends_with(".h5") || spelled->ends_with(".hdf5");
    if (name == ".h5" || name == ".hdf5" || (is_directory && is_hdf5)) {
      return value.fault_expected(
          "a name that ends in .h5 or .hdf5 for an HDF5 file, any other for "
          "a directory");
    }
    const std::string path = resolve(*spelled, directory_);
    if (const std::string* input = inputs_.find(path)) {
      return value.fault(
          fmt::format("found {}, which is the input {} too; expected a name of its own",
                      describe(value.node()), *input));
    }
    const auto [known, is_new] = output_keys_.emplace(identity(path), value.key());
    if (!is_new) {
      return value.fault(
          fmt::format("found {}, which is {} too; expected each output once; leave one of them out",
                      describe(value.node()), known->second));
    }
    job_.outputs.push_back(path);
  }

  void read_output_hints() {
    const auto value = root_.find_filled("output_hints");
    auto hints = value ? value->section("a map with alignment and MPI-IO hints") : std::nullopt;
    if (!hints) return;
    if (const auto alignment = hints->find("alignment")) read_alignment(*alignment);
    for (const Value& hint : hints->rest()) read_hint(hint);
  }

  void read_alignment(const Value& value) {
    constexpr std::string_view kExpected = "a power of two from 512 B to 1 GiB, such as 1MiB";
    const auto text = value.text(kExpected);
    if (!text) return;
    try {
      const base::Bytes bytes = base::parse_bytes(*text);
      if (std::has_single_bit(bytes.value()) && bytes >= kMinAlignment && bytes <= kMaxAlignment) {
        job_.output_hints.alignment = bytes;
        return;
      }
    } catch (const std::invalid_argument&) {  // no size at all: the same message
    }
    value.fault_expected(kExpected);
  }

  void read_hint(const Value& value) {
    const std::string name = value.key().substr(value.key().find('.') + 1);
    if (name.empty() || name.size() > kMaxHintKeyLength ||
        name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != std::string::npos) {
      return value.fault(fmt::format(
          "not the name of an MPI-IO hint; expected at most {} of a-z, 0-9 and _, such as "
          "striping_factor",
          kMaxHintKeyLength));
    }
    const auto text = value.text("a text or a number");
    if (!text) return;
    if (text->size() > kMaxHintValueLength) {
      return value.fault(
          fmt::format("found a value of {} bytes; expected at most {}, as MPI allows", text->size(),
                      kMaxHintValueLength));
    }
    job_.output_hints.mpi_io.emplace(name, *text);
  }

  Section root_;
  std::filesystem::path directory_;
  Job job_;
  Inputs inputs_;
  std::map<std::string, std::string> output_keys_;  // by place in the file system
};

}  // namespace

Job read_job(const Node& root, const std::filesystem::path& directory, Faults& faults) {
  return JobReader(root, directory, faults).read();
}

}  // namespace mpimerge::job
