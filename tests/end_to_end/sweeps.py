#!/usr/bin/env python3
"""Sweeps: every point of a grid is, bit for bit, a merge of its own, and a command may pick the best."""

import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from support import jobs, tensors  # noqa: E402
from support.cases import Cases, expect  # noqa: E402
from support.merged import Merged, text  # noqa: E402

USAGE, JOB = 2, 3
cases = Cases(__doc__)


def model(seed, dtypes=("F32", "BF16", "F16")):
    """Values on a coarse grid: equal magnitudes and sums of exactly zero abound."""
    random = np.random.default_rng(seed)
    values = lambda count: random.integers(-4, 5, count) / 8  # noqa: E731
    return {"layers.0.weight": tensors.round_to(dtypes[0], (70, 90), values(6300)),
            "layers.1.weight": tensors.round_to(dtypes[1], (5000,), values(5000)),
            "head.weight": tensors.round_to(dtypes[2], (37, 3), values(111)),
            "scale": tensors.round_to("F32", (), values(1)),
            "ids": tensors.raw("I64", (40,), bytes(range(64)) * 5)}


def store(context, count=3):
    """base/ and task0/, ..., of which the last has types of its own."""
    for number in range(-1, count):
        own = ("BF16", "F32", "F32") if number == count - 1 else ("F32", "BF16", "F16")
        tensors.write_model(context.directory / ("base" if number < 0 else f"task{number}"), model(number + 1, own))
    return [f"task{number}" for number in range(count)]


def own_merge(context, job, settings):
    """The file of a merge of one point, and what it reports."""
    (context.directory / "own.yaml").write_text(job)
    words = [word for setting in settings for word in ("--set", setting)]
    context.run_well("merge", "own.yaml", "--output", "own.h5", "--summary", "own.json", "--overwrite", "-q", *words,
                     ranks=1, launcher=False)
    return Merged(context.directory / "own.h5").digest, account(json.loads((context.directory / "own.json").read_text()))


def account(summary):
    """What a merge counts and finds."""
    tasks = [{key: task.get(key) for key in ("trim_rank", "threshold_bits", "kept", "density", "weight")}
             for task in summary["tasks"]]
    return tasks, summary.get("signs"), summary.get("conflicts")


def sweep(context, job, *options, output="out.h5", **how):
    """The points of a sweep as --summary has them."""
    (context.directory / "job.yaml").write_text(job)
    words = ("--output", output) if output else ()
    outcome = context.run_well("merge", "job.yaml", *words, "--summary", "all.json", "--overwrite", *options, **how)
    context.outcome = outcome
    return json.loads((context.directory / "all.json").read_text())


def expect_points(context, summary, wanted):
    """`wanted`: label -> what own_merge gave."""
    expect(len(summary["points"]) == len(wanted), f"{len(summary['points'])} points, expected {len(wanted)}")
    for point, (label, (digest, own)) in zip(summary["points"], wanted.items()):
        expect(account(point) == own, f"{label}: counts {account(point)}, expected {own}")
        for output in point["outputs"]:
            path = context.directory / output
            expect(label in path.name, f"{path.name} is not called by {label}")
            merged = Merged(path)
            expect(not merged.faults, f"{label}: {merged.faults}")
            expect(merged.digest == digest, f"{label}: other bits than those of a merge of its own")
            expect(account(merged.summary) == own, f"{label}: the attribute `summary` is another")
            expect("sweep" not in text(merged.attributes["job"]), f"{label}: its job has a sweep")


GRID = {"density": [0.2, 0.45, 1], "lambda": [1, 0.5], "weight": [1, [1, 0.5, 2]]}
WAYS = ((1, ()), (1, ("--memory", "1KiB", "--chunk", "2000")), (2, ("--chunk", "4KiB")),
        (3, ("--memory", "60KiB",)), (3, ("--memory", "1KiB", "--chunk", "1MiB")))


@cases.case("points")
def every_point_of_ties_is_a_merge_of_its_own(context):
    tasks = store(context)
    plain = jobs.job_text("base", tasks)
    wanted = {}
    for density in GRID["density"]:
        for scale in GRID["lambda"]:
            for weight, spelled in zip(GRID["weight"], ("1", "1_0.5_2")):
                weights = weight if isinstance(weight, list) else [weight] * 3
                settings = [f"parameters.density={density}", f"parameters.lambda={scale}"]
                settings += [f"models.{number}.parameters.weight={own}" for number, own in enumerate(weights)]
                label = f"-density-{density}-lambda-{scale}-weight-{spelled}"
                wanted[label] = own_merge(context, plain, settings)
    for ranks, options in WAYS:
        grid = "sweep: " + json.dumps(GRID) + "\n"
        summary = sweep(context, plain + grid, *options, ranks=ranks)
        expect_points(context, summary, wanted)
        expect(summary["sweep"] == ["density", "lambda", "weight"], f"sweep: {summary['sweep']}")
        expect(summary["points"][1]["values"] == {"density": 0.2, "lambda": 1, "weight": [1, 0.5, 2]},
               f"values: {summary['points'][1]['values']}")
    again = Merged(context.directory / summary["points"][5]["outputs"][0])
    (context.directory / "again.yaml").write_text(text(again.attributes["job"]))
    context.run_well("merge", "again.yaml", "--output", "again.h5", "-q", ranks=1, launcher=False)
    expect(Merged(context.directory / "again.h5").digest == again.digest, "the job of a point gives other bits")


