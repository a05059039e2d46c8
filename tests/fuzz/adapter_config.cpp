// An adapter_config.json.
#include <cmath>
#include <limits>

#include "mpimerge/checkpoint/adapter.hpp"

#include "fuzz/target.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mpimerge;
  fuzz::may_refuse({base::ErrorKind::input}, 1, [&] {
    const auto config =
        checkpoint::parse_lora_config(fuzz::text_of(data, size), "adapter_config.json");
    const auto is_rank = [](std::uint64_t rank) { return rank >= 1 && rank <= 1u << 20; };
    const auto is_alpha = [](double alpha) {
      return std::abs(alpha) <= static_cast<double>(std::numeric_limits<float>::max());
    };
    fuzz::require(is_rank(config.rank), "the rank divides, and no product of it overflows");
    fuzz::require(is_alpha(config.alpha), "alpha is a number of float32's range");
    for (const auto& [module, rank] : config.ranks) {
      fuzz::require(is_rank(rank), "so is every module's rank");
      fuzz::require(module.find_first_of("*$[(") == std::string::npos,
                    "a module is a name, not a regular expression");
    }
    for (const auto& [module, alpha] : config.alphas)
      fuzz::require(is_alpha(alpha), "so is every module's alpha");
  });
  return 0;
}
