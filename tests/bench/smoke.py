#!/usr/bin/env python3
"""The end-to-end benchmark runs on a tiny model and gives whole results. No time is judged."""

import json
import math
import pathlib
import subprocess
import sys
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.cases import Cases, expect  # noqa: E402

SCRIPT = pathlib.Path(__file__).resolve().with_name("end_to_end")
KINDS = ["floor", "resident", "half", "streaming"]

cases = Cases(__doc__, floor="path of mpimerge_floor")


def bench(context, *options):
    """Runs the benchmark and returns what it wrote; nothing of it may stay behind."""
    work, results, picture = (context.directory / name for name in ("work", "results.json", "bars.svg"))
    command = [sys.executable, "-B", SCRIPT, "--program", context.program.path, "--floor", context.arguments.floor,
               "--mpirun", context.program.mpirun, "--limit", context.program.limit, "--work", work, "--json", results,
               "--svg", picture, "--parameters", 1e6, "--repeats", 1, "--ranks", 2, "--memory", "256KiB", *options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    expect(done.returncode == 0, f"exit {done.returncode}: {done.stderr[-500:]}")
    expect(not work.exists(), f"{work} was left behind")
    root = xml.etree.ElementTree.parse(picture).getroot()
    expect(root.tag.endswith("svg") and any(child.tag.endswith("rect") for child in root), "the SVG shows no bar")
    return json.loads(results.read_text()), done.stdout


def expect_ratios(summaries):
    for kind, found in summaries.items():
        for key in ("ratio", "work_ratio"):
            expect(all(math.isfinite(number) and number > 0 for number in found[key].values()),
                   f"{kind}: {key} is {found[key]}")


@cases.case("bench")
def comparison_has_every_kind_of_run(context):
    results, said = bench(context, "--tasks", 2)
    expect({"machine", "settings", "checkpoint", "runs", "comparison"} <= set(results), f"keys: {sorted(results)}")
    summaries = results["comparison"]
    expect(list(summaries) == KINDS, f"kinds of run: {list(summaries)}")
    expect_ratios(summaries)
    for kind in KINDS[1:]:
        found = summaries[kind]
        expect(found["peak_rss_bytes"] > 0 and found["phases"], f"{kind}: no account of its memory or phases")
        expect(found["memory"] == ("resident" if kind == "resident" else "streaming"), f"{kind} was {found['memory']}")
    expect(summaries["floor"]["read_bytes"] > results["checkpoint"]["input_bytes"] * 0.99, "the floor did not read all")
    expect("x floor" in said, f"no table: {said}")


@cases.case("bench")
def sweep_links_more_tasks_than_it_makes(context):
    results, _ = bench(context, "--tasks", 2, "--sweep", "tasks", "--points", "3")
    (point,) = results["sweep"]["points"]
    expect(point["tasks"] == 3, f"{point['tasks']} tasks, expected 3")
    expect_ratios(point["summaries"])


if __name__ == "__main__":
    cases.main()
