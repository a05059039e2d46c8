#include "report/chart.hpp"

#include <algorithm>
#include <cmath>
#include <string_view>

#include <fmt/format.h>

#include "report/colour.hpp"
#include "report/markup.hpp"

namespace mpimerge::report {
namespace {

constexpr double kWidth = 440;
constexpr double kPlotHeight = 250;
constexpr double kLeft = 56;  // for the y axis' numbers
constexpr double kRight = kWidth - 14;
constexpr double kLegendLine = 18;
constexpr double kLetter = 6.6;  // of text of 12 units, on average, a little generous
constexpr double kMonospace = 7.3;

enum class Anchor { start, middle, end };

std::string text(double x, double y, Anchor anchor, std::string_view css,
                 std::string_view escaped) {
  constexpr std::string_view kAnchors[] = {"", " text-anchor=\"middle\"", " text-anchor=\"end\""};
  return fmt::format("<text x=\"{:.4g}\" y=\"{:.4g}\"{}{}>{}</text>\n", x, y,
                     kAnchors[static_cast<std::size_t>(anchor)],
                     css.empty() ? std::string() : fmt::format(" class=\"{}\"", css), escaped);
}

std::string title(std::string_view tip) {
  return tip.empty() ? std::string() : fmt::format("<title>{}</title>", escape(tip, 400));
}

std::string svg(double height, std::string_view label, std::string_view content) {
  return fmt::format(
      "<svg viewBox=\"0 0 {:.5g} {:.5g}\" role=\"img\" aria-label=\"{}\">\n{}</svg>\n", kWidth,
      height, escape(label, 400), content);
}

std::string on_axis(double value, const Axis& axis) {
  if (!axis.shares) return fmt::format("{:.6g}", value);
  return fmt::format("{:.4g}\u202f%", 100 * value);
}

// With a minus sign of a number's width, and none before zero.
std::string two_digits(double value) {
  const std::string digits = fmt::format("{:.2f}", std::abs(value));
  return value < 0 && digits != "0.00" ? "−" + digits : digits;
}

// Without what 0.1 has behind its last digit.
double rounded(double value) {
  return std::abs(value) < 1e-300 ? 0 : std::stod(fmt::format("{:.12g}", value));
}

struct Ruled {
  std::vector<double> marks;
  Axis axis;  // to the last mark
};

Ruled rule(Axis axis, std::size_t most) {
  std::vector<double> marks = ticks(axis.low, axis.high, most);
  if (axis.whole) {
    std::erase_if(marks, [&](double mark) { return mark != std::floor(mark) || mark > axis.high; });
  } else {
    axis.high = std::max(axis.high, marks.back());
  }
  return {std::move(marks), std::move(axis)};
}

struct Frame {
  Scale x;
  Scale y;
  double bottom = 0;
  std::string drawn;
};

// Grid, axes and their numbers; of the x axis those of `marks`.
Frame frame(const Axis& x, const std::vector<double>& marks, const Axis& y, double top) {
  const double bottom = top + kPlotHeight - 62;
  const Ruled up = rule(y, 6);
  const Scale upward{up.axis.low, up.axis.high, bottom, top};
  Frame made{{x.low, x.high, kLeft, kRight}, upward, bottom, {}};
  for (const double mark : up.marks) {
    const double at = upward(mark);
    made.drawn +=
        fmt::format("<path class=\"grid\" d=\"M{:.5g} {:.5g}H{:.5g}\"/>\n", kLeft, at, kRight);
    made.drawn += text(kLeft - 6, at + 4, Anchor::end, "tick", on_axis(mark, y));
  }
  made.drawn +=
      fmt::format("<path class=\"axis\" d=\"M{:.5g} {:.5g}H{:.5g}\"/>\n", kLeft, bottom, kRight);
  for (const double mark : marks) {
    const double at = made.x(mark);
    made.drawn += fmt::format("<path class=\"axis\" d=\"M{:.5g} {:.5g}v4\"/>\n", at, bottom);
    made.drawn += text(at, bottom + 17, Anchor::middle, "tick", on_axis(mark, x));
  }
  made.drawn += text((kLeft + kRight) / 2, bottom + 36, Anchor::middle, "", escape(x.title));
  return made;
}

// The y axis' title stands above it, where it can be read without turning the head.
std::string y_title(const Axis& y, double at) {
  return text(0, at, Anchor::start, "", escape(y.title));
}

struct Legend {
  std::string drawn;
  double height = 0;
};

struct Key {
  std::string name;
  std::string mark;  // drawn at the origin, 18 units wide
};

std::vector<Key> keys_of(const LineChart& chart) {
  std::vector<Key> keys;
  for (const Series& one : chart.series) {
    if (one.name.empty()) continue;
    keys.push_back(
        {one.name, one.joined
                       ? fmt::format("<path class=\"line {}{}\" d=\"M0 0h18\"/>", one.css,
                                     one.dashed ? " dash" : "")
                       : fmt::format("<circle class=\"ring {}\" cx=\"9\" r=\"5\"/>", one.css)});
  }
  return keys;
}

std::vector<Key> keys_of(const BarChart& chart) {
  std::vector<Key> keys;
  for (const BarSeries& one : chart.series) {
    keys.push_back(
        {one.name,
         fmt::format("<rect class=\"bar {}\" y=\"-6\" width=\"18\" height=\"12\"/>", one.css)});
  }
  return keys;
}

Legend legend(const std::vector<Key>& keys, double top) {
  Legend made;
  if (keys.size() < 2) return made;
  double x = 0;
  double y = top + 12;
  for (const Key& key : keys) {
    const double width =
        36 + kLetter * static_cast<double>(std::min<std::size_t>(key.name.size(), 40));
    if (x > 0 && x + width > kWidth) {
      x = 0;
      y += kLegendLine;
    }
    made.drawn +=
        fmt::format("<g transform=\"translate({:.5g} {:.5g})\">{}</g>\n", x, y - 4, key.mark) +
        text(x + 23, y, Anchor::start, "", escape(key.name, 40));
    x += width;
  }
  made.height = y - top + 10;
  return made;
}

std::string draw_series(const Series& series, const Frame& plot) {
  std::string drawn;
  if (series.joined && series.points.size() > 1) {
    std::string path;
    for (const Point& point : series.points) {
      path += fmt::format("{}{:.5g} {:.5g}", path.empty() ? 'M' : 'L', plot.x(point.x),
                          plot.y(point.y));
    }
    drawn += fmt::format("<path class=\"line {}{}\" d=\"{}\"/>\n", series.css,
                         series.dashed ? " dash" : "", path);
  }
  // Of many points the line is what one sees.
  const char* const radius = !series.joined ? "5" : series.points.size() > 40 ? "1.2" : "2.5";
  for (const Point& point : series.points) {
    drawn += fmt::format(
        "<circle class=\"{} {}\" cx=\"{:.5g}\" cy=\"{:.5g}\" r=\"{}\" data-series=\"{}\" "
        "data-x=\"{}\"{}>{}</circle>\n",
        series.joined ? "dot" : "ring", series.css, plot.x(point.x), plot.y(point.y), radius,
        escape(series.name), point.x, data_value(point.y), title(point.tip));
  }
  return drawn;
}

// As far as UTF-8 tells them apart.
std::size_t letters(std::string_view utf8) {
  return static_cast<std::size_t>(std::count_if(utf8.begin(), utf8.end(), [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xc0U) != 0x80U;
  }));
}

std::string colour_bar(double x, double y, std::string_view low, std::string_view high,
                       bool diverging) {
  constexpr double kBar = 128;
  const std::size_t steps = diverging ? kDivergingSteps : kSequentialSteps;
  const double width = kBar / static_cast<double>(steps);
  std::string drawn = text(x, y + 10, Anchor::start, "tick", low);
  const double begin = x + kLetter * static_cast<double>(letters(low)) + 4;
  for (std::size_t step = 0; step < steps; ++step) {
    const double share = static_cast<double>(step) / static_cast<double>(steps - 1);
    drawn += fmt::format(
        "<rect class=\"{}\" x=\"{:.5g}\" y=\"{:.5g}\" width=\"{:.4g}\" height=\"10\"/>\n",
        diverging ? diverging_class(2 * share - 1) : sequential_class(share),
        begin + width * static_cast<double>(step), y, width + 0.3);
  }
  return drawn + text(begin + kBar + 6, y + 10, Anchor::start, "tick", high);
}

constexpr double kRowPitch = 36;
constexpr double kCellHeight = 16;
constexpr double kSinglePitch = 22;

std::string heat_cell(const HeatCell& cell, double x, double y, double width, const HeatMap& map) {
  const double share = Scale{map.low, map.high, 0, 1}(cell.value);
  const std::string css = sequential_class(share);
  const double gap =
      width >= 6 ? 1 : -0.4;  // narrow cells overlap: no seams where edges are rounded
  std::string drawn = fmt::format(
      "<rect class=\"{}\" x=\"{:.5g}\" y=\"{:.5g}\" width=\"{:.5g}\" height=\"{}\" "
      "data-column=\"{}\"{}>{}</rect>\n",
      css, x, y, width - gap, kCellHeight, cell.column, data_value(cell.value), title(cell.tip));
  if (width >= 34) {
    drawn += text(x + (width - gap) / 2, y + 12.5, Anchor::middle, "tick t" + css,
                  fmt::format("{:.1f}", 100 * cell.value));
  }
  return drawn;
}

std::string row_name(const HeatRow& row, double x, double y) {
  const auto room = static_cast<std::size_t>((kWidth - x - 60) / kMonospace);
  return text(x, y, Anchor::start, "mono", escape(row.name, room)) +
         text(kWidth, y, Anchor::end, "total", percent(row.total));
}

}  // namespace

