#!/usr/bin/env python3
"""jobs/digits: eight real models merge to the published bits, counts and accuracies."""

import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from reference_ties import worst_ulps  # noqa: E402
from support import tensors  # noqa: E402
from support.cases import Cases, expect  # noqa: E402
from support.merged import Merged  # noqa: E402

DIGITS = pathlib.Path(__file__).resolve().parents[2] / "jobs" / "digits"

cases = Cases(__doc__)


def merge(context, job):
    output, summary = context.directory / "merged.h5", context.directory / "summary.json"
    context.run_well("merge", DIGITS / job, "--output", output, "--summary", summary)
    return Merged(output), json.loads(summary.read_text())


def evaluate(context, model, tasks=None):
    """Test accuracy by task as the evaluation script prints it, with four decimals."""
    options = ["--tasks", ",".join(tasks)] if tasks else []
    done = subprocess.run([sys.executable, "-B", DIGITS / "evaluate.py", model, *options], capture_output=True,
                          text=True, timeout=context.program.limit, check=False)
    expect(done.returncode == 0, f"evaluate.py: {done.stderr.strip()[-300:]}")
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    return {row[0]: row[1] for row in rows}


@cases.case("digits")
def merge_equals_the_published_one(context):
    merged, summary = merge(context, "ties.yaml")
    expected = tensors.read_file(DIGITS / "expected" / "ties_k20_l1.safetensors")
    stats = json.loads((DIGITS / "expected" / "ties_k20_l1.stats.json").read_text())
    distance = worst_ulps({name: tensor.float32() for name, tensor in merged.tensors.items()},
                          {name: tensor.float32() for name, tensor in expected.items()})
    expect(distance == 0, f"{distance} ulp off")
    signs, elected = summary["signs"], stats["signs_elected_raw"]
    for what, found, wanted in (
            ("thresholds", [task["threshold_bits"] for task in summary["tasks"]],
             [task["threshold"]["bits"] for task in stats["task"]]),
            ("kept", [task["kept"] for task in summary["tasks"]], [task["kept"] for task in stats["task"]]),
            ("trim_rank", {task["trim_rank"] for task in summary["tasks"]}, {stats["k_int"]}),
            ("positive", signs["positive"], elected["positive"]),
            ("negative", signs["negative"], elected["negative"]),
            ("zero", signs["cancelled"] + signs["untouched"], elected["zero"]),
            ("conflicts before", summary["conflicts"]["before_trim"], stats["conflicts_before_trim"]),
            ("conflicts after", summary["conflicts"]["after_trim"], stats["conflicts_after_trim"])):
        expect(found == wanted, f"{what}: {found}, expected {wanted}")


@cases.case("digits")
def accuracies_are_the_published_ones(context):
    merged, _ = merge(context, "ties.yaml")
    published = json.loads((DIGITS / "published.json").read_text())
    for model, accuracies in ((merged.path, published["ties_k20_l1"]), (DIGITS / "base", published["base"])):
        found = evaluate(context, model)
        wanted = {task: f"{accuracy:.4f}" for task, accuracy in accuracies.items()}
        expect({task: found[task] for task in wanted} == wanted, f"{found}, expected {wanted}")


def better_than_the_base(job):
    def check(context):
        merged, summary = merge(context, job)
        expect(not merged.faults, "; ".join(merged.faults))
        tasks = [task["name"].removeprefix("task_") for task in summary["tasks"]]
        found, base = (float(evaluate(context, model, tasks)["mean"]) for model in (merged.path, DIGITS / "base"))
        expect(found > base, f"mean accuracy {found}, that of the base is {base}")
    return check


def equals_the_expected(job, name, tolerance):
    """Of a tensor's largest entry; 0: bit for bit."""
    def check(context):
        merged, _ = merge(context, job)
        for key, tensor in tensors.read_file(DIGITS / "expected" / f"{name}.safetensors").items():
            wanted, found = tensor.float32(), merged.tensors[key].float32()
            distance = abs(found - wanted).max() / abs(wanted).max()
            expect(distance <= tolerance, f"{key} is {distance:.2g} of its largest entry off")
    return check


for job_name, expected_name, allowed in (
        ("average", "average", 1e-6), ("task_arithmetic", "task_arithmetic_l0.4", 1e-6), ("fisher", "fisher", 1e-6),
        ("regmean", "regmean", 1e-6), ("ties_multitask_signs", "ties_oracle_k20_l1", 1e-6)):
    cases.add("digits", f"{job_name}-is-the-published-one", equals_the_expected(f"{job_name}.yaml", expected_name, allowed))

for each in sorted(DIGITS.glob("*.yaml")):
    if each.name != "ties.yaml":
        cases.add("digits", f"{each.stem}-is-better-than-the-base", better_than_the_base(each.name))

if __name__ == "__main__":
    cases.main()
