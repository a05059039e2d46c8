"""The results as text."""

from bench.runs import FLOOR, human_bytes

WRITES = ("write",)  # the phases that are held against the floor's writing, not its reading


def table(head, rows):
    """Columns of one width; the first stands left, the others right."""
    cells = [list(map(str, row)) for row in [head, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return "\n".join("  ".join(cell.rjust(width) if number else cell.ljust(width)
                               for number, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in cells)


def comparison(summaries):
    """Kinds of run against the floor."""
    rows = []
    for kind, found in summaries.items():
        memory = "" if kind == FLOOR else human_bytes(found["memory_bytes"])
        peak = "" if kind == FLOOR else human_bytes(found["peak_rss_bytes"])
        rows.append([kind, memory, f"{found['wall_seconds']:.3f}", _ratio(found["ratio"]), f"{found['work_seconds']:.3f}",
                     _ratio(found["work_ratio"]), peak])
    return table(["run", "--memory", "wall s", "x floor (min-max)", "work s", "x floor (min-max)", "peak RSS"], rows)


def _ratio(ratio):
    return f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})"


def phases(summaries):
    """Where the time goes, and how close each phase comes to the rate at which the floor reads or writes."""
    floor = summaries[FLOOR]
    rates = {what: floor[f"{what}_bytes"] / max(floor[f"{what}_seconds"], 1e-9) for what in ("read", "write")}
    rows = [[FLOOR, what, f"{floor[f'{what}_seconds']:.3f}", human_bytes(floor[f"{what}_bytes"]),
             f"{rates[what] / 1e9:.2f}", ""] for what in rates]
    for kind, found in summaries.items():
        for phase in found.get("phases", []):
            row = [kind, phase["name"], f"{phase['seconds']:.3f}"]
            if phase["bytes"] and phase["seconds"] > 0:
                rate = phase["bytes"] / phase["seconds"]
                limit = rates["write" if phase["name"] in WRITES else "read"]
                row += [human_bytes(phase["bytes"]), f"{rate / 1e9:.2f}", f"{rate / limit:.2f}"]
            else:
                row += ["", "", ""]
            rows.append(row)
    return table(["run", "phase", "seconds", "bytes", "GB/s", "of floor's rate"], rows)


def sweep(points):
    """One line per point and kind of run."""
    rows = []
    for point in points:
        for kind, found in point["summaries"].items():
            rows.append([point["label"], kind, f"{found['work_seconds']:.3f}",
                         f"{found['work_seconds'] / point['tasks']:.4f}",
                         f"{found['work_seconds'] / point['input_bytes'] * 1e9:.4f}", _ratio(found["work_ratio"]),
                         human_bytes(found["peak_rss_bytes"]) if "peak_rss_bytes" in found else ""])
    return table(["point", "run", "work s", "s per task", "s per GB", "x floor (min-max)", "peak RSS"], rows)


def budgets(found):
    rows = [[human_bytes(each["memory_bytes"]), f"{each['input_bytes'] / each['memory_bytes']:.1f}", each["memory"],
             f"{each['work_seconds']:.3f}", human_bytes(each["peak_rss_bytes"]),
             human_bytes(max(0, each["peak_rss_bytes"] - each["memory_bytes"])), "yes" if each["same_bits"] else "NO"]
            for each in found]
    return table(["--memory", "inputs / memory", "mode", "work s", "peak RSS", "above --memory", "same bits"], rows)


def peers(found):
    measured = [peer for peer in found if "ratio" in peer]
    rows = [[peer["name"], f"{peer['wall_seconds']:.2f}", f"{peer['start_seconds']:.2f}",
             f"{peer['mpimerge_wall_seconds']:.2f}", f"{peer['ratio']:.1f}", f"{peer['ratio_without_start']:.1f}",
             "yes" if peer["same_bits"] else "no"] for peer in measured]
    head = ["peer", "wall s", "its imports s", "mpimerge wall s", "ratio", "without imports", "same bits"]
    lines = [table(head, rows)] if rows else []
    return "\n".join(lines + [f"{peer['name']} not measured: {peer['skipped']}" for peer in found if "skipped" in peer])