std::vector<double> ticks(double low, double high, std::size_t most) {
  if (!(high > low) || !std::isfinite(high - low)) return {low};
  const double wish = (high - low) / static_cast<double>(std::max<std::size_t>(most, 2) - 1);
  const double power = std::pow(10, std::floor(std::log10(wish)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= wish * (1 - 1e-9)) {
      step = factor * power;
      break;
    }
  }
  std::vector<double> marks;
  const double first = std::ceil(low / step - 1e-9);
  // Bounded: far from zero, steps may be too small for a double.
  for (int count = 0; count < 100; ++count) {
    marks.push_back(rounded((first + count) * step));
    if (marks.back() >= high - step * 1e-9) break;
  }
  return marks;
}

std::string draw(const LineChart& chart) {
  const Legend names = legend(keys_of(chart), 0);
  const double top = names.height + 24;
  const Ruled across = rule(chart.x, 7);
  const Frame plot = frame(across.axis, across.marks, chart.y, top);
  std::string drawn = names.drawn + y_title(chart.y, names.height + 12) + plot.drawn;
  if (chart.diagonal) {
    const double end = std::min(plot.x.high, plot.y.high);
    drawn += fmt::format("<path class=\"diagonal\" d=\"M{:.5g} {:.5g}L{:.5g} {:.5g}\"/>\n",
                         plot.x(0), plot.y(0), plot.x(end), plot.y(end));
  }
  for (const Series& series : chart.series) drawn += draw_series(series, plot);
  return svg(plot.bottom + 42, chart.label, drawn);
}

