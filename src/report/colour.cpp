#include "report/colour.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>

#include <fmt/format.h>

namespace mpimerge::report {
namespace {

struct Colour {
  double red, green, blue;  // sRGB, 0 to 255
};

constexpr Colour rgb(std::uint32_t hex) {
  return {static_cast<double>(hex >> 16U), static_cast<double>((hex >> 8U) & 0xffU),
          static_cast<double>(hex & 0xffU)};
}

// From little to much. Lightness changes steadily, hue from green over blue to violet.
constexpr std::array kSequentialLight{rgb(0xe4f5ea), rgb(0xb4e3c4), rgb(0x79d0b2),
                                      rgb(0x49b8ad), rgb(0x369bab), rgb(0x357ba3),
                                      rgb(0x3e5a98), rgb(0x413d7b), rgb(0x2f1f45)};
constexpr std::array kSequentialDark{rgb(0x2b2440), rgb(0x40407c), rgb(0x3f5c98),
                                     rgb(0x3a7ca4), rgb(0x3a9cad), rgb(0x4dbaaf),
                                     rgb(0x7dd3b5), rgb(0xb4e6c6), rgb(0xe8f9ed)};
// From -1 over 0 to 1: blue and orange, which all eyes tell apart.
constexpr std::array kDivergingLight{rgb(0x14468f), rgb(0x4a86c5), rgb(0xa3c8e6), rgb(0xf4f4f4),
                                     rgb(0xf3bd8c), rgb(0xd9762b), rgb(0x8a3a05)};
constexpr std::array kDivergingDark{rgb(0x9cc9f5), rgb(0x4f95d8), rgb(0x2d5484), rgb(0x2a2d33),
                                    rgb(0x7d4a1f), rgb(0xd27f35), rgb(0xfcc89a)};
// Okabe and Ito's, with yellow left out and those that are pale on white darker.
constexpr std::array<const char*, kCategories> kCategoriesLight{
    "#0067a5", "#d55e00", "#00805f", "#b0578d", "#c58700", "#2f9bd6", "#6b6b6b", "#7a5c00"};
constexpr std::array<const char*, kCategories> kCategoriesDark{
    "#4aa8e8", "#ff8a3d", "#2bc79b", "#e79cc6", "#f2b733", "#9bd8ff", "#b5b5b5", "#d9c46a"};

Colour mix(std::span<const Colour> points, double share) {
  const double position = share * static_cast<double>(points.size() - 1);
  const auto first = std::min(static_cast<std::size_t>(position), points.size() - 2);
  const double part = position - static_cast<double>(first);
  const Colour& a = points[first];
  const Colour& b = points[first + 1];
  return {a.red + part * (b.red - a.red), a.green + part * (b.green - a.green),
          a.blue + part * (b.blue - a.blue)};
}

// Relative luminance as WCAG 2 defines it.
double luminance(const Colour& colour) {
  const auto linear = [](double value) {
    const double share = value / 255;
    return share <= 0.04045 ? share / 12.92 : std::pow((share + 0.055) / 1.055, 2.4);
  };
  return 0.2126 * linear(colour.red) + 0.7152 * linear(colour.green) + 0.0722 * linear(colour.blue);
}

// The classes of one scale, and those of text on them, which is black or white: what stands out more.
std::string scale_rules(char name, std::span<const Colour> points, std::size_t steps) {
  std::string rules;
  for (std::size_t step = 0; step < steps; ++step) {
    const Colour colour = mix(points, static_cast<double>(step) / static_cast<double>(steps - 1));
    const char* const text = luminance(colour) > 0.179 ? "#111" : "#fff";
    rules += fmt::format(".{0}{1}{{fill:#{2:02x}{3:02x}{4:02x}}}.t{0}{1}{{fill:{5}}}\n", name, step,
                         std::lround(colour.red), std::lround(colour.green),
                         std::lround(colour.blue), text);
  }
  return rules;
}

std::string category_rules(const std::array<const char*, kCategories>& colours,
                           const char* others) {
  std::string rules;
  for (std::size_t which = 0; which < colours.size(); ++which)
    rules += fmt::format(".c{}{{--c:{}}}\n", which, colours[which]);
  return rules + fmt::format(".cx{{--c:{}}}\n", others);
}

std::string step_class(char name, double share, std::size_t steps) {
  const double bounded = std::clamp(share, 0.0, 1.0);
  return fmt::format("{}{}", name, std::lround(bounded * static_cast<double>(steps - 1)));
}

}  // namespace

std::string sequential_class(double share) { return step_class('q', share, kSequentialSteps); }

std::string diverging_class(double value) {
  return step_class('d', (value + 1) / 2, kDivergingSteps);
}

std::string category_class(std::size_t which) {
  return which < kCategories ? fmt::format("c{}", which) : std::string("cx");
}

std::string colour_rules() {
  return scale_rules('q', kSequentialLight, kSequentialSteps) +
         scale_rules('d', kDivergingLight, kDivergingSteps) +
         category_rules(kCategoriesLight, "#a8a8a8") +
         "@media screen and (prefers-color-scheme:dark){\n" +
         scale_rules('q', kSequentialDark, kSequentialSteps) +
         scale_rules('d', kDivergingDark, kDivergingSteps) +
         category_rules(kCategoriesDark, "#666") + "}\n";
}

}  // namespace mpimerge::report
