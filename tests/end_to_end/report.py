#!/usr/bin/env python3
"""mpimerge report: the page's numbers are those of the JSON beside it, and nothing in it comes from elsewhere."""

import html.parser
import json
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import h5py  # noqa: E402
import numpy as np  # noqa: E402

from support import jobs, tensors  # noqa: E402
from support.cases import Cases, expect  # noqa: E402

DIGITS = pathlib.Path(__file__).resolve().parents[2] / "jobs" / "digits"
HOSTILE = "</title><script>alert('x')</script>\"><img src=x onerror=alert(1)>"

cases = Cases(__doc__)


class Page(html.parser.HTMLParser):
    """Marks of figures by the figure's id, rows of tables by the table's, and every tag that there is."""

    def __init__(self, text):
        super().__init__()
        self.figures, self.tables, self.tags = {}, {}, []
        self._place, self._row, self._group = None, None, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag in ("figure", "table"):
            self._place = (self.figures if tag == "figure" else self.tables).setdefault(attributes["id"], [])
        elif tag == "g" and "data-row" in attributes:
            self._group = attributes["data-row"]
        elif tag == "tr":
            self._place.append({"head": "", "values": []})
        elif tag == "th" and attributes.get("scope") == "row":
            self._row = self._place[-1]
        if "data-value" in attributes and self._place is not None:
            value = float(attributes["data-value"])
            if tag == "td":
                self._place[-1]["values"].append(value)
            else:
                self._place.append({**attributes, "group": self._group, "value": value})

    def handle_endtag(self, tag):
        if tag in ("figure", "table"):
            self._place = None
        elif tag == "g":
            self._group = None
        elif tag == "th":
            self._row = None

    def handle_data(self, data):
        if self._row is not None:
            self._row["head"] += data

    def series(self, figure, name):
        """x -> value of a series of a figure."""
        return {float(mark["data-x"]): mark["value"] for mark in self.figures[figure]
                if mark.get("data-series") == name}

    def row(self, table, head):
        found = [row["values"] for row in self.tables[table] if row["head"] == head]
        expect(len(found) == 1, f"{len(found)} rows of {table} are called {head}")
        return found[0]


def same(found, wanted, what):
    found, wanted = list(found), [value for value in wanted if value is not None]
    expect(len(found) == len(wanted), f"{what}: {len(found)} numbers, expected {len(wanted)}")
    for one, other in zip(found, wanted):
        expect(math.isclose(one, other, rel_tol=1e-12, abs_tol=1e-300), f"{what}: {one}, expected {other}")


def make(context, path, *options, name="page.html", **how):
    """The page of `path` and the JSON beside it."""
    page = context.directory / name
    context.run_well("report", path, "-o", page, "--overwrite", *options, **how)
    return page.read_text(), json.loads(page.with_suffix(".json").read_text())


