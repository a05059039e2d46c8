#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/output/hdf5_layout.hpp"

namespace mpimerge::output {

// The files of a Hugging Face directory beside the tensors.
inline constexpr const char* kConfigFile = "config.json";
inline constexpr const char* kIndexFile = "model.safetensors.index.json";
inline constexpr const char* kCardFile = "README.md";
inline constexpr const char* kJobFile = "mpimerge_job.yaml";
inline constexpr const char* kSummaryFile = "mpimerge_summary.json";
inline constexpr const char* kChecksumsFile = "mpimerge_checksums.json";

inline constexpr const char* kAdapterConfigFile = "adapter_config.json";
// What the files of tensors are called, before their number and ending.
inline constexpr const char* kAdapterStem = "adapter_model";

/// Local. Whether a file of that name goes along with a model, whatever its weights: configuration,
/// tokenizer, code, licence.
bool is_companion(std::string_view name);

/// Local. Whether mpimerge writes a file of that name into a model's directory: a companion, a shard,
/// or one of those above.
bool is_model_file(std::string_view name);

/// Local. Names of the companions in a directory, sorted; links to files count.
/// Errors: Error{input}: the directory cannot be read.
std::vector<std::string> companions_in(const std::filesystem::path& directory);

/// Local. The type that the configuration should name for the tensors of `layout`: that of most
/// floating elements. Nothing if there are none, or those are of 8 bits, which are not what a model
/// computes in.
std::optional<base::Dtype> torch_dtype(const Hdf5Layout& layout);

/// Local. The text of a config.json with `torch_dtype` set, and `dtype`, its newer name, where it
/// stands; in the parts of a model of several (`text_config`, ...) both only where they stand.
/// @return nothing if the text is not a JSON object
std::optional<std::string> with_torch_dtype(std::string_view config, base::Dtype dtype);

/// Local. The text of a config.json for other layers: their number, by whichever name it stands
/// there, and what it says of each in `layer_types`; in `text_config` too.
/// @param layers  of the output, each by its number in the model that the configuration is of
/// @return nothing if the text is not a JSON object
std::optional<std::string> with_layers(std::string_view config,
                                       const std::vector<std::uint64_t>& layers);

/// Local. The text of a config.json of a model whose head is not its embeddings again:
/// `tie_word_embeddings` is false, in `text_config` too where it stands there.
/// @return nothing if the text is not a JSON object
std::optional<std::string> with_untied_head(std::string_view config);

}  // namespace mpimerge::output