std::string draw(const BarChart& chart) {
  const Legend names = legend(keys_of(chart), 0);
  const double top = names.height + 24;
  const auto count = static_cast<double>(chart.categories.size());
  Frame plot = frame({chart.x_title, false, false, 0, count}, {}, chart.y, top);
  std::string drawn = names.drawn + y_title(chart.y, names.height + 12) + plot.drawn;
  const double pitch = (kRight - kLeft) / count;
  const double width = (pitch - 3) / static_cast<double>(chart.series.size());
  for (std::size_t category = 0; category < chart.categories.size(); ++category) {
    const double left = plot.x(static_cast<double>(category));
    drawn += text(left + pitch / 2, plot.bottom + 17, Anchor::middle, "tick",
                  escape(chart.categories[category], 12));
    for (std::size_t which = 0; which < chart.series.size(); ++which) {
      const BarSeries& series = chart.series[which];
      const double value = series.values[category];
      if (!std::isfinite(value)) continue;
      const double y = plot.y(value);
      drawn += fmt::format(
          "<rect class=\"bar {}\" x=\"{:.5g}\" y=\"{:.5g}\" width=\"{:.5g}\" height=\"{:.5g}\" "
          "data-series=\"{}\" data-x=\"{}\"{}>{}</rect>\n",
          series.css, left + 1.5 + width * static_cast<double>(which), y, width - 0.5,
          std::max(plot.bottom - y, 0.0), escape(series.name), category, data_value(value),
          title(series.tips[category]));
    }
  }
  return svg(plot.bottom + 42, chart.label, drawn);
}

