#include "report/markup.hpp"

#include <cmath>

#include <fmt/format.h>

#include "mpimerge/base/text.hpp"

namespace mpimerge::report {
namespace {

constexpr const char* kNoNumber = "–";
constexpr const char* kThinSpace = "\u202f";  // narrow, does not break

}  // namespace

std::string escape(std::string_view text, std::size_t most) {
  std::string out;
  for (const char letter : base::printable(text, most)) {
    switch (letter) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += letter;
    }
  }
  return out;
}

std::string code(std::string_view text) { return "<code>" + escape(text) + "</code>"; }

std::string grouped(std::uint64_t count) {
  const std::string digits = std::to_string(count);
  std::string out;
  for (std::size_t position = 0; position < digits.size(); ++position) {
    if (position > 0 && (digits.size() - position) % 3 == 0) out += kThinSpace;
    out += digits[position];
  }
  return out;
}

std::string percent(double share) {
  if (!std::isfinite(share)) return kNoNumber;
  const double value = 100 * share;
  if (value == 0) return fmt::format("0{}%", kThinSpace);
  if (std::abs(value) < 0.01) return fmt::format("&lt;{}0.01{}%", kThinSpace, kThinSpace);
  return fmt::format("{:.{}f}{}%", value, std::abs(value) < 1 ? 2 : 1, kThinSpace);
}

std::string number(double value) {
  if (!std::isfinite(value)) return kNoNumber;
  return fmt::format("{:.3g}", value);
}

std::string data_value(double value) {
  return std::isfinite(value) ? fmt::format(" data-value=\"{}\"", value) : std::string();
}

std::string data_value(std::uint64_t value) { return fmt::format(" data-value=\"{}\"", value); }

std::string cell(const std::string& text, double value) {
  return fmt::format("<td class=\"n\"{}>{}</td>", data_value(value), text);
}

std::string count_cell(std::uint64_t count) {
  return fmt::format("<td class=\"n\"{}>{}</td>", data_value(count), grouped(count));
}

std::string percent_cell(double share) { return cell(percent(share), share); }

std::string number_cell(double value) { return cell(number(value), value); }

}  // namespace mpimerge::report
