#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mpimerge/checkpoint/catalog.hpp"

namespace mpimerge::checkpoint {

/// What an adapter_config.json of PEFT says of a LoRA adapter.
struct LoraConfig {
  std::uint64_t rank = 0;
  double alpha = 0;
  bool use_rslora = false;      ///< the deltas are scaled by alpha / √rank, not alpha / rank
  bool fan_in_fan_out = false;  ///< weights lie transposed, [in, out], as those of GPT-2's Conv1D
  /// Of modules of that name, or whose name ends with it; the first that fits counts.
  std::vector<std::pair<std::string, std::uint64_t>> ranks;
  std::vector<std::pair<std::string, double>> alphas;
};

/// Local. Parses the text of an adapter_config.json of LoRA.
/// @param file  named in messages
/// Errors: Error{input}, one line: no JSON object, or deeper than 64 levels; no adapter of type LORA;
/// a variant that is no base + scaling · B · A (DoRA, biases, ...); a rank that is no whole number
/// from 1 on, an alpha that is no finite number; a pattern that is more than a name.
LoraConfig parse_lora_config(std::string_view text, const std::filesystem::path& file);

/// Local. Whether there is an adapter_config.json in the directory.
bool is_adapter(const std::filesystem::path& directory);

/// Local. The catalog of `base` with the adapter of PEFT in `directory`. Of LoRA `<module>.weight`
/// becomes base + scaling · B · A of its factors (Catalog::low_rank). Of (IA)³ it is multiplied by
/// the module's vector (Catalog::scaling), [out, 1] its rows and `<module>.bias` too, [1, in] its
/// columns. What the adapter holds beside these (modules_to_save) takes the place of the base's. Reads
/// headers only.
/// Errors: Error{input} as parse_lora_config and open_safetensors; an adapter of another kind, a
/// tensor that PEFT would not have named so, a factor without its other, a module that the base lacks,
/// shapes that do not fit together or the rank of the configuration.
Catalog with_adapter(Catalog base, const std::filesystem::path& directory);

/// Local. LoRA adapters as one, whose change of the model is the weighted sum of theirs, exactly: of
/// each module the A below each other, times weight and scaling, and the B side by side (PEFT's
/// `combination_type="cat"`). A module that some lack is that of the others. Reads headers only.
/// @param directories  at least one
/// @param weights      one for each
/// Errors: Error{input} as with_adapter; tensors beside the factors; adapters that do not fit
/// together.
Catalog concatenate(const std::vector<std::filesystem::path>& directories,
                    const std::vector<double>& weights);

/// Local. The adapter_config.json of that adapter: the first one's, with the summed ranks, all
/// modules, and a scaling of 1.
/// Errors: Error{input} as `concatenate`.
std::string concatenated_config(const std::vector<std::filesystem::path>& directories);

}  // namespace mpimerge::checkpoint