std::string draw(const HeatMap& map) {
  const Axis shares{{}, true};
  std::string drawn = colour_bar(0, 0, on_axis(map.low, shares), on_axis(map.high, shares), false);
  double y = 34;
  if (!map.columns.empty()) {
    const double width = std::min(kWidth / static_cast<double>(map.columns.size()), 110.0);
    const double end = width * static_cast<double>(map.columns.size());
    for (const HeatRow& row : map.rows) {
      drawn += fmt::format("<g class=\"cells\" data-row=\"{}\">\n", escape(row.name));
      drawn += row_name(row, 0, y);
      drawn += fmt::format(
          "<rect class=\"none\" x=\"0\" y=\"{:.5g}\" width=\"{:.5g}\" height=\"{}\"/>\n", y + 5,
          end, kCellHeight);
      for (const HeatCell& cell : row.cells)
        drawn += heat_cell(cell, width * static_cast<double>(cell.column), y + 5, width, map);
      drawn += "</g>\n";
      y += kRowPitch;
    }
    std::size_t widest = 1;
    for (const std::string& name : map.columns) widest = std::max(widest, name.size());
    const double needed = kLetter * static_cast<double>(widest) + 10;
    // Every one, second, fifth, tenth, ... column has its name under it.
    std::size_t every = 1;
    for (const std::size_t next : {1UL, 2UL, 5UL, 10UL, 20UL, 50UL, 100UL, 200UL, 500UL, 1000UL}) {
      every = next;
      if (width * static_cast<double>(every) >= needed) break;
    }
    // A last column that stands apart always has it.
    const std::size_t last = map.columns.size() - 1;
    const bool apart = last > 0 && map.columns[last - 1].empty();
    if (apart) drawn += text(end, y - 4, Anchor::end, "tick", escape(map.columns[last], 12));
    for (std::size_t column = 0; column <= last; column += every) {
      const double middle = width * (static_cast<double>(column) + 0.5);
      if (map.columns[column].empty() || (apart && middle > end - needed)) continue;
      const bool first = middle < 10;
      drawn += text(first ? 0 : middle, y - 4, first ? Anchor::start : Anchor::middle, "tick",
                    escape(map.columns[column], 12));
    }
    drawn += text(end / 2, y + 13, Anchor::middle, "", escape(map.column_title));
    y += 38;
  }
  for (const HeatRow& row : map.singles) {
    if (row.cells.empty()) continue;
    drawn += fmt::format("<g class=\"cells\" data-row=\"{}\">\n", escape(row.name));
    drawn += heat_cell(row.cells.front(), 0, y - 12.5, 22, map) + row_name(row, 30, y) + "</g>\n";
    y += kSinglePitch;
  }
  return svg(y - 8, map.label, drawn);
}

std::string draw(const Matrix& matrix) {
  const std::size_t count = matrix.names.size();
  std::size_t longest = 4;
  for (const std::string& name : matrix.names) longest = std::max(longest, name.size());
  const double names = std::min(kMonospace * static_cast<double>(longest + 4) + 6, 170.0);
  const auto room = static_cast<std::size_t>((names - 6) / kMonospace) - 4;
  const double width = std::min((kWidth - names) / static_cast<double>(count), 56.0);
  const double height = std::min(width, 34.0);
  const double gap = width >= 6 ? 1 : 0;
  std::string drawn = colour_bar(names, 0, number(matrix.low), number(matrix.high), true);
  const double top = 40;
  const auto every = static_cast<std::size_t>(std::ceil(20 / width));
  for (std::size_t row = 0; row < count; ++row) {
    const double y = top + height * static_cast<double>(row);
    const auto every_row = static_cast<std::size_t>(std::ceil(13 / height));
    if (row % every_row == 0) {
      drawn += text(names - 6, y + height / 2 + 4, Anchor::end, "mono",
                    fmt::format("{} {}", escape(matrix.names[row], room), row + 1));
    }
    if (row % every == 0) {
      drawn += text(names + width * (static_cast<double>(row) + 0.5), top - 6, Anchor::middle,
                    "tick", std::to_string(row + 1));
    }
    for (std::size_t column = 0; column < count; ++column) {
      const std::optional<double>& value = matrix.values[row][column];
      const std::string css = row == column || !value
                                  ? std::string("none")
                                  : diverging_class(Scale{matrix.low, matrix.high, -1, 1}(*value));
      const double x = names + width * static_cast<double>(column);
      const std::string tip =
          value ? fmt::format("{} and {}: {:.4f}", matrix.names[row], matrix.names[column], *value)
                : std::string();
      drawn += fmt::format(
          "<rect class=\"{}\" x=\"{:.5g}\" y=\"{:.5g}\" width=\"{:.5g}\" height=\"{:.5g}\" "
          "data-row=\"{}\" "
          "data-column=\"{}\"{}>{}</rect>\n",
          css, x, y, width - gap, height - gap, row, column,
          value ? data_value(*value) : std::string(), title(tip));
      if (value && row != column && width >= 30) {
        drawn += text(x + (width - gap) / 2, y + height / 2 + 4, Anchor::middle, "tick t" + css,
                      two_digits(*value));
      }
    }
  }
  return svg(top + height * static_cast<double>(count) + 4, matrix.label, drawn);
}

}  // namespace mpimerge::report
