#include "app/perturb_job.hpp"

#include <charconv>
#include <stdexcept>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/text.hpp"

namespace mpimerge::app {
namespace {

// What YAML takes for the same text, whatever is in it: JSON's strings are YAML's.
std::string quoted(const std::string& path) {
  try {
    return nlohmann::json(path).dump();
  } catch (const nlohmann::json::exception&) {
    throw base::Error(base::ErrorKind::usage,
                      fmt::format("{}: is not UTF-8, which a job is written in; expected another "
                                  "name, such as that of a link to it",
                                  base::printable(path)));
  }
}

}  // namespace

double parse_share(const std::string& text) {
  const bool in_percent = text.ends_with('%');
  const char* const last = text.data() + text.size() - (in_percent ? 1 : 0);
  double share = 0;
  const auto [end, status] = std::from_chars(text.data(), last, share);
  const double percent = in_percent ? share : 100 * share;
  if (status == std::errc{} && end == last && percent > 0 && percent <= 100) return percent;
  throw std::invalid_argument(
      fmt::format("`{}` is not a share; expected per cent, such as 20%, or a number above 0 and at "
                  "most 1, such as 0.2",
                  base::printable(text)));
}

void choose_bottom(double percent, Perturbation& wanted) {
  wanted.bottom = percent < 100;
  wanted.density = wanted.bottom ? (100 - percent) / 100 : 1;
}

std::string perturb_job(const Perturbation& wanted) {
  return fmt::format(
      "merge_method: perturb\n"
      "base_model: {}\n"
      "models:\n"
      "  - model: {}\n"
      "parameters: {{density: {}, bottom: {}, drop: {}, probability: {}}}\n"
      "seed: {}\n",
      quoted(wanted.base), quoted(wanted.model), wanted.density, wanted.bottom, wanted.drop,
      wanted.probability, wanted.seed);
}

}  // namespace mpimerge::app
