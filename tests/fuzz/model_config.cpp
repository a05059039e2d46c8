// The config.json of a base model, whose types are changed to those of the output.
#include <nlohmann/json.hpp>

#include "mpimerge/output/model_files.hpp"

#include "fuzz/target.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mpimerge;
  const auto changed = output::with_torch_dtype(fuzz::text_of(data, size), base::Dtype::bf16);
  if (!changed) return 0;
  const auto json = nlohmann::json::parse(*changed, nullptr, false);
  fuzz::require(json.is_object() && json.value("torch_dtype", "") == "bfloat16",
                "what was changed is a configuration of the output's type");
  fuzz::require(output::with_torch_dtype(*changed, base::Dtype::bf16) == changed,
                "there is nothing more to change");
  const auto stacked = output::with_layers(*changed, {1, 0, 7});
  fuzz::require(stacked && output::with_torch_dtype(*stacked, base::Dtype::bf16) == stacked,
                "other layers leave the type as it is");
  return 0;
}
