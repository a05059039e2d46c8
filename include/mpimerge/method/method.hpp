#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mpimerge/method/rules.hpp"
#include "mpimerge/method/sums.hpp"
#include "mpimerge/method/tile.hpp"

namespace mpimerge::method {

/// A number that a job may give to a method.
struct Parameter {
  enum class Of : std::uint8_t {
    model,  ///< of each model; may also stand for all of them in `parameters`
    merge,  ///< of the whole merge
  };
  std::string_view name;
  Of of = Of::merge;
  std::optional<double> fallback = std::nullopt;  ///< nothing: the job has to give it
  double least = -std::numeric_limits<float>::max();
  double most = std::numeric_limits<float>::max();
  bool above_least = false;  ///< the least itself is not allowed
  bool is_flag = false;      ///< true or false
  std::optional<double> mergekit_fallback =
      std::nullopt;  ///< where `compat: mergekit` has another one
};

/// What a method is given.
enum class Grain : std::uint8_t {
  element,  ///< any stretch of a tensor
  row,      ///< whole rows
};

/// One look at all values before the merge, for what a method has to know of each tensor, or of the
/// whole model.
struct Pass {
  enum class Kind : std::uint8_t {
    sums,        ///< of numbers over each tensor
    model_sums,  ///< of numbers over all tensors
    ranks,       ///< order statistics of magnitudes in each tensor
    model_trim,  ///< thresholds of the task vectors over the whole model: the trim of TIES
  };
  Kind kind = Kind::sums;
};

/// A merge method: what it has to know, and how one element comes from those of the models. Reading,
/// sharding, collectives, journal and writing are the engine's. All calls are local; the engine
/// gives every rank its own elements.
///
/// For each pass the engine calls `add` (or `magnitudes`) with all tiles of all tensors, in any
/// division of a tensor into tiles, then `learn` once for each tensor. Nothing may depend on how the
/// elements were divided. Sums are exact or rounded in a way that does not depend on it.
class Method {
 public:
  Method() = default;
  Method(const Method&) = delete;
  Method& operator=(const Method&) = delete;
  virtual ~Method() = default;

  /// What tiles consist of: rows where some number needs a whole row at once.
  [[nodiscard]] virtual Grain grain() const { return Grain::element; }
  /// The looks at the values, in order.
  [[nodiscard]] virtual std::vector<Pass> passes() const { return {}; }

  /// How many numbers are known of a tensor after all passes. They go to the journal, so that a
  /// merge that was interrupted needs no passes again.
  [[nodiscard]] virtual std::size_t facts(const Tensor& /*tensor*/) const { return 0; }
  /// The same of the whole model.
  [[nodiscard]] virtual std::size_t model_facts() const { return 0; }

  /// Kind sums, model_sums: how many sums this tensor (for model_sums: any tensor) has in a pass; 0:
  /// the tensor is not looked at.
  [[nodiscard]] virtual std::size_t sums(std::size_t /*pass*/, const Tensor& /*tensor*/) const {
    return 0;
  }
  /// Kind sums, model_sums: adds a tile's own elements to the sums.
  virtual void add(std::size_t /*pass*/, const Tensor& /*tensor*/, const Tile& /*tile*/,
                   Sums& /*sums*/) {}

  /// A value of a tensor that is looked for by its place among the magnitudes.
  struct Rank {
    /// What is ranked: the task vector of this model; kOwn: what `magnitudes` gives.
    std::size_t model = 0;
    std::uint64_t position = 0;  ///< 1-based from the smallest; 0: none is looked for
    static constexpr std::size_t kOwn = std::numeric_limits<std::size_t>::max();
  };
  /// Kind ranks: what is looked for in this tensor.
  [[nodiscard]] virtual std::vector<Rank> ranks(std::size_t /*pass*/,
                                                const Tensor& /*tensor*/) const {
    return {};
  }
  /// Kind ranks, Rank::kOwn: the values to rank, by magnitude.
  /// @param values  [tile.elements]
  virtual void magnitudes(std::size_t /*pass*/, const Tensor& /*tensor*/, const Tile& /*tile*/,
                          float* /*values*/) {}

  /// Takes what a pass found: sums in order, or the magnitudes found, one for each Rank.
  /// @param facts  [facts(tensor)], or [model_facts()] for kinds model_sums and model_trim
  virtual void learn(std::size_t /*pass*/, const Tensor& /*tensor*/,
                     std::span<const double> /*found*/, std::span<double> /*facts*/) {}

  /// Merges a tile.
  /// @param merged  [tile.elements]
  virtual void merge(const Tensor& tensor, const Tile& tile, float* merged) = 0;
};

/// Reads whole tensors of the files beside the models, for methods that need more than elements.
class Files {
 public:
  Files() = default;
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;
  virtual ~Files() = default;
  /// Local. The shape of a tensor in the file of a model; nothing: it has none of that name.
  [[nodiscard]] virtual std::optional<std::vector<std::uint64_t>> shape(
      std::size_t model, std::string_view tensor) = 0;
  /// Local. Its values, row-major, from element `first` on.
  /// Errors: Error{input}: unreadable; NaN or infinity unless allowed.
  virtual void read(std::size_t model, std::string_view tensor, std::uint64_t first,
                    std::span<float> values) = 0;
};

/// What a method is made from.
struct Setup {
  Rules rules;
  std::size_t models = 0;
  Files* files = nullptr;  ///< where Description::files is `whole`; outlives the method
  /// Whether a flag of the merge has this value for some tensor: what only a flag asks for, whole
  /// rows or a look at all values, a method without it does not ask for.
  std::function<bool(std::string_view flag, bool value)> may_be = [](std::string_view, bool) {
    return true;
  };
};

/// What the base is to a method.
enum class Base : std::uint8_t {
  needed,    ///< task vectors are differences from it
  optional,  ///< with one, task vectors are merged, without, the models themselves
  unused,    ///< only the models count
};

/// A method as a job names it.
struct Description {
  std::string_view name;
  std::string_view about;  ///< what it does and where it was published: half a line
  Base base = Base::needed;
  std::size_t fewest_models = 1;
  std::size_t most_models = std::numeric_limits<std::size_t>::max();
  std::vector<Parameter> parameters;
  /// Beside each model a file `<name>:` in the job, such as `fisher`. Empty: none.
  std::string_view files;
  bool files_are_whole = false;  ///< read by method::Files, not element by element
  /// Its models are adapters of LoRA, which become one (checkpoint::concatenate).
  bool concatenates = false;
  /// Whether it divides by the sum of a tensor's `weight`s, which then may not be 0.
  /// @param of_merge  the tensor's numbers, by parameter
  std::function<bool(const Rules&, std::span<const double> of_merge)> divides_by_weights;
  std::function<std::unique_ptr<Method>(const Setup&)> make;
};

/// Local. All methods by name, in the order of the README's table.
const std::vector<Description>& methods();

/// Local. The method of that name; null if there is none.
const Description* find(std::string_view name);

/// Local. Adds a method to those that jobs may name; before the first job is read.
void add(Description description);

}  // namespace mpimerge::method
