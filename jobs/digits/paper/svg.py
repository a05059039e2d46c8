"""Plots as SVG, by hand: lines and points, readable on a light and on a dark page."""

import math
import xml.sax.saxutils

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 58, 18, 34, 46
LEGEND_ROW = 20
LETTER = 7  # about the width of one at 13 px
COLOURS = 5

# All below one class: a page that holds several plots has one style.
STYLE = """
  .plot text { font: 13px system-ui, sans-serif; fill: #24292f; } .plot .small { font-size: 12px; }
  .plot .axis { stroke: #8c959f; fill: none; } .plot .grid { stroke: #8c959f; stroke-opacity: 0.25; fill: none; }
  .plot .c0 { stroke: #3b76c4; fill: #3b76c4; } .plot .c1 { stroke: #d1670b; fill: #d1670b; }
  .plot .c2 { stroke: #2e8b57; fill: #2e8b57; } .plot .c3 { stroke: #9b4fb5; fill: #9b4fb5; }
  .plot .c4 { stroke: #8c959f; fill: #8c959f; }
  .plot .line { fill: none; stroke-width: 2; } .plot .whisker { stroke-width: 1.5; stroke-opacity: 0.6; }
 
  @media (prefers-color-scheme: dark) {
    .plot text { fill: #d0d7de; }
    .plot .c0 { stroke: #5b96e0; fill: #5b96e0; } .plot .c1 { stroke: #f0883e; fill: #f0883e; }
    .plot .c2 { stroke: #56c08a; fill: #56c08a; } .plot .c3 { stroke: #c38bd8; fill: #c38bd8; }
    .plot .line { fill: none; }
  }
"""


def lines(series, x_label, y_label, x_ticks=None):
    """`series`: name -> points (x, y, least, most); whiskers run from least to most."""
    flat = [point for each in series.values() for point in each]
    x_least, x_most = min(point[0] for point in flat), max(point[0] for point in flat)
    y_ticks = _ticks(min(point[2] for point in flat), max(point[3] for point in flat))
    legend, legend_height = _legend(list(series))
    top, bottom = TOP + legend_height, HEIGHT + legend_height - BOTTOM
    x_of = _scale(x_least, x_most, LEFT + 12, WIDTH - RIGHT - 12)
    y_of = _scale(y_ticks[0], y_ticks[-1], bottom, top)
    body = [*legend, *_frame(y_ticks, y_of, y_label, top, bottom)]
    for tick in x_ticks or sorted({point[0] for point in flat}):
        if not x_least <= tick <= x_most:
            continue
        body.append(f'<path class="axis" d="M{x_of(tick):.1f} {bottom}v4"/>')
        body.append(f'<text class="small" x="{x_of(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>')
    body.append(_text(x_label, (LEFT + WIDTH - RIGHT) / 2, bottom + 38, "middle"))
    for number, each in enumerate(series.values()):
        colour = f"c{number % COLOURS}"
        path = " ".join(f"{'L' if place else 'M'}{x_of(x):.1f} {y_of(y):.1f}" for place, (x, y, _, _) in enumerate(each))
        body.append(f'<path class="line {colour}" d="{path}"/>')
        for x, y, least, most in each:
            body.append(f'<path class="whisker {colour}" d="M{x_of(x):.1f} {y_of(least):.1f}V{y_of(most):.1f}"/>')
            body.append(f'<circle class="{colour}" cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3"/>')
    return _document(body, HEIGHT + legend_height, f"{y_label} against {x_label}")


def points(groups, names, y_label):
    """`groups`: label -> one (y, least, most) for each of `names`; whiskers run from least to most."""
    flat = [value for values in groups.values() for value in values]
    y_ticks = _ticks(min(value[1] for value in flat), max(value[2] for value in flat))
    legend, legend_height = _legend(names)
    top, bottom = TOP + legend_height, HEIGHT + legend_height - BOTTOM
    y_of = _scale(y_ticks[0], y_ticks[-1], bottom, top)
    body = [*legend, *_frame(y_ticks, y_of, y_label, top, bottom)]
    room = (WIDTH - LEFT - RIGHT) / len(groups)
    width = room * 0.7 / len(names)
    for place, (label, values) in enumerate(groups.items()):
        middle = LEFT + room * (place + 0.5)
        for number, (y, least, most) in enumerate(values):
            x = middle + (number - (len(names) - 1) / 2) * width
            colour = f"c{number % COLOURS}"
            body.append(f'<path class="whisker {colour}" d="M{x:.1f} {y_of(least):.1f}V{y_of(most):.1f}"/>')
            body.append(f'<circle class="{colour}" cx="{x:.1f}" cy="{y_of(y):.1f}" r="5"/>')
        for row, part in enumerate(_wrap(label, room)):
            body.append(_text(part, middle, bottom + 17 + 15 * row, "middle", "small"))
    return _document(body, HEIGHT + legend_height, y_label)


def _ticks(least, most):
    """Four to seven round numbers around both."""
    span = max(most - least, 1e-9)
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (factor * step) <= 5)
    first, last = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]


def _scale(least, most, begin, end):
    span = most - least or 1
    return lambda value: begin + (value - least) / span * (end - begin)


def _frame(ticks, y_of, label, top, bottom):
    parts = [_text(label, 8, top - 14)]
    for tick in ticks:
        parts.append(f'<path class="grid" d="M{LEFT} {y_of(tick):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="small" x="{LEFT - 8}" y="{y_of(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {top}V{bottom}H{WIDTH - RIGHT}"/>')
    return parts


def _legend(names):
    """What the colours stand for, and its height; nothing where there is only one."""
    if len(names) == 1:
        return [], 0
    parts, x, row = [], 8, 0
    for number, name in enumerate(names):
        width = 34 + LETTER * len(name)
        if x > 8 and x + width > WIDTH:
            x, row = 8, row + 1
        y = 14 + LEGEND_ROW * row
        parts.append(f'<rect class="c{number % COLOURS}" x="{x}" y="{y - 6}" width="14" height="4"/>')
        parts.append(_text(name, x + 20, y))
        x += width
    return parts, LEGEND_ROW * (row + 1)


def _wrap(label, room):
    rows, row = [], ""
    for word in label.split():
        longer = f"{row} {word}".strip()
        if row and len(longer) * LETTER > room:
            rows.append(row)
            row = word
        else:
            row = longer
    return [*rows, row]


def _text(text, x, y, anchor="start", kind=""):
    kind = f' class="{kind}"' if kind else ""
    return f'<text{kind} x="{x:.1f}" y="{y}" text-anchor="{anchor}">{xml.sax.saxutils.escape(text)}</text>'


def _document(body, height, title):
    joined = "\n".join(body)
    return (f'<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'role="img">\n<title>{xml.sax.saxutils.escape(title)}</title>\n<style>{STYLE}</style>\n{joined}\n</svg>\n')
