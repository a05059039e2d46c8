#include "job/schema.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
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
#include "mpimerge/job/numbers.hpp"
#include "mpimerge/method/method.hpp"

#include "job/checkpoints.hpp"
#include "job/parameters.hpp"
#include "job/paths.hpp"
#include "job/rules.hpp"
#include "job/section.hpp"
#include "job/slices.hpp"

namespace mpimerge::job {
namespace {

/// Open MPI's MPI_MAX_INFO_KEY, the smallest in use, less the terminating zero.
constexpr std::size_t kMaxHintKeyLength = 35;
constexpr std::size_t kMaxHintValueLength = 255;
constexpr base::Bytes kMinAlignment{512};
constexpr base::Bytes kMaxAlignment{std::uint64_t{1} << 30};

/// Hints that ROMIO allocates by or divides by, as the int that `atoi` makes of them: 0 and what is
/// beyond an int end it by a signal, 16MiB means 16.
struct CountHint {
  std::string_view name;
  std::uint64_t most;
};
constexpr std::array<CountHint, 4> kCountHints{{{"cb_buffer_size", 1U << 30U},
                                                {"cb_nodes", INT32_MAX},
                                                {"ind_rd_buffer_size", 1U << 30U},
                                                {"ind_wr_buffer_size", 1U << 30U}}};

bool is_count(std::string_view text, std::uint64_t most) {
  std::uint64_t number = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  return status == std::errc{} && end == text.data() + text.size() && number >= 1 && number <= most;
}

// --- method -------------------------------------------------------------------------------------

const method::Description* read_method(Section& root) {
  std::vector<std::string_view> names;
  for (const method::Description& method : method::methods()) names.push_back(method.name);
  const auto value =
      root.require("merge_method", fmt::format("a method; supported: {}", fmt::join(names, ", ")));
  const auto chosen = value ? value->choice(names) : std::nullopt;
  return chosen ? &method::methods()[*chosen] : nullptr;
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

std::optional<base::Dtype> read_type(const Value& value, std::string_view remedy) {
  constexpr std::string_view kExpected = "float32, float16 or bfloat16";
  const auto name = value.text(kExpected);
  if (!name) return std::nullopt;
  const auto type = output_dtype(*name);
  if (!type) value.fault_expected(kExpected, remedy);
  return type;
}

/// In mergekit's files `dtype` is the type of the arithmetic, and of the output where out_dtype does
/// not say another. The arithmetic is float32 here, whatever it says.
void read_types(Section& root, Job& job) {
  if (const auto value = root.find_filled("dtype")) {
    const auto type = read_type(*value, "arithmetic is float32; use out_dtype for the output");
    const bool is_for_output =
        type != base::Dtype::f32 || job.rules.compat == method::Compat::mergekit;
    if (type && is_for_output) job.out_dtype = type;
  }
  if (const auto value = root.find_filled("out_dtype"))
    job.out_dtype = read_type(*value, "leave it out to keep each tensor's type");
}

/// Local. Whether the job has keys of mergekit's files, and none that says whose rules hold where
/// those of its method differ.
bool may_mean_mergekits_rules(Section& root, const Job& job, const method::Description& method) {
  constexpr std::array<std::string_view, 5> kRules{"compat", "trim_scope", "elect", "sign_tie",
                                                   "aggregate"};
  if (!concerns("sign_tie", method) && method.name != "breadcrumbs") return false;
  for (const std::string_view key : kRules) {
    if (root.find(key)) return false;
  }
  return root.find_filled("dtype") || root.find_filled("tokenizer_source") ||
         job.parameters.contains("normalize");
}

// --- models ------------------------------------------------------------------------------------

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
                            is_base ? "a fine-tuned model; leave the base out of models (without "
                                      "parameters and spelled alike it is left out by itself)"
                                    : "each model once; use its weight to let it count more"));
  }

  /// Local. Notes an input that may be a model too; nothing for an empty path.
  void claim(std::string_view key, const std::string& path) {
    if (!path.empty()) key_by_path_.emplace(identity(path), key);
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
    method_ = read_method(root_);
    if (method_ != nullptr) job_.method = method_->name;
    read_choices();
    read_base();
    read_models();
    read_types(root_, job_);
    read_report();
    read_tensors();
    for (const Task& task : job_.tasks) {
      if (task.adapter.empty()) continue;
      inputs_.claim("models", task.path);
      inputs_.claim("models", task.adapter);
    }
    inputs_.claim("elect", job_.signs_path);
    inputs_.claim("base_model", job_.base_path);
    read_outputs();
    read_output_hints();
    root_.refuse({"sweep"}, "not one merge but several; expected a job without sweep");
    root_.refuse({"modules"}, "not supported by this version; list whole models under `models`");
    root_.refuse({"experts", "shared_experts", "gate_mode"},
                 "not supported by this version, which makes no mixture of experts");
    root_.refuse({"tokenizer", "chat_template"},
                 "not supported by this version; leave it out, the base's files are copied");
    read_tokenizer_source();
    root_.refuse({"name"}, "not supported by this version; leave it out, a job is one merge");
    refuse_parameters(root_, "does not stand here; write it under `parameters`");
    if (method_ != nullptr)
      job_.may_mean_mergekits_rules = may_mean_mergekits_rules(root_, job_, *method_);
    root_.finish();
    return std::move(job_);
  }

 private:
  void read_choices() {
    if (const auto value = root_.find("nan"))
      value->read_choice(job_.nan, {{"error", NanPolicy::error}, {"allow", NanPolicy::allow}});
    // What the other keys may say depends on the method.
    if (method_ == nullptr) {
      for (const std::string_view key : kChoices) root_.pass_over(key);
      return;
    }
    const Choices choices = read_rules(root_, *method_, directory_);
    job_.rules = choices.rules;
    job_.signs_name = choices.signs.name;
    job_.signs_path = choices.signs.path;
  }

  void read_base() {
    const bool is_needed =
        method_ != nullptr && method_->base == method::Base::needed && !has_slices();
    const auto value = is_needed ? root_.require("base_model", "the path of the base model")
                                 : root_.find_filled("base_model");
    if (value && value->node().find("constant") != nullptr) return read_constant_base(*value);
    base_ = value ? read_reference(*value, directory_) : std::nullopt;
    if (!base_) return;
    job_.base_name = base_->name;
    job_.base_path = base_->path;
    if (!base_is_model() && !has_slices()) inputs_.insert(*value, job_.base_path);
  }

  /// `{constant: 1}`, or 0.
  void read_constant_base(const Value& value) {
    auto section = value.section("a map with constant");
    const auto constant = section->find("constant");
    section->finish();
    const auto number = constant->number();
    if (!number) return;
    if (*number != 0 && *number != 1) return constant->fault_expected("0 or 1");
    if (has_slices()) return value.fault("not supported with slices; expected a model's path");
    if (base_is_model()) {
      return value.fault(
          fmt::format("{} has no use for a base of one value; leave it out", method_->name));
    }
    job_.base_constant = *number == 0 ? ConstantBase::zeros : ConstantBase::ones;
    job_.base_name = *number == 0 ? "constant 0" : "constant 1";
  }

  /// Whether the job lists slices, and not models.
  [[nodiscard]] bool has_slices() {
    return root_.find_filled("slices") && !root_.find_filled("models");
  }

  /// Where the base is nothing of its own to the method, it may be one of the models.
  [[nodiscard]] bool base_is_model() const {
    return method_ != nullptr && method_->base == method::Base::unused;
  }

  void read_models() {
    if (method_ == nullptr) {
      root_.pass_over("parameters");
    } else {
      job_.parameters = read_merge_parameters(root_, *method_, job_.rules);
    }
    if (const auto slices = root_.find_filled("slices")) {
      if (has_slices()) return read_layers(*slices);
      slices->fault(
          "slices and models exclude each other; expected one of them: whole models under "
          "`models`, some of their layers under `slices`");
    }
    if (method_ != nullptr)
      require_merge_parameters(root_, *method_, job_.rules, {&job_.parameters});
    if (const auto checkpoints = root_.find("checkpoints")) {
      if (!root_.find_filled("models")) return read_run(*checkpoints);
      checkpoints->fault("checkpoints and models exclude each other; expected one of them");
    }
    const auto value = root_.require("models", "a list of models, each `- model: PATH`");
    const auto models =
        value ? value->items("a list of models, each `- model: PATH`") : std::nullopt;
    if (!models) return;
    std::size_t valid = 0;
    for (const Value& model : *models)
      if (read_model(model)) ++valid;
    if (method_ != nullptr && valid == models->size()) check_number(*value);
  }

  void read_run(const Value& value) {
    if (method_ == nullptr) return;
    if (!concerns("checkpoints", *method_)) {
      return value.fault(fmt::format(
          "{} has no use for checkpoints; list its models under `models`", method_->name));
    }
    job_.tasks = read_checkpoints(value, directory_);
    for (const Task& task : job_.tasks) inputs_.insert(value, task.path);
  }

  void read_layers(const Value& value) {
    if (method_ == nullptr) return;
    if (!method_->files.empty() || job_.rules.elect == method::Elect::given) {
      return value.fault(fmt::format(
          "not supported where {} goes along with a model; list whole models under `models`",
          method_->files.empty() ? "a checkpoint of signs" : "a file"));
    }
    job_.slices = read_slices(value, {*method_, job_.rules, job_.parameters, base_, directory_});
    job_.tasks = tasks_of(job_.slices);
    take_base_of_slices(value);
    for (const Slice& slice : job_.slices) {
      inputs_.claim("slices", slice.base.path);
      for (const SliceSource& source : slice.sources) inputs_.claim("slices", source.path);
    }
    if (!trims_model()) return;
    if (!job_.slices_are_even()) {
      return value.fault(
          "found slices of unlike numbers of sources; expected as many in each, because the trim "
          "is "
          "over whole models; trim_scope: tensor trims each tensor by itself");
    }
    for (std::size_t task = 0; task < job_.tasks.size(); ++task) {
      if (constant(job_, "density", task)) continue;
      value.fault(
          "found slices of different density; expected one, because the trim is over the whole "
          "model; trim_scope: tensor trims each tensor by itself");
      break;
    }
  }

  [[nodiscard]] bool trims_model() const {
    return method_ != nullptr && concerns("trim_scope", *method_) &&
           job_.rules.trim_scope == method::TrimScope::model;
  }

  /// All slices have a base or none has. Where it is nothing to the method, the job has none.
  void take_base_of_slices(const Value& value) {
    if (job_.slices.empty()) return;
    const SliceSource& first = job_.slices.front().base;
    for (const Slice& slice : job_.slices) {
      if (slice.base.name.empty() == first.name.empty()) continue;
      return value.fault(
          "found slices with a base and others without; expected base_model at the top of the job");
    }
    if (!first.name.empty() && !job_.base_name.empty()) return;
    job_.base_name = first.name;
    job_.base_path = first.path;
  }

  void check_number(const Value& models) {
    const std::size_t number = job_.tasks.size();
    const std::size_t fewest = method_->fewest_models;
    const std::size_t most = method_->most_models;
    if (number >= fewest && number <= most) return;
    const std::string expected = fewest == most    ? fmt::format("{}", fewest)
                                 : number < fewest ? fmt::format("at least {}", fewest)
                                                   : fmt::format("at most {}", most);
    models.fault(fmt::format("found {} model{}{}; expected {} for {}", number,
                             number == 1 ? "" : "s",
                             job_.base_name.empty() || base_is_model() ? "" : " besides the base",
                             expected, method_->name));
  }

  /// Local. Whether it is a model without faults.
  bool read_model(const Value& value) {
    auto model = value.section("a map with model and, if need be, parameters: `- model: PATH`");
    if (!model) return false;
    const auto path = model->require("model", "the path of a fine-tuned model");
    auto reference = path ? read_reference(*path, directory_, Adapters::taken) : std::nullopt;
    // An adapter by itself is one for the base, unless that is one too.
    if (reference && reference->adapter.empty() && base_ && base_->path != reference->path &&
        is_adapter(reference->path) && !is_adapter(base_->path))
      reference->adapter = std::exchange(reference->path, base_->path);
    const bool is_left_out = reference && is_plain_base(reference->name, *model);
    Task task;
    task.line = value.node().place.line;
    if (is_left_out || method_ == nullptr) {
      model->pass_over("parameters");
    } else {
      task.parameters = read_model_parameters(*model, *method_, job_.rules, {&job_.parameters});
      if (!method_->files.empty()) task.side_file = read_side_file(*model);
    }
    refuse_parameters(*model, "does not stand here; write it under this model's `parameters`");
    model->finish();
    if (!reference) return false;
    if (is_left_out) return true;
    task.name = reference->name;
    task.path = reference->path;
    task.adapter = reference->adapter;
    inputs_.insert(*path, task.adapter.empty() ? task.path : task.path + "+" + task.adapter);
    job_.tasks.push_back(std::move(task));
    return true;
  }

  /// Local. Whether it is the base, which mergekit's files list among the models, without
  /// parameters.
  bool is_plain_base(const std::string& spelled, Section& model) const {
    return base_ && spelled == base_->name && !base_is_model() && !model.find_filled("parameters");
  }

  std::string read_side_file(Section& model) {
    const auto value = model.require(
        method_->files, fmt::format("the path of this model's {} file", method_->files));
    const auto spelled = value ? read_path(*value, "a path") : std::nullopt;
    return spelled ? resolve(*spelled, directory_) : std::string();
  }

  void refuse_parameters(Section& section, std::string_view why) const {
    section.refuse({"density", "weight", "lambda"}, why);
    if (method_ == nullptr) return;
    for (const method::Parameter& parameter : method_->parameters)
      section.refuse({parameter.name}, why);
  }

  /// Only what happens anyhow: the base's tokenizer goes along with the output.
  void read_tokenizer_source() {
    const auto value = root_.find_filled("tokenizer_source");
    if (!value || value->node().text == "base") return;
    value->fault_expected("base",
                          "others are not supported by this version, which merges no vocabularies");
  }

  void read_report() {
    const auto value = root_.find("report");
    if (!value) return;
    value->read_choice(job_.report,
                       {{"none", Report::none}, {"basic", Report::basic}, {"full", Report::full}});
    const bool needs_base = method_ != nullptr && method_->base == method::Base::needed;
    if (job_.report == Report::full && job_.base_name.empty() && !needs_base)
      value->fault(
          "found `full` in a job without base_model; task vectors are differences from it");
  }

  void read_tensors() {
    if (const auto value = root_.find("include")) read_filters(*value, job_.include);
    if (const auto value = root_.find("exclude")) read_filters(*value, job_.exclude);
    const auto value = root_.find("missing");
    if (!value) return;
    value->read_choice(
        job_.missing,
        {{"error", Missing::error}, {"base", Missing::base}, {"skip", Missing::skip}});
    if (job_.missing == Missing::base && job_.base_name.empty() &&
        (method_ == nullptr || method_->base != method::Base::needed))
      value->fault("found `base` in a job without base_model; expected error or skip");
    if (job_.missing == Missing::skip && trims_model()) {
      value->fault(
          "found `skip`; expected error or base, because the trim is over whole models; "
          "trim_scope: tensor trims each tensor by itself");
    }
  }

  static void read_filters(const Value& value, std::vector<std::string>& filters) {
    constexpr std::string_view kExpected =
        "a part of tensors' names, a pattern with *, or a list of them";
    const auto read = [&](const Value& item) {
      if (auto filter = item.text(kExpected)) filters.push_back(std::move(*filter));
    };
    if (value.node().kind != Node::Kind::list) return read(value);
    const auto items = value.items(kExpected);
    if (!items) return;
    for (const Value& item : *items) read(item);
  }

  void read_outputs() {
    const auto value = root_.find("output");
    if (!value) return;
    constexpr std::string_view kExpected = "a path, a list of paths, or none";
    if (value->node().kind != Node::Kind::list) {
      job_.writes_nothing = value->node().text == "none";
      if (!job_.writes_nothing) read_output(*value, kExpected);
      return;
    }
    const auto outputs = value->items(kExpected);
    if (!outputs) return;
    for (const Value& output : *outputs) {
      if (output.node().text == "none")
        output.fault_expected("a path", "`output: none` stands alone, and ./none is a file");
      else
        read_output(output, "a path");
    }
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
    const auto* const count = std::ranges::find(kCountHints, name, &CountHint::name);
    if (count != kCountHints.end() && !is_count(*text, count->most))
      return value.fault_expected(fmt::format("a whole number from 1 to {}", count->most));
    job_.output_hints.mpi_io.emplace(name, *text);
  }

  Section root_;
  std::filesystem::path directory_;
  const method::Description* method_ = nullptr;  // null: the job names none
  std::optional<Reference> base_;
  Job job_;
  Inputs inputs_;
  std::map<std::string, std::string> output_keys_;  // by place in the file system
};

}  // namespace

Job read_job(const Node& root, const std::filesystem::path& directory, Faults& faults) {
  return JobReader(root, directory, faults).read();
}

}  // namespace mpimerge::job
