#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mpimerge::report {

// Pictures as text of SVG, all of one width: legible in a column of a desktop's page, on a phone and
// on paper. What they name is escaped here. Every mark has its number as `data-value` (with
// `data-x` or row and column beside it), and a <title>, which browsers show under the pointer.

/// Local. Round numbers from `low` to at least `high`, at most about `most` of them; one at least.
std::vector<double> ticks(double low, double high, std::size_t most);

/// A number's place on an axis.
struct Scale {
  double low = 0;
  double high = 1;
  double from = 0;  ///< where `low` lies, in units of the picture
  double to = 1;

  /// Local.
  [[nodiscard]] double operator()(double value) const {
    return high > low ? from + (value - low) / (high - low) * (to - from) : from;
  }
};

struct Axis {
  std::string title;
  bool shares = false;  ///< shown in percent
  bool whole = false;   ///< ticks at whole numbers only
  double low = 0;
  double high = 1;  ///< the axis ends at the next round number
};

struct Point {
  double x = 0;
  double y = 0;
  std::string tip;
};

struct Series {
  std::string name;  ///< in the legend
  std::string css;   ///< its colour's class
  bool dashed = false;
  bool joined = true;  ///< by lines; else points alone
  std::vector<Point> points;
};

struct LineChart {
  std::string label;  ///< what it shows, for those who cannot see it
  Axis x;
  Axis y;
  std::vector<Series> series;
  bool diagonal = false;  ///< a thin line where both are the same
};

/// Local.
std::string draw(const LineChart& chart);

struct BarSeries {
  std::string name;
  std::string css;
  std::vector<double> values;     ///< by category; NaN: no bar
  std::vector<std::string> tips;  ///< by category
};

/// Bars side by side for each category.
struct BarChart {
  std::string label;
  std::string x_title;
  std::vector<std::string> categories;
  Axis y;
  std::vector<BarSeries> series;
};

/// Local.
std::string draw(const BarChart& chart);

struct HeatCell {
  std::size_t column = 0;
  double value = 0;
  std::string tip;
};

struct HeatRow {
  std::string name;
  double total = 0;  ///< of all columns, shown at the right
  std::vector<HeatCell> cells;
};

/// Rows of cells, each under its name, so that names take no width from the cells.
struct HeatMap {
  std::string label;
  std::vector<std::string> columns;  ///< their names
  std::string column_title;
  std::vector<HeatRow> rows;
  std::vector<HeatRow> singles;  ///< one cell each, whatever its column: what is in no column
  double low = 0;                ///< shown in the weakest colour; all values are shares of 1
  double high = 1;               ///< shown in the strongest
};

/// Local.
std::string draw(const HeatMap& map);

struct Matrix {
  std::string label;
  std::vector<std::string> names;                          ///< of rows and of columns
  std::vector<std::vector<std::optional<double>>> values;  ///< [names, names]
  double low = -1;                                         ///< shown in one colour's strongest tone
  double high = 1;  ///< in the other's; halfway lies the neutral one
};

/// Local. Values stand in the cells where there is room.
std::string draw(const Matrix& matrix);

}  // namespace mpimerge::report
