#include "report/figures.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "report/chart.hpp"
#include "report/colour.hpp"
#include "report/markup.hpp"

namespace mpimerge::report {
namespace {

constexpr std::size_t kMostKinds = 40;    // rows of a picture
constexpr std::size_t kMostSingles = 12;  // rows of tensors in no layer
constexpr std::size_t kMostTasks = 32;    // rows, or lines of a picture
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double ratio(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? kNone : static_cast<double>(part) / static_cast<double>(whole);
}

// "layer 7", and of which stack where there are several.
std::string layer_title(const std::vector<std::string>& stacks) {
  if (stacks.size() == 1) return "layer";
  std::string title = "layer of ";
  for (const std::string& stack : stacks) title += (title.size() > 9 ? ", then of " : "") + stack;
  return title;
}

// Limits of a colour scale for the cells of a map: from 0, unless all values are far from it.
void choose_colours(HeatMap& map) {
  double low = std::numeric_limits<double>::infinity();
  double high = 0;
  for (const auto* rows : {&map.rows, &map.singles}) {
    for (const HeatRow& row : *rows) {
      for (const HeatCell& cell : row.cells) {
        if (!std::isfinite(cell.value)) continue;
        low = std::min(low, cell.value);
        high = std::max(high, cell.value);
      }
    }
  }
  if (!(high > 0)) {
    map.low = 0;
    map.high = 1;
    return;
  }
  const std::vector<double> marks = ticks(low < high / 2 ? 0 : low, high, 5);
  const double step = marks.size() > 1 ? marks[1] - marks[0] : 0.1;
  map.high = std::min(1.0, marks.back() >= high ? marks.back() : marks.back() + step);
  map.low = low < high / 2 ? 0 : std::max(0.0, std::floor(low / step + 1e-9) * step);
  if (!(map.high > map.low)) map.low = 0;
}

struct Columns {
  std::vector<std::string> names;
  std::map<std::uint64_t, std::size_t> places;  // by the layer's number
};

// One column for each layer's number, whatever its stack: rows are of one stack each.
Columns layer_columns(const Groups& groups) {
  Columns columns;
  for (const LayerGroup& layer : groups.layers) columns.places.emplace(layer.number, 0);
  for (auto& [number, place] : columns.places) {
    place = columns.names.size();
    columns.names.push_back(std::to_string(number));
  }
  return columns;
}

// What numbers that no trim has touched are called.
const char* untouched_name(const Report& report) {
  return report.trimmed ? "before the trim" : "untrimmed";
}

using CountOf = std::optional<std::uint64_t> Sums::*;

std::string conflict_tip(const std::string& where, const Sums& sums, std::uint64_t count) {
  return fmt::format("{}: {} of {} elements in conflict", where, count, sums.elements);
}

// The kinds with most elements where there are too many of them for a picture.
std::vector<const KindGroup*> kinds_to_draw(const Groups& groups, bool layered, std::size_t most) {
  std::vector<const KindGroup*> kinds;
  for (const KindGroup& kind : groups.kinds) {
    if (kind.layers.empty() != layered && kind.all.elements > 0) kinds.push_back(&kind);
  }
  if (kinds.size() <= most) return kinds;
  std::vector<const KindGroup*> largest = kinds;
  std::stable_sort(largest.begin(), largest.end(), [](const KindGroup* a, const KindGroup* b) {
    return a->all.elements > b->all.elements;
  });
  largest.resize(most);
  std::erase_if(kinds, [&](const KindGroup* kind) {
    return std::find(largest.begin(), largest.end(), kind) == largest.end();
  });
  return kinds;
}

std::string left_out(const Groups& groups) {
  const auto layered = std::count_if(groups.kinds.begin(), groups.kinds.end(),
                                     [](const KindGroup& kind) { return !kind.layers.empty(); });
  const auto all = static_cast<std::ptrdiff_t>(groups.kinds.size());
  std::string text;
  if (layered > static_cast<std::ptrdiff_t>(kMostKinds))
    text += fmt::format(" Shown are the {} largest of {} kinds.", kMostKinds, layered);
  if (all - layered > static_cast<std::ptrdiff_t>(kMostSingles)) {
    text += fmt::format(" Of {} tensors that are in no layer, the {} largest are shown.",
                        all - layered, kMostSingles);
  }
  return text;
}

std::optional<Figure> conflict_map(const Groups& groups, CountOf count_of, const char* id,
                                   const char* when) {
  HeatMap map;
  const Columns columns = layer_columns(groups);
  map.columns = columns.names;
  map.column_title = "layer";
  for (const KindGroup* kind : kinds_to_draw(groups, true, kMostKinds)) {
    if (!(kind->all.*count_of)) return std::nullopt;
    HeatRow row{groups.stacks.size() > 1 ? kind->name : kind->rest,
                kind->all.share(*(kind->all.*count_of)),
                {}};
    for (const auto& [layer, sums] : kind->layers) {
      const std::uint64_t count = (sums.*count_of).value_or(0);
      if (sums.elements == 0) continue;
      row.cells.push_back(
          {columns.places.at(layer), sums.share(count),
           conflict_tip(fmt::format("layer {}, {}", layer, kind->rest), sums, count)});
    }
    map.rows.push_back(std::move(row));
  }
  for (const KindGroup* kind : kinds_to_draw(groups, false, kMostSingles)) {
    if (!(kind->all.*count_of)) return std::nullopt;
    const std::uint64_t count = *(kind->all.*count_of);
    const double share = kind->all.share(count);
    map.singles.push_back(
        {kind->rest, share, {{0, share, conflict_tip(kind->rest, kind->all, count)}}});
  }
  if (map.rows.empty() && map.singles.empty()) return std::nullopt;
  choose_colours(map);
  map.label = fmt::format(
      "Heat map: share of parameters in conflict {}, by kind of tensor and layer", when);
  std::string caption = fmt::format(
      "Each cell is one kind of tensor in one layer: the stronger the colour, the more of its "
      "parameters have both "
      "positive and negative task values {}; at the right the share in all layers.",
      when);
  if (groups.stacks.size() == 1)
    caption += fmt::format(" The names are what follows {}.", code(groups.stacks.front()));
  return Figure{id, fmt::format("Conflicts by layer, {}", when), draw(map),
                caption + left_out(groups)};
}

std::optional<Figure> conflicts_by_tasks(const Report& report) {
  const Row& all = report.all;
  if (all.by_tasks_before_trim.empty()) return std::nullopt;
  const auto tasks = static_cast<double>(report.tasks.size());
  LineChart chart;
  chart.label = "Line chart: share of parameters in conflict against the number of tasks";
  chart.x = {"number of tasks, in their order", false, true, tasks > 2 ? 2.0 : 1.0,
             std::max(tasks, 2.0)};
  chart.y = {"parameters in conflict", true, false, 0, 0};
  const auto add = [&](const char* name, const char* css,
                       const std::vector<std::uint64_t>& counts) {
    Series series{name, css, false, true, {}};
    for (std::size_t number = 0; number < counts.size(); ++number) {
      const double share = ratio(counts[number], all.elements);
      if (!std::isfinite(share)) continue;
      chart.y.high = std::max(chart.y.high, share);
      series.points.push_back({static_cast<double>(number + 2), share,
                               fmt::format("first {} tasks, {}: {} of {}", number + 2, name,
                                           counts[number], all.elements)});
    }
    if (!counts.empty()) chart.series.push_back(std::move(series));
  };
  add(untouched_name(report), "c1", all.by_tasks_before_trim);
  add("after the trim", "c0", all.by_tasks_after_trim);
  if (chart.y.high == 0) chart.y.high = 1;
  return Figure{"conflicts-by-tasks", "Conflicts against the number of tasks", draw(chart),
                "Each point counts conflicts among the first tasks only: a line that "
                "keeps rising says that "
                "every further task contradicts the ones before it."};
}

std::string class_name(const std::vector<double>& lower, std::size_t which) {
  return fmt::format("{:.2g}", lower[which]);
}

std::string class_tip(const std::vector<double>& lower, std::size_t which) {
  if (which + 1 == lower.size()) return fmt::format("agreement {:.2g}", lower[which]);
  return fmt::format("agreement from {:.2g} to below {:.2g}", lower[which], lower[which + 1]);
}

std::optional<Figure> agreement_histogram(const Report& report) {
  const Row& all = report.all;
  if (all.agreement_before_trim.empty()) return std::nullopt;
  BarChart chart;
  chart.label = "Histogram: how many parameters have which agreement of signs";
  chart.x_title = "sign agreement, from this value on; 1: all signs equal";
  chart.y = {"parameters that any task changes", true, false, 0, 0};
  for (std::size_t which = 0; which < report.agreement.size(); ++which)
    chart.categories.push_back(class_name(report.agreement, which));
  const auto add = [&](const char* name, const char* css,
                       const std::vector<std::uint64_t>& counts) {
    if (counts.empty()) return;
    const double sum = std::accumulate(
        counts.begin(), counts.end(), 0.0,
        [](double so_far, std::uint64_t count) { return so_far + static_cast<double>(count); });
    BarSeries series{name, css, {}, {}};
    for (std::size_t which = 0; which < counts.size(); ++which) {
      const double share = sum > 0 ? static_cast<double>(counts[which]) / sum : kNone;
      if (share > chart.y.high) chart.y.high = share;
      series.values.push_back(share);
      series.tips.push_back(fmt::format("{}, {}: {} parameters", class_tip(report.agreement, which),
                                        name, counts[which]));
    }
    chart.series.push_back(std::move(series));
  };
  add(untouched_name(report), "c1", all.agreement_before_trim);
  add("after the trim", "c0", all.agreement_after_trim);
  if (chart.y.high == 0) chart.y.high = 1;
  return Figure{"agreement", "Sign agreement", draw(chart),
                "Agreement is |positive − negative| / non-zero task values of a parameter: bars at "
                "the left are "
                "parameters on which tasks are split in halves, bars at 1 those where all agree."};
}

// Kept by task and layer, with a last column for what is in no layer.
std::optional<Figure> kept_map(const Report& report, const Groups& groups) {
  if (report.all.kept.empty()) return std::nullopt;
  HeatMap map;
  for (const LayerGroup& layer : groups.layers) map.columns.push_back(std::to_string(layer.number));
  map.column_title = groups.stacks.empty() ? "" : layer_title(groups.stacks);
  const std::size_t outside = map.columns.empty() ? 0 : map.columns.size() + 1;  // a gap between
  if (groups.outside) {
    map.columns.resize(outside);
    map.columns.emplace_back("other");
    if (!groups.stacks.empty()) map.column_title += "; other: tensors in no layer";
  }
  for (std::size_t task = 0; task < std::min(report.tasks.size(), kMostTasks); ++task) {
    HeatRow row{report.tasks[task], ratio(report.all.kept[task], report.all.elements), {}};
    const auto add = [&](std::size_t column, const std::string& where, const Sums& sums) {
      if (sums.elements == 0 || sums.kept.empty()) return;
      row.cells.push_back({column, sums.share(sums.kept[task]),
                           fmt::format("{}, {}: {} of {} kept", report.tasks[task], where,
                                       sums.kept[task], sums.elements)});
    };
    for (std::size_t column = 0; column < groups.layers.size(); ++column) {
      const LayerGroup& layer = groups.layers[column];
      add(column, fmt::format("layer {}", layer.number), layer.sums);
    }
    if (groups.outside) add(outside, "tensors in no layer", *groups.outside);
    map.rows.push_back(std::move(row));
  }
  choose_colours(map);
  map.label = "Heat map: share of each task vector that the trim keeps, by task and layer";
  std::string caption =
      "Each cell is one task in one layer: the stronger the colour, the more of its values are "
      "among the largest that "
      "the trim keeps; layers that stand out are where a task changed the model most.";
  if (report.tasks.size() > kMostTasks)
    caption += fmt::format(" Shown are the first {} of {} tasks.", kMostTasks, report.tasks.size());
  return Figure{"kept-by-layer", "Kept by task and layer", draw(map), caption};
}

std::optional<Figure> norm_shares(const Report& report) {
  const std::vector<VectorNumbers>& vectors = report.all.task_vectors;
  if (vectors.empty() || report.densities.empty()) return std::nullopt;
  LineChart chart;
  chart.label =
      "Line chart: share of the squared norm in the largest values, against their share of all";
  chart.x = {"share of the values kept, the largest first", true, false, 0, 1};
  chart.y = {"share of the squared norm", true, false, 0, 1};
  chart.diagonal = true;
  const std::size_t drawn = std::min(vectors.size(), kMostTasks);
  for (std::size_t task = 0; task < drawn; ++task) {
    Series series{task < kCategories ? report.tasks[task] : std::string(),
                  category_class(task),
                  false,
                  true,
                  {}};
    for (std::size_t which = 0; which < report.densities.size(); ++which) {
      const double share = vectors[task].norm_share[which];
      if (!std::isfinite(share)) continue;
      series.points.push_back(
          {report.densities[which], share,
           fmt::format("{}: the largest {:.4g} % hold {:.2f} %", report.tasks[task],
                       100 * report.densities[which], 100 * share)});
    }
    chart.series.push_back(std::move(series));
  }
  bool rings = false;
  for (std::size_t task = 0; task < drawn && !report.all.kept.empty(); ++task) {
    const auto norm_kept = vectors[task].norm_kept;
    if (!norm_kept || !std::isfinite(*norm_kept) || report.all.elements == 0) continue;
    const double kept = ratio(report.all.kept[task], report.all.elements);
    chart.series.push_back(
        {"",
         category_class(task),
         false,
         false,
         {{kept, *norm_kept,
           fmt::format("{}: the trim keeps {:.4g} % of the values, {:.2f} % of the squared norm",
                       report.tasks[task], 100 * kept, 100 * *norm_kept)}}});
    rings = true;
  }
  std::string caption =
      "The further a line bends away from the diagonal, the fewer values carry the task: little is "
      "lost where the "
      "trim drops the others.";
  if (rings) caption += " Rings: what this merge kept.";
  if (vectors.size() > kCategories)
    caption += fmt::format(" Grey: tasks beyond the first {}.", kCategories);
  return Figure{"norm-share", "Density against share of the norm", draw(chart), caption};
}

// Values by pair as a square table.
std::vector<std::vector<std::optional<double>>> square(const std::vector<double>& pairs,
                                                       std::size_t count) {
  std::vector<std::vector<std::optional<double>>> values(count,
                                                         std::vector<std::optional<double>>(count));
  std::size_t pair = 0;
  for (std::size_t a = 0; a < count; ++a) {
    values[a][a] = 1;
    for (std::size_t b = a + 1; b < count; ++b, ++pair) {
      if (std::isfinite(pairs[pair])) values[a][b] = values[b][a] = pairs[pair];
    }
  }
  return values;
}

// The largest distance of finite values from `middle`, as a round number.
double reach(const std::vector<double>& values, double middle, double least) {
  double most = least;
  for (const double value : values) {
    if (std::isfinite(value)) most = std::max(most, std::abs(value - middle));
  }
  return ticks(0, most, 5).back();
}

std::optional<Figure> cosine_matrix(const Report& report) {
  if (report.all.cosine.empty()) return std::nullopt;
  Matrix matrix;
  matrix.label = "Matrix: cosine of the angle between the task vectors of each pair of tasks";
  matrix.names.assign(report.tasks.begin(),
                      report.tasks.begin() + static_cast<std::ptrdiff_t>(report.paired_tasks));
  matrix.values = square(report.all.cosine, matrix.names.size());
  matrix.high = std::min(1.0, reach(report.all.cosine, 0, 0.1));
  matrix.low = -matrix.high;
  std::string caption =
      "Orange pairs changed the model in the same direction, blue ones in opposite directions; "
      "faint ones have nothing "
      "to do with each other.";
  if (report.tasks.size() > report.paired_tasks)
    caption += fmt::format(" Counted for the first {} of {} tasks.", report.paired_tasks,
                           report.tasks.size());
  return Figure{"cosines", "Cosines of task vectors", draw(matrix), caption};
}

std::optional<Figure> sign_matrix(const Report& report) {
  if (report.all.sign_agreement.empty()) return std::nullopt;
  Matrix matrix;
  matrix.label = "Matrix: share of equal signs, for each pair of tasks";
  matrix.names.assign(report.tasks.begin(),
                      report.tasks.begin() + static_cast<std::ptrdiff_t>(report.paired_tasks));
  matrix.values = square(report.all.sign_agreement, matrix.names.size());
  const double most = std::min(0.5, reach(report.all.sign_agreement, 0.5, 0.05));
  matrix.low = 0.5 - most;
  matrix.high = 0.5 + most;
  return Figure{"sign-agreement", "Equal signs by pair", draw(matrix),
                "Of the parameters that both tasks change, the share that they change with the "
                "same sign: faint is one "
                "half, as by chance; orange pairs agree more often, blue ones less."};
}

std::string name_of_pair(const Report& report, std::size_t pair) {
  for (std::size_t a = 0; a < report.paired_tasks; ++a) {
    const std::size_t row = report.paired_tasks - a - 1;
    if (pair < row) return report.tasks[a] + " and " + report.tasks[a + 1 + pair];
    pair -= row;
  }
  return {};
}

std::optional<Figure> cosines_by_layer(const Report& report, const Groups& groups) {
  if (report.all.cosine.empty() || groups.layers.size() < 2) return std::nullopt;
  Series mean{"mean of all pairs", "cf", false, true, {}};
  Series lowest{"lowest pair", "c0", true, true, {}};
  Series highest{"highest pair", "c1", true, true, {}};
  double low = 0;
  double high = 0;
  for (std::size_t place = 0; place < groups.layers.size(); ++place) {
    const LayerGroup& layer = groups.layers[place];
    if (layer.sums.dots.empty()) continue;
    std::vector<std::pair<double, std::size_t>> cosines;
    std::size_t pair = 0;
    for (std::size_t a = 0; a < report.paired_tasks; ++a) {
      for (std::size_t b = a + 1; b < report.paired_tasks; ++b, ++pair) {
        const double norms =
            std::sqrt(layer.sums.vector_squares[a]) * std::sqrt(layer.sums.vector_squares[b]);
        const double cosine = layer.sums.dots[pair] / norms;
        if (std::isfinite(cosine)) cosines.emplace_back(cosine, pair);
      }
    }
    if (cosines.empty()) continue;
    const auto [least, most] = std::minmax_element(cosines.begin(), cosines.end());
    double sum = 0;
    for (const auto& cosine : cosines) sum += cosine.first;
    const double average = sum / static_cast<double>(cosines.size());
    const auto x = static_cast<double>(groups.stacks.size() == 1 ? layer.number : place);
    const std::string where = fmt::format("layer {}", layer.number);
    mean.points.push_back({x, average, fmt::format("{}, mean: {:.4f}", where, average)});
    lowest.points.push_back(
        {x, least->first,
         fmt::format("{}, {}: {:.4f}", where, name_of_pair(report, least->second), least->first)});
    highest.points.push_back(
        {x, most->first,
         fmt::format("{}, {}: {:.4f}", where, name_of_pair(report, most->second), most->first)});
    low = std::min(low, least->first);
    high = std::max(high, most->first);
  }
  if (mean.points.size() < 2) return std::nullopt;
  LineChart chart;
  chart.label = "Line chart: cosine of pairs of task vectors, layer by layer";
  chart.x = {layer_title(groups.stacks), false, true, mean.points.front().x, mean.points.back().x};
  const std::vector<double> marks = ticks(low, std::max(high, low + 0.05), 6);
  const double step = marks.size() > 1 ? marks[1] - marks[0] : 0.1;
  chart.y = {"cosine", false, false, std::floor(low / step + 1e-9) * step,
             std::max(high, low + 0.05)};
  if (report.paired_tasks > 2) {
    chart.series = {std::move(highest), std::move(mean), std::move(lowest)};
  } else {
    chart.series = {std::move(mean)};
  }
  return Figure{"cosines-by-layer", "Cosines by layer", draw(chart),
                "Where the lines come close to zero, tasks use their layers independently; where "
                "they rise, tasks "
                "changed these layers alike."};
}

std::optional<Figure> magnitude_by_agreement(const Report& report) {
  const Row& all = report.all;
  if (all.average_by_agreement.empty() || all.merged_by_agreement.empty()) return std::nullopt;
  BarChart chart;
  chart.label =
      "Bar chart: mean magnitude of the merged vector and of the plain average, by sign agreement";
  chart.x_title =
      fmt::format("sign agreement {}, from this value on; 1: all equal", untouched_name(report));
  chart.y = {"mean magnitude", false, false, 0, 0};
  for (std::size_t which = 0; which < report.agreement.size(); ++which)
    chart.categories.push_back(class_name(report.agreement, which));
  const auto add = [&](const char* name, const char* css, const std::vector<double>& values) {
    BarSeries series{name, css, values, {}};
    for (std::size_t which = 0; which < values.size(); ++which) {
      if (values[which] > chart.y.high) chart.y.high = values[which];
      series.tips.push_back(
          fmt::format("{}, {}: {:.4g}", class_tip(report.agreement, which), name, values[which]));
    }
    chart.series.push_back(std::move(series));
  };
  add("merged", "c0", all.merged_by_agreement);
  add("plain average", "c1", all.average_by_agreement);
  if (chart.y.high == 0) chart.y.high = 1;
  std::string caption =
      "Averaging shrinks what tasks disagree on: where the bars of the plain average are low at "
      "the left, values of "
      "opposite signs cancelled, and the merge kept what is taller.";
  if (all.merged && all.average) {
    caption += fmt::format(" In all: mean magnitude {} merged, {} averaged; norm {} and {}.",
                           number(all.merged->mean), number(all.average->mean),
                           number(all.merged->norm), number(all.average->norm));
  }
  return Figure{"magnitude-by-agreement", "Magnitude, merged and averaged", draw(chart), caption};
}

std::optional<Figure> norms_by_layer(const Report& report, const Groups& groups) {
  if (report.all.task_vectors.empty() || groups.layers.size() < 2) return std::nullopt;
  LineChart chart;
  chart.label = "Line chart: norm of each task vector, layer by layer";
  chart.y = {"norm", false, false, 0, 0};
  const auto add = [&](const std::string& name, const std::string& css, bool in_legend, bool dashed,
                       auto square_of) {
    Series series{in_legend ? name : std::string(), css, dashed, true, {}};
    for (std::size_t place = 0; place < groups.layers.size(); ++place) {
      const LayerGroup& layer = groups.layers[place];
      const double norm = std::sqrt(square_of(layer.sums));
      if (!std::isfinite(norm)) continue;
      chart.y.high = std::max(chart.y.high, norm);
      series.points.push_back(
          {static_cast<double>(groups.stacks.size() == 1 ? layer.number : place), norm,
           fmt::format("{}, layer {}: {:.4g}", name, layer.number, norm)});
    }
    if (!series.points.empty()) chart.series.push_back(std::move(series));
  };
  for (std::size_t task = 0; task < std::min(report.tasks.size(), kMostTasks); ++task) {
    add(report.tasks[task], category_class(task), task < kCategories, false, [&](const Sums& sums) {
      return task < sums.vector_squares.size() ? sums.vector_squares[task] : kNone;
    });
  }
  add("merged", "cf", true, true,
      [](const Sums& sums) { return sums.merged_square.value_or(kNone); });
  if (chart.series.empty()) return std::nullopt;
  if (chart.y.high == 0) chart.y.high = 1;
  double low = std::numeric_limits<double>::infinity();
  double high = 0;
  for (const Series& series : chart.series) {
    low = std::min(low, series.points.front().x);
    high = std::max(high, series.points.back().x);
  }
  chart.x = {layer_title(groups.stacks), false, true, low, high};
  return Figure{"norms-by-layer", "Norms by layer", draw(chart),
                "How much each task changed each layer: a task whose line lies far above the "
                "others outweighs them "
                "in the merge."};
}

std::vector<Figure> all_of(std::vector<std::optional<Figure>> figures) {
  std::vector<Figure> present;
  for (std::optional<Figure>& figure : figures) {
    if (figure) present.push_back(std::move(*figure));
  }
  return present;
}

}  // namespace

std::vector<Figure> conflict_figures(const Report& report, const Groups& groups) {
  return all_of(
      {conflict_map(groups, &Sums::conflicts_before_trim, "conflicts-before",
                    untouched_name(report)),
       conflict_map(groups, &Sums::conflicts_after_trim, "conflicts-after", "after the trim"),
       conflicts_by_tasks(report), agreement_histogram(report)});
}

std::vector<Figure> trim_figures(const Report& report, const Groups& groups) {
  return all_of({kept_map(report, groups), norm_shares(report)});
}

std::vector<Figure> similarity_figures(const Report& report, const Groups& groups) {
  return all_of({cosine_matrix(report), sign_matrix(report), cosines_by_layer(report, groups)});
}

std::vector<Figure> magnitude_figures(const Report& report, const Groups& groups) {
  return all_of({magnitude_by_agreement(report), norms_by_layer(report, groups)});
}

}  // namespace mpimerge::report