def expect_page_shows(page, summary):
    """Every picture and table against the JSON, added up here in another way than there."""
    report = summary["report"]
    every, rows, tasks = report["all"], report["tensors"], report["tasks"]
    size = every["elements"]
    for when, key in (("before", "before_trim"), ("after", "after_trim")):
        cells = {(mark["group"], int(mark["data-column"])): mark["value"]
                 for mark in page.figures[f"conflicts-{when}"] if "data-column" in mark}
        wanted = {(row["kind"].split("*.")[-1], row["layer"] or 0): row["conflicts"][key] / row["elements"]
                  for row in rows}
        expect(cells == wanted, f"conflicts {when}: {cells}, expected {wanted}")
        same(page.series("conflicts-by-tasks", f"{when} the trim").values(),
             [count / size for count in every["conflicts_by_tasks"][key]], f"conflicts by tasks, {when}")
        classes = every["agreement"][key]
        same(page.series("agreement", f"{when} the trim").values(), [count / sum(classes) for count in classes],
             f"agreement, {when}")
    layers = sorted({row["layer"] for row in rows} - {None})
    columns = layers + [None] * any(row["layer"] is None for row in rows)  # what is in no layer comes last
    for number, task in enumerate(tasks):
        wanted = [sum(row["kept"][number] for row in rows if row["layer"] == layer)
                  / sum(row["elements"] for row in rows if row["layer"] == layer) for layer in columns]
        same((mark["value"] for mark in page.figures["kept-by-layer"] if mark["group"] == task), wanted,
             f"kept of {task}")
        vector = every["task_vectors"][number]
        same(page.series("norm-share", task).values(), vector["norm_share"], f"norm share of {task}")
        norms = [math.sqrt(sum(row["task_vectors"][number]["norm"] ** 2 for row in rows if row["layer"] == layer))
                 for layer in layers]
        same(page.series("norms-by-layer", task).values(), norms, f"norms of {task}")
        cells = page.row("tasks", task)
        expect(every["kept"][number] in cells, f"kept of {task} is not in {cells}")
        for value in ("norm", "largest", "mean_magnitude", "norm_kept"):
            expect(any(math.isclose(vector[value], cell, rel_tol=1e-12) for cell in cells),
                   f"{value} of {task} is not in {cells}")
    for figure, key in (("cosines", "cosine"), ("sign-agreement", "sign_agreement")):
        above = [mark["value"] for mark in page.figures[figure] if int(mark["data-row"]) < int(mark["data-column"])]
        below = {(int(mark["data-column"]), int(mark["data-row"])): mark["value"] for mark in page.figures[figure]}
        same(above, every["pairs"][key], figure)
        expect(all(below[(b, a)] == below[(a, b)] for a, b in below), f"{figure} is not symmetric")
    same(page.series("magnitude-by-agreement", "merged").values(), every["by_agreement"]["merged"], "merged")
    same(page.series("magnitude-by-agreement", "plain average").values(), every["by_agreement"]["average"], "average")
    same(page.series("norms-by-layer", "merged").values(),
         [math.sqrt(sum(row["merged"]["norm"] ** 2 for row in rows if row["layer"] == layer)) for layer in layers],
         "norms of the merged")
    for kind in report["kinds"]:
        same(page.row("kinds", kind["kind"])[:4],
             [kind["tensors"], kind["elements"], kind["conflicts"]["before_trim"] / kind["elements"],
              kind["conflicts"]["after_trim"] / kind["elements"]], kind["kind"])
    for row in rows:
        same(page.row("tensors", row["name"])[:3],
             [row["elements"], row["conflicts"]["before_trim"] / row["elements"],
              row["conflicts"]["after_trim"] / row["elements"]], row["name"])


def expect_self_contained(text, page):
    for tag, attributes in page.tags:
        expect(tag not in ("script", "link", "img", "iframe", "object", "base", "form"), f"there is a <{tag}>")
        for name in attributes:
            expect(name not in ("src", "href", "srcset", "action") and not name.startswith("on"),
                   f"<{tag}> has {name}")
    expect("url(" not in text and "@import" not in text, "the style sheet loads something")


@cases.case("report")
def page_of_an_output_has_the_numbers_of_its_json(context):
    context.run_well("merge", DIGITS / "ties.yaml", "--output", "digits.h5", "--set", "report=full")
    text, summary = make(context, "digits.h5")
    with h5py.File(context.directory / "digits.h5") as file:
        expect(json.loads(file.attrs["summary"]) == summary, "the JSON is not the output's summary")
    page = Page(text)
    expect_page_shows(page, summary)
    expect_self_contained(text, page)


@cases.case("report")
def page_of_a_job_merges_without_writing_a_model(context):
    text, summary = make(context, DIGITS / "ties.yaml", "--memory", "1MiB")
    expect_page_shows(Page(text), summary)
    expect({path.name for path in context.directory.iterdir()} == {"page.html", "page.json"},
           f"there is {sorted(context.directory.iterdir())}")
    expect("merge_method: ties" in text, "the job is not in the page")


def tiny(context, report, names=("math", "code")):
    """A merge of two tiny models, called `names`, into a directory."""
    generator = np.random.default_rng(3)
    models = {name: {f"h.{layer}.{HOSTILE}": tensors.round_to("F32", (5, 4), generator.normal(size=20))
                     for layer in range(2)} for name in ("base", *names)}
    for name, model in models.items():
        tensors.write_model(context.directory / name, model)
    text = jobs.job_text("base", names, report=report)
    (context.directory / "job.yaml").write_text(text)
    context.run_well("merge", "job.yaml", "--output", "merged", ranks=1)
    return "merged"


