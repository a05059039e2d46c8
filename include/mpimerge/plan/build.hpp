#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/base/index.hpp"
#include "mpimerge/checkpoint/catalog.hpp"
#include "mpimerge/plan/plan.hpp"

namespace mpimerge::plan {

/// What becomes of a tensor that a model lacks.
enum class Missing : std::uint8_t {
  error,  ///< nothing: every model must have it
  base,   ///< the model counts with the base's values
  skip,   ///< it is merged from the other models
};

/// What a plan is made from, besides the headers of the checkpoints.
struct Request {
  std::uint64_t ranks = 1;
  std::optional<base::Dtype> out_dtype;           ///< nothing: each tensor keeps the base's type
  base::Bytes alignment{std::uint64_t{1} << 20};  ///< of shards in the output file; a power of two
  base::Bytes chunk{std::uint64_t{8} << 20};      ///< of output per rank and round
  base::Bytes chunk_memory{std::uint64_t{1} << 28};  ///< bounds what one chunk of all sources takes
  bool has_base = true;                              ///< the first model is no model to merge
  Missing missing = Missing::error;
  /// Of tensors to merge: those whose name fits some filter of `include`, if it has any, and none of
  /// `exclude`. All others are copied from the first model, in its type; the other models may have
  /// them or not. A filter with one of `*?[` is a pattern for the whole name, any other a part of it.
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  /// Rows of embeddings may differ: those that all models have are merged, what the base has beyond
  /// is copied, what others have beyond is left out.
  bool common_rows = false;
  bool read_all = false;  ///< every tensor is read from every source and none is copied: for `diff`
};

/// Local. Checks that the models fit together and lays out the parameter space.
///
/// @param base   order of its tensors is the order of the output
/// @param tasks  in job order; each has exactly the base's tensors, but for those that the request
///               lets it lack, with the same shapes, but for the rows of embeddings where the request
///               lets them differ; floating types may differ (the upcast to float32 is exact), all
///               others must be the same
/// Errors: Error{input} that names model and tensor: missing, unexpected, other shape, other kind
/// of type, nothing floating in the base, more than an exbibyte in all models together; or that
/// names a filter which fits no tensor.
/// Cost: O(tensors × models); memory for one extent (16 bytes) per tensor and model.
Plan build_plan(const Request& request, const checkpoint::Catalog& base,
                const std::vector<checkpoint::Catalog>& tasks);

/// Local. The tensors of a file beside a model, to be read whole.
SideFile side_file(const checkpoint::Catalog& catalog);

/// Local. n_t of the trim: ⌊density · parameters⌋ with the product in double, as the published
/// code's `int(d*K)` computes it (0.29 of 100 is 28). At most `parameters`.
/// Source: TIES-Merging, Yadav et al. 2023; reference code, topk.
std::uint64_t trim_rank(base::Elements parameters, double density);

/// Local. Elements of a unit of a group with so many: no shard, chunk or block begins within one, at
/// any number of ranks, so that what is added up within units is the same everywhere. A power of
/// two from 16 to 1024.
std::uint64_t unit_elements(std::uint64_t elements);

}  // namespace mpimerge::plan