@cases.case("points")
def without_outputs_the_counts_are_the_same(context):
    tasks = store(context)
    plain = jobs.job_text("base", tasks)
    wanted = [own_merge(context, plain, [f"parameters.density={density}"])[1] for density in (0.1, 0.3)]
    grid = "sweep: {lambda: [1, 2], density: [0.1, 0.3]}\noutput: none\n"
    summary = sweep(context, plain + grid, output=None)
    found = [account(point) for point in summary["points"]]
    expect(found == wanted * 2, f"{found}, expected {wanted} twice")
    expect(not any(point["outputs"] for point in summary["points"]), "there are outputs")
    expect(not list(context.directory.glob("*partial*")) and not list(context.directory.glob("job-*")), "something was written")


@cases.case("points")
def other_methods_are_swept_too(context):
    tasks = store(context)
    for method, parameter, values in (("linear", "weight", [1, [3, 1, 2]]), ("breadcrumbs", "gamma", [0.01, 0.2]),
                                      ("ties", "rescale", [False, True])):
        plain = jobs.job_text("base", tasks, {"weight": 1} if method == "linear" else None).replace("ties", method)
        wanted = {}
        for value in values:
            spelled = value if isinstance(value, list) else [value]
            settings = ([f"models.{number}.parameters.weight={own}" for number, own in enumerate(value)]
                        if isinstance(value, list) else [f"parameters.{parameter}={json.dumps(value)}"])
            label = f"-{parameter}-" + "_".join(json.dumps(one) for one in spelled)
            wanted[label] = own_merge(context, plain, settings)
        for options in ((), ("--memory", "1KiB", "--chunk", "3000")):
            words = ("--set", f"sweep.{parameter}={json.dumps(values)}", "-q")
            expect_points(context, sweep(context, plain, *words, *options), wanted)


@cases.case("points")
def directories_and_files_come_from_one_sweep(context):
    store(context, 2)
    job = jobs.job_text("base", ["task0", "task1"]) + "sweep: {lambda: [1, 0.25]}\noutput: [m.h5, m]\n"
    summary = sweep(context, job, output=None)
    for point, scale in zip(summary["points"], ("1", "0.25")):
        names = [os.path.basename(output) for output in point["outputs"]]
        expect(names == [f"m-lambda-{scale}.h5", f"m-lambda-{scale}"], f"names: {names}")
        context.run_well("diff", *names, ranks=1, launcher=False)
        context.run_well("verify", names[1], ranks=1, launcher=False)
        card = (context.directory / names[1] / "README.md").read_text()
        expect(f"lambda: {scale}" in card, f"the card of {names[1]} says another lambda")
    expect("m-lambda-0.25.h5" in context.outcome.out, context.outcome.out)


@cases.case("points")
def plan_counts_points_and_what_they_write(context):
    store(context, 2)
    (context.directory / "job.yaml").write_text(jobs.job_text("base", ["task0", "task1"], output="m.h5"))
    def planned(*words):
        outcome = context.run_well("plan", "job.yaml", "--ranks", 2, "--memory", "1GiB", "--json", *words, ranks=1, launcher=False)
        return json.loads(outcome.out)
    one, grid = planned(), planned("--set", "sweep.lambda=[1, 2, 3]")
    expect((one["points"], grid["points"]) == (1, 3), f"points: {one['points']}, {grid['points']}")
    expect(grid["all"]["written_bytes"] == 3 * one["all"]["written_bytes"], "three points write three times as much")
    expect(grid["all"]["read_bytes"] == one["all"]["read_bytes"], "three points read no more")
    names = [os.path.basename(name) for name in grid["output_files"]]
    expect(names == ["m-lambda-1.h5", "m-lambda-2.h5", "m-lambda-3.h5"], f"names: {names}")
    text_of = context.run_well("plan", "job.yaml", "--ranks", 2, "--set", "sweep.lambda=[1, 2, 3]", ranks=1, launcher=False).out
    expect("sweep      3 points: lambda" in text_of, text_of)