@cases.case("report")
def names_from_files_stay_text(context):
    text, summary = make(context, tiny(context, "full", ("math", "<b onload=x>")), ranks=1)
    expect(summary["report"]["tensors"][0]["name"] == f"h.0.{HOSTILE}", "the name is another")
    page = Page(text)
    expect_self_contained(text, page)
    expect("<b " not in text and "<script" not in text and "<img" not in text, "a name became markup")


@cases.case("report")
def basic_statistics_make_a_page_too(context):
    text, summary = make(context, tiny(context, "basic"), ranks=1)
    expect(summary["report"]["level"] == "basic", "the level is another")
    expect(set(Page(text).figures) == {"conflicts-before", "conflicts-after", "kept-by-layer"}, "other figures")
    expect("report: full" in text, "the page does not say how to get the rest")


def expect_refusal(context, code, words, *arguments):
    outcome = context.run(*arguments)
    expect(outcome.code == code and len(outcome.err_lines) == 1, outcome.describe())
    expect(words in outcome.err_lines[0], outcome.describe())
    expect(not list(context.directory.glob("page.*")), "something was written")


@cases.case("report")
def page_of_a_comparison_shows_its_pairs(context):
    models = [DIGITS / f"task_{task}" for task in ("plain", "rot90", "noise")]
    context.run_well("compare", *models, "--base", DIGITS / "base", "--json", "page.json")
    context.run_well("report", "page.json", "-o", "page.html", ranks=1)
    page = Page((context.directory / "page.html").read_text())
    report = json.loads((context.directory / "page.json").read_text())["report"]
    above = [mark["value"] for mark in page.figures["cosines"] if int(mark["data-row"]) < int(mark["data-column"])]
    same(above, report["all"]["pairs"]["cosine"], "cosines")
    same(page.series("norms-by-layer", "task_rot90").values(),
         [math.sqrt(sum(row["task_vectors"][1]["norm"] ** 2 for row in report["tensors"] if row["layer"] == layer))
          for layer in range(3)], "norms")
    expect("magnitude-by-agreement" not in page.figures, "there is a merged vector")


@cases.case("refusals")
def what_is_no_output_of_a_merge_is_refused(context):
    (context.directory / "notes.txt").write_text("hello")
    (context.directory / "empty").mkdir()
    (context.directory / "odd").mkdir()
    (context.directory / "odd" / "mpimerge_summary.json").write_text("{\"mpimerge\": [")
    with h5py.File(context.directory / "other.h5", "w") as file:
        file.attrs["summary"] = "{}"
    for path, words in (("nothing.h5", "there is no such"), ("notes.txt", "not an output of mpimerge"),
                        ("empty", "not an output of mpimerge"), ("other.h5", "not one that mpimerge wrote"),
                        ("odd", "has no summary")):
        expect_refusal(context, 4, words, "report", path, "-o", "page.html")
    expect_refusal(context, 3, "missing.yaml", "report", "missing.yaml", "-o", "page.html")


@cases.case("refusals")
def an_output_without_statistics_names_the_remedy(context):
    expect_refusal(context, 4, "give the job file", "report", tiny(context, "none"), "-o", "page.html")


@cases.case("refusals")
def pages_take_the_place_of_nothing(context):
    summary = {"mpimerge": "1", "report": {"level": "basic", "tasks": ["a"], "all": {"elements": 1, "tensors": 1},
                                           "tensors": []}}
    (context.directory / "merged").mkdir()
    (context.directory / "merged" / "mpimerge_summary.json").write_text(json.dumps(summary))
    expect_refusal(context, 2, ".html", "report", "merged", "-o", "page.h5", "--overwrite")
    expect_refusal(context, 5, "cannot be written", "report", "merged", "-o", "nowhere/page.html")
    (context.directory / "kept.json").write_text("mine")
    expect_refusal(context, 5, "--overwrite", "report", "merged", "-o", "kept.html")
    expect((context.directory / "kept.json").read_text() == "mine", "it was overwritten")
    (context.directory / "link.html").symlink_to("kept.json")
    expect_refusal(context, 5, "a link", "report", "merged", "-o", "link.html", "--overwrite")
    context.run_well("report", "merged", "-o", "kept.html", "--overwrite")
    context.run_well("report", "kept.json", "-o", "kept.html", "--overwrite")
    expect(json.loads((context.directory / "kept.json").read_text()) == summary, "the JSON is another")


if __name__ == "__main__":
    cases.main()
