"""Bars as SVG, by hand: readable on a light and on a dark page."""

import xml.sax.saxutils

WIDTH, LABEL, BAR = 760, 190, 380
ROW, TITLE, GAP = 24, 30, 14

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f; }
  .title { font-weight: 600; }
  .value { font-size: 12px; }
  .bar { fill: #3b76c4; }
  .floor { fill: #8c959f; }
  @media (prefers-color-scheme: dark) { text { fill: #d0d7de; } .bar { fill: #5b96e0; } }
"""


def svg(panels):
    """`panels`: pairs of a title and rows (label, number, its text); each panel has its own scale."""
    body, top = [], GAP
    for title, rows in panels:
        body.append(f'<text class="title" x="8" y="{top + 16}">{_text(title)}</text>')
        top += TITLE
        largest = max((number for _, number, _ in rows), default=0) or 1
        for label, number, text in rows:
            length = max(1, BAR * number / largest)
            kind = "floor" if label.endswith("floor") else "bar"
            body.append(f'<text x="{LABEL - 8}" y="{top + 16}" text-anchor="end">{_text(label)}</text>')
            body.append(f'<rect class="{kind}" x="{LABEL}" y="{top + 3}" width="{length:.1f}" height="{ROW - 6}" rx="2"/>')
            body.append(f'<text class="value" x="{LABEL + length + 6:.1f}" y="{top + 16}">{_text(text)}</text>')
            top += ROW
        top += GAP
    lines = "\n".join(body)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" '
            f'role="img">\n<style>{STYLE}</style>\n{lines}\n</svg>\n')


def panels_of(results):
    """What of the results is worth a picture."""
    panels = []
    if "comparison" in results:
        panels.append(("Seconds from the first byte to the last (median)", _against_floor(results["comparison"])))
    if "sweep" in results:
        points = results["sweep"]["points"]
        rows = [row for point in points for row in _against_floor(point["summaries"], f"{point['label']}, ")]
        panels.append((f"Seconds by {results['sweep']['by']}", rows))
    if "budgets" in results:
        panels.append(("Peak memory of the largest rank, MiB, by --memory",
                       [(f"{each['memory_bytes'] / 2**20:.0f} MiB", each["peak_rss_bytes"] / 2**20,
                         f"{each['peak_rss_bytes'] / 2**20:.0f} MiB") for each in results["budgets"]]))
    measured = [peer for peer in results.get("peers", []) if "ratio" in peer]
    if measured:
        rows = [("mpimerge", 1.0, "1")] + [(peer["name"], peer["ratio"], f"{peer['ratio']:.1f} x") for peer in measured]
        panels.append(("Wall time against mpimerge's", rows))
    return panels


def _against_floor(summaries, prefix=""):
    return [(prefix + kind, found["work_seconds"],
             f"{found['work_seconds']:.3f} s, {found['work_ratio']['median']:.2f} x floor")
            for kind, found in summaries.items()]


def _text(text):
    return xml.sax.saxutils.escape(str(text))