REFUSED = {
    "sweep: {density: [0.2, 2]}": "job.yaml:6: parameters.density: found `2`",
    "sweep: {density: 0.2}": "job.yaml:6: sweep.density",
    "sweep: {density: [0.2, 0.20]}": "found 0.2 twice",
    "sweep: {density: [[0.2]]}": "a number for each of the 2 `models`",
    "sweep: {density: [{value: 0.1}]}": "expected a number, or a list of one number per model",
    "sweep: {lambda: [[1, 1]]}": "expected a number",
    "sweep: {lambda: []}": "sweep.lambda",
    "sweep: {lambada: [1]}": "did you mean `lambda`?",
    "sweep: [1, 2]": "expected a map of parameters",
    "sweep: {}": "expected a map of parameters",
    f"sweep: {{lambda: {list(range(1001))}}}": "more than 1000 points",
    "score: []": "job.yaml:6: score",
    "output: none\nscore: x": "nothing to score",
}


@cases.case("refused")
def what_is_no_sweep_is_refused_in_one_line(context):
    store(context, 2)
    for line, wanted in REFUSED.items():
        (context.directory / "job.yaml").write_text(jobs.job_text("base", ["task0", "task1"]) + line + "\n")
        outcome = context.run("merge", "job.yaml", *(() if "output" in line else ("--output", "m.h5")), ranks=1, launcher=False)
        expect(outcome.code == JOB, f"{line[:60]}: {outcome.describe()}")
        expect(any(wanted in err for err in outcome.err_lines), f"{line[:60]}: {outcome.describe()}")
        expect(len(outcome.err_lines) <= 2, f"{line[:60]}: {outcome.err_lines}")
    job = jobs.job_text("base", ["task0", "task1"])
    (context.directory / "job.yaml").write_text(job)
    for words, wanted in ((("--keep-best",), "--score"), (("--score", "x", "--set", "output=none"), "nothing to score")):
        output = () if "--set" in words else ("--output", "m.h5")
        outcome = context.run("merge", "job.yaml", *output, *words, ranks=1, launcher=False)
        expect(outcome.code == USAGE and wanted in outcome.err, outcome.describe())


SCORE = """#!/bin/sh
# The score is in the name; stdin is empty; launchers' settings are not inherited.
[ -z "$(cat)" ] || exit 3
env | grep -q '^\\(PMIX_\\|OMPI_COMM_WORLD_\\)' && exit 4
ls -l /proc/$$/fd | grep -q partial && exit 5
case "$1" in
  *lambda-1.5*) echo "accuracy: 0.91 (best)" ;;
  *lambda-1.h5 | *lambda-1) echo 7 images; echo 0.5 ;;
  *lambda-2*) exit 9 ;;
  *) echo nothing ;;
esac
"""


@cases.case("score")
def the_best_is_picked_by_a_command(context):
    store(context, 2)
    command = context.directory / "score.sh"
    command.write_text(SCORE)
    command.chmod(0o755)
    job = jobs.job_text("base", ["task0", "task1"]) + "sweep: {lambda: [1, 1.5, 2, 3]}\nscore: ./score.sh\n"
    summary = sweep(context, job, output="m.h5")
    outcome = context.outcome
    expect([point["score"] for point in summary["points"]] == [0.5, 0.91, None, None], f"{outcome.describe()}")
    best = summary["best"]
    expect(best["values"] == {"lambda": 1.5} and best["score"] == 0.91 and best["outputs"][0].endswith("m-lambda-1.5.h5"), f"{best}")
    expect("best       lambda 1.5, score 0.91: " in outcome.out, outcome.out)
    told = [line for line in outcome.err_lines if "has no score" in line]
    expect(len(told) == 2 and "exit code 9" in told[0] and "no number" in told[1], outcome.err)
    expect(len(list(context.directory.glob("m-*.h5"))) == 4 and not list(context.directory.glob("*.journal")), "outputs or a journal")

    (context.directory / "other").mkdir()
    sweep(context, job.replace("./score.sh", "/nowhere/at/all"), "--score", f"{command}", "--keep-best", "--output", "d", output="m.h5")
    left = sorted(path.name for path in context.directory.iterdir() if path.name.startswith(("m-", "d-")))
    expect(left == ["d-lambda-1.5", "m-lambda-1.5.h5"], f"--keep-best left {left}")
    sweep(context, job.replace("./score.sh", "/nowhere/at/all"), "--keep-best", output="m.h5")
    expect("cannot be started" in context.outcome.err, context.outcome.describe())
    expect(len(list(context.directory.glob("m-*.h5"))) == 4, "where nothing has a score all is kept")


if __name__ == "__main__":
    cases.main()
