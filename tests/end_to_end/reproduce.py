#!/usr/bin/env python3
"""jobs/digits/reproduce, with few points: it ends well, its accuracies are the published ones, page and plots are whole."""

import html.parser
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.cases import Cases, expect  # noqa: E402
from support.program import OPEN_MPI  # noqa: E402

DIGITS = pathlib.Path(__file__).resolve().parents[2] / "jobs" / "digits"
ANALYSES = ("redundancy", "conflicts", "number_of_tasks", "ablation", "top_signs", "multitask_signs", "lambdas", "same_task")
VOID = {"meta", "rect", "path", "circle", "br", "link"}

cases = Cases(__doc__)


class Outline(html.parser.HTMLParser):
    """Checks that elements are closed in order; collects anchors and links."""

    def __init__(self):
        super().__init__()
        self.open, self.names, self.links, self.faults = [], set(), set(), []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.names |= {attributes["id"]} if "id" in attributes else set()
        for key in ("href", "src"):
            self.links |= {attributes[key]} if key in attributes else set()
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing, at {self.getpos()}")


def import_paper():
    """The modules of jobs/digits/paper: this script has the name of one of them."""
    sys.path.insert(0, str(DIGITS / "paper"))
    import analyses
    import merges
    found = importlib.util.spec_from_file_location("paper_reproduce", DIGITS / "paper" / "reproduce.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return analyses, merges, module


def reproduce(context):
    command = [sys.executable, "-B", DIGITS / "paper" / "reproduce.py", "--quick", "--program", context.program.path, "--output",
               context.directory / "out"]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False,
                          timeout=context.program.limit, env={**OPEN_MPI, **os.environ})


@cases.case("reproduce")
def a_quick_run_finds_the_published_accuracies_and_writes_a_whole_page(context):
    done = reproduce(context)
    expect(done.returncode == 0, f"exit {done.returncode}: {done.stderr.strip()[-500:]}")
    expect("Every accuracy is within" in done.stdout, "it does not say that accuracies are the published ones")
    out = context.directory / "out"
    expect(not list((out / "merges").glob("*.h5")), "merged models are left over")
    outline = Outline()
    outline.feed((out / "index.html").read_text())
    expect(not outline.faults and not outline.open, f"the page is not closed: {outline.faults} {outline.open}")
    expect(set(ANALYSES) <= outline.names, f"missing on the page: {set(ANALYSES) - outline.names}")
    expect({link for link in outline.links if not link.startswith("#")} == {"https://arxiv.org/abs/2306.01708"},
           f"the page needs more than itself: {outline.links}")
    results = json.loads((out / "results.json").read_text())
    for name in ANALYSES:
        plot = xml.etree.ElementTree.parse(out / f"{name}.svg").getroot()
        _, _, width, height = (float(text) for text in plot.get("viewBox").split())
        for shape in plot.iter():
            for key, most in (("x", width), ("cx", width), ("y", height), ("cy", height)):
                place = float(shape.get(key, 0))
                expect(0 <= place <= most, f"{name}.svg: {shape.tag} lies outside, at {key} {place}")
        expect(results[name]["verdict"] in ("shows", "shows in part", "does not show"), f"{name}: {results[name]}")
    # What no rounding of a processor turns round.
    expect(results["redundancy"]["verdict"] != "does not show", f"redundancy: {results['redundancy']}")
    expect(results["top_signs"]["verdict"] == "shows", f"signs: {results['top_signs']}")
    expect(results["multitask_signs"]["gap_closed"] > 0.2, f"multitask signs: {results['multitask_signs']}")


@cases.case("reproduce")
def other_accuracies_than_the_published_ones_are_told(context):
    analyses, merges, reproduction = import_paper()

    class Wrong:
        """Merges whose models are right on every other image."""

        def run(self, wanted):
            return [merges.Result({"test": dict.fromkeys(merge.tasks, 0.5)}, {}) for merge in wanted]

    _, rows, off = reproduction.beside_published(Wrong(), analyses.QUICK)
    expect(len(off) == len(rows) == 7, f"{len(off)} of {len(rows)} rows are off: {off}")
    expect(off[-1].startswith("ties_oracle_k20_l1, seed 1, 8 tasks: 0.5"), off[-1])


if __name__ == "__main__":
    cases.main()
