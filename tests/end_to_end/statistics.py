#!/usr/bin/env python3
"""What a merge tells of task vectors, against numpy: counts exactly, norms closely, the same at every rank count."""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import numpy as np  # noqa: E402

from reference_ties import CASES, Case  # noqa: E402
from support import jobs, statistics, tensors  # noqa: E402
from support.cases import Cases, expect  # noqa: E402
from support.merged import Merged  # noqa: E402

# Shards, odd types and shapes, the order of sums, cancellation, magnitudes far apart, few elements.
VARIED = ("bf16_large_sharded", "mixed_dtypes_sharded", "odd_shapes", "f32_11tasks_k20", "cancel_balanced_dis_max_2tasks",
          "wide_range", "subnormal_f32")
CUTS = ((1, ()), (3, ("--chunk", "4KiB", "--memory", "1MiB")), (7, ("--chunk", "64KiB")))

cases = Cases(__doc__)


def floats(model):
    return {name: tensor.float32() for name, tensor in model.items() if tensor.dtype in tensors.FLOATING}


def expect_none(lines):
    expect(not lines, f"{len(lines)} numbers: " + "; ".join(lines[:4]))


def expect_report(found, wanted):
    """`wanted`: from support.statistics."""
    kinds = {row["kind"]: row for row in found["kinds"]}
    rows = {row["name"]: row for row in found["tensors"]}
    expect(set(rows) == set(wanted["tensors"]) and set(kinds) == set(wanted["kinds"]), "other tensors or kinds")
    expect_none(statistics.differences({"all": found["all"], "kinds": kinds, "tensors": rows}, wanted))


def reference(name):
    """A copied merge, and its report by numpy."""
    case = Case(CASES / name)
    base = floats(tensors.read_model(case.directory / case.job["base"]))
    tasks = [floats(tensors.read_model(case.directory / task)) for task in case.job["tasks"]]
    thresholds = [0] * len(tasks)
    if case.job["trim"]["type"] == "topk":
        thresholds = [int(task["threshold"]["bits"], 16) for task in case.stats["task"]]
    merged = {name: case.expected[name].float32() for name in base}
    with np.errstate(all="ignore"):
        return case, statistics.report(base, tasks, thresholds, merged)


def job_of(case, **keys):
    return jobs.job_text(case.directory / case.job["base"], [case.directory / task for task in case.job["tasks"]],
                         {"density": repr(case.density), "lambda": repr(case.job["lambda"])}, aggregate=case.aggregate,
                         sign_tie="majority", out_dtype="float32", **keys)


def run(context, text, *options, ranks=1):
    """The summary of a merge that writes nothing."""
    (context.directory / "job.yaml").write_text(text + "output: none\n")
    context.run_well("merge", "job.yaml", "-q", "--summary", "summary.json", *options, ranks=ranks, launcher=ranks > 1)
    return json.loads((context.directory / "summary.json").read_text())


def equals_numpy(name):
    def check(context):
        case, wanted = reference(name)
        first = None
        for ranks, options in CUTS:
            summary = run(context, job_of(case, report="full"), *options, ranks=ranks)
            found = summary["report"]
            if first is None:
                expect((found["level"], found["trimmed"]) == ("full", True), f"level {found['level']}")
                expect_report(found, wanted)
                expect(found["all"]["signs"] == summary["signs"], "other signs in all than in the summary")
            first = first or found
            expect(found == first, f"other numbers with {ranks} ranks and {' '.join(options)}")
    return check


for each in VARIED:
    cases.add("reference", f"{each}.statistics", equals_numpy(each))


@cases.case("levels")
def basic_is_a_part_of_full_and_the_default(context):
    case = Case(CASES / "f32_3tasks_k1")
    full = run(context, job_of(case, report="full"))["report"]
    basic = run(context, job_of(case), ranks=3)["report"]
    expect(basic["level"] == "basic", f"level {basic['level']}")
    for row, of in zip([basic["all"], *basic["kinds"], *basic["tensors"]], [full["all"], *full["kinds"], *full["tensors"]]):
        expect("task_vectors" not in row, "basic has what only full should")
        expect_none(statistics.differences(of, row))
    expect("report" not in run(context, job_of(case, report="none")), "a report where none is asked for")


@cases.case("levels")
def other_methods_tell_of_task_vectors_and_of_their_result(context):
    case = Case(CASES / "bf16_3tasks_k50")
    models = [case.directory / task for task in case.job["tasks"]]
    text = jobs.job_text(case.directory / case.job["base"], models).replace("ties", "task_arithmetic")
    expect("report" not in run(context, text), "a basic report of a method that counts nothing")
    base = floats(tensors.read_model(case.directory / case.job["base"]))
    tasks = [floats(tensors.read_model(model)) for model in models]
    (context.directory / "job.yaml").write_text(text + "out_dtype: float32\nreport: full\n")
    context.run_well("merge", "job.yaml", "-q", "--output", "out.h5", ranks=3)
    merged = Merged(context.directory / "out.h5")
    wanted = statistics.report(base, tasks, None, {name: merged.tensors[name].float32() for name in base})
    found = merged.summary["report"]
    expect_report(found, wanted)
    expect("kept" not in found["all"], "kept values of a method without a trim")
    rows = run(context, text.replace("task_arithmetic", "della") + "report: full\nparameters: {epsilon: 0.1}\n")["report"]
    expect(rows["all"]["task_vectors"] == found["all"]["task_vectors"], "of rows come other numbers")


@cases.case("levels")
def compare_tells_the_same_of_task_vectors(context):
    case, wanted = reference("f16_8tasks_k1")
    models = [case.directory / task for task in case.job["tasks"]]
    base = case.directory / case.job["base"]
    outcome = context.run_well("compare", *models, "--base", base, "--json", "compare.json", ranks=3)
    found = json.loads((context.directory / "compare.json").read_text())["report"]
    expect(found["level"] == "compare" and "merged" not in found["all"], f"level {found['level']}")
    for row in [wanted["all"], *wanted["kinds"].values(), *wanted["tensors"].values()]:
        for key in ("kept", "signs", "merged"):
            del row[key]
        del row["by_agreement"]["merged"]
        for key in ("conflicts", "conflicts_by_tasks", "agreement"):
            del row[key]["after_trim"]
        for vector in row["task_vectors"]:
            del vector["norm_kept"]
    expect_report(found, wanted)
    for word in ("task vector", "task_07", "above the diagonal: cosine", "layer", "conflicts", "parameters"):
        expect(word in outcome.out, f"`{word}` is not in the table:\n{outcome.out}")
    alone = context.run_well("compare", models[0], "--base", base, ranks=1)
    expect("none: one task" in alone.out, alone.out)


@cases.case("levels")
def compare_ends_with_one_line_where_it_cannot(context):
    case = Case(CASES / "f32_3tasks_k1")
    base, model = case.directory / case.job["base"], case.directory / case.job["tasks"][0]
    other = Case(CASES / "odd_shapes")
    for code, words in ((2, ("compare", model)), (4, ("compare", model, "--base", context.directory / "missing")),
                        (4, ("compare", model, other.directory / other.job["base"], "--base", base)),
                        (5, ("compare", model, "--base", base, "--json", context.directory))):
        outcome = context.run(*words, ranks=3)
        expect(outcome.code == code and len(outcome.err_lines) == 1, f"{words}: {outcome.describe()}")


if __name__ == "__main__":
    cases.main()
