#!/usr/bin/env python3
"""A method that another program adds (magmax.cpp, the example of README.md) is one like all others."""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))

import numpy as np  # noqa: E402

from support import tensors  # noqa: E402
from support.cases import Cases, expect  # noqa: E402
from support.merged import Merged  # noqa: E402

JOB = """merge_method: magmax
base_model: base
models: [{model: math}, {model: code}, {model: chat}]
parameters: {lambda: [0.5, 0.75]}
"""
LAMBDAS = {"layers.0.weight": 0.5, "layers.1.weight": 0.75, "norm": 0.5}  # from the first layer to the last
SHAPES = {"layers.0.weight": ("F32", (60, 70)), "layers.1.weight": ("BF16", (40, 50)), "norm": ("F16", (333,))}

cases = Cases(__doc__)


def models(context):
    """Eighths, so that magnitudes are often equal and signs are not."""
    draw = np.random.default_rng(8)
    made = []
    for name in ("base", "math", "code", "chat"):
        content = {tensor: tensors.round_to(dtype, shape, draw.integers(-16, 17, np.prod(shape)) / 8)
                   for tensor, (dtype, shape) in SHAPES.items()}
        tensors.write_model(context.directory / name, content)
        made.append(content)
    (context.directory / "job.yaml").write_text(JOB)
    return made


def expected(name, base, tasks):
    origin = base[name].float32()
    largest = np.zeros_like(origin)
    for task in tasks:
        delta = task[name].float32() - origin
        largest = np.where(np.abs(delta) >= np.abs(largest), delta, largest)
    return tensors.round_to(*SHAPES[name], origin + np.float32(LAMBDAS[name]) * largest)


@cases.case("added")
def merges_like_numpy_bit_for_bit(context):
    base, *tasks = models(context)
    context.run_well("merge", "job.yaml", "--output", "out.h5", "--summary", "summary.json", "--chunk", "4KiB")
    merged = Merged(context.directory / "out.h5")
    expect(not merged.faults, "; ".join(merged.faults))
    for name in SHAPES:
        expect(merged.tensors[name] == expected(name, base, tasks), f"{name} has other bits than numpy's")
    summary = json.loads((context.directory / "summary.json").read_text())
    expect(summary["method"] == "magmax", f"the summary says {summary['method']}")


@cases.case("added")
def its_parameters_are_checked(context):
    models(context)
    (context.directory / "job.yaml").write_text(JOB.replace("lambda:", "lambada:"))
    outcome = context.run("merge", "job.yaml", "--output", "out.h5")
    expect(outcome.code == 3 and "did you mean `lambda`" in outcome.err, outcome.describe())


@cases.case("added")
def is_offered_where_a_name_is_unknown(context):
    models(context)
    (context.directory / "job.yaml").write_text(JOB.replace("magmax", "biggest"))
    outcome = context.run("merge", "job.yaml", "--output", "out.h5")
    expect(outcome.code == 3 and re.search(r"biggest.*\bties\b.*\bmagmax\b", outcome.err), outcome.describe())


@cases.case("added")
def is_the_example_of_the_readme(context):
    example = pathlib.Path(__file__).with_name("magmax.cpp").read_text()
    expect(f"```cpp\n{example}```\n" in (ROOT / "README.md").read_text(), "README.md has another text than magmax.cpp")


if __name__ == "__main__":
    cases.main()
